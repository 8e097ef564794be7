"""Connections that the server ends: while they are idle, and at the worst moment of a write."""

from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from ledger.application import Ledger
from ledger.errors import ConnectionLost
from ledger.store.database import Database
from tests.database_faults.conftest import Administer, buyer_with_prompt, name_of
from tests.scenarios.steps import (
    ACKNOWLEDGED,
    TOMATOES,
    callback,
    messages,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
    report,
)
from tests.support.checkouts import new_session
from tests.support.instance import Instance, running_instance
from tests.support.keys import key_ring
from tests.support.proxy import DatabaseProxy
from tests.support.waiting import wait_until


def test_no_request_meets_a_connection_that_the_server_ended(
    instance: Instance, end_connections: Callable[[], int]
) -> None:
    prompts = [prompt_of(instance, buyer_with_prompt(instance, user)[2]) for user in (1, 2, 3)]
    buyer = instance.client(4)
    put_in_cart(buyer, TOMATOES, "1")
    for number, prompt in enumerate(prompts, 1):
        assert end_connections() > 0
        body = callback(prompt, MpesaReceiptNumber=f"UKG000000{number}")
        assert report(instance, own_path(prompt), body).json() == ACKNOWLEDGED
    assert end_connections() > 0
    session_id = buyer.create().json()["session_id"]
    assert end_connections() > 0
    assert buyer.status(session_id)["session_status"] == "pending"
    instance.work()
    assert [state for state, _ in messages(instance)] == ["acted_on"] * 3


def test_connections_that_idle_too_long_for_the_server_are_not_lent(
    database_url: str, administer: Administer
) -> None:
    administer(f"ALTER DATABASE {name_of(database_url)} SET idle_session_timeout = 50")
    database = Database(database_url)
    with database.connection() as connection:
        pid = connection.info.backend_pid
    wait_until(
        lambda: administer("SELECT pid FROM pg_stat_activity WHERE pid = %s", pid) == [],
        "the server has ended it",
    )
    with database.connection() as connection:
        assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
        assert connection.info.backend_pid != pid
    database.close()


def test_a_whole_pool_of_dead_connections_costs_no_request_and_little_time(
    database_url: str, end_connections: Callable[[], int]
) -> None:
    database = Database(database_url, max_connections=16)
    held = [database.connection() for _ in range(16)]
    for each in held:
        each.__enter__()
    for each in held:
        each.__exit__(None, None, None)
    assert end_connections() == 16
    began = monotonic()
    for _ in range(16):
        with database.connection() as connection:
            connection.execute("SELECT 1")
    assert monotonic() - began < 2
    database.close()


@pytest.mark.parametrize("answer_is_lost", [True, False])
def test_an_append_whose_connection_dies_is_found_or_repeated(
    database: Database, ledger: Ledger, proxy: DatabaseProxy, *, answer_is_lost: bool
) -> None:
    fragile, session = Ledger(Database(proxy.url), key_ring(database)), new_session()
    with fragile.database.connection() as connection:
        connection.execute("SELECT 1")
    if answer_is_lost:
        proxy.lose_answers(1)
    else:
        proxy.break_one_at(1)
    assert fragile.add(session)
    assert ledger.session(session.id).version == 1
    fragile.database.close()


def test_what_another_wrote_in_its_place_is_not_taken_for_ours(
    database: Database, ledger: Ledger, proxy: DatabaseProxy
) -> None:
    fragile, session = Ledger(Database(proxy.url), key_ring(database)), new_session()
    assert ledger.add(new_session(session_id=session.id, user_id=session.user_id + 1))
    with fragile.database.connection() as connection:
        connection.execute("SELECT 1")
    proxy.lose_answers(1)
    assert not fragile.add(session)
    fragile.database.close()


def test_an_authenticated_callback_is_kept_whichever_statement_loses_its_connection(
    proxy: DatabaseProxy, data_folder: Path
) -> None:
    with running_instance(proxy.url, data_folder) as fragile:
        put_on_shelf(fragile, TOMATOES, stock="1000")
        for message in range(1, 7):
            _, _, phone = buyer_with_prompt(fragile, message)
            prompt = prompt_of(fragile, phone)
            proxy.break_one_at(message)
            body = callback(prompt, MpesaReceiptNumber=f"UKG000000{message}")
            assert report(fragile, own_path(prompt), body).json() == ACKNOWLEDGED, message
            proxy.restore()
        assert len(messages(fragile)) == 6


def test_a_lost_connection_is_told_from_a_database_that_is_away(
    database: Database, administer: Administer
) -> None:
    def die() -> None:
        with database.connection() as connection:
            administer("SELECT pg_terminate_backend(%s, 5000)", connection.info.backend_pid)
            connection.execute("SELECT 1")

    with pytest.raises(ConnectionLost):
        die()
    with database.connection() as connection:
        connection.execute("SELECT 1")
