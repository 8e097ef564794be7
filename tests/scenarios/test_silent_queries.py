"""M-Pesa does not answer the status queries of some buyers: the payments of others go on."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context
from pathlib import Path

import pytest

from payments.confirmation.status_query import MAX_AT_ONCE, MAX_ROUND
from payments.worker.jobs import Job
from tests.scenarios.steps import (
    CONTRACT_CALLBACKS,
    TOMATOES,
    Clock,
    callback,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
    report,
)
from tests.support.daraja_proxy import DarajaProxy
from tests.support.instance import Instance, running_instance
from tests.support.waiting import wait_until


@pytest.fixture
def instance(database_url: str, data_folder: Path, mpesa: DarajaProxy) -> Iterator[Instance]:
    """With fewer connections to PostgreSQL than threads that wait for M-Pesa."""
    variables = {"MPESA_BASE_URL": mpesa.url, "DAFTARI_DATABASE_CONNECTIONS": "4"}
    with running_instance(database_url, data_folder, **variables) as running:
        mpesa.target = running.simulator.base_url
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


def test_the_poller_asks_about_other_attempts_while_some_queries_have_no_answer(
    clock: Clock, instance: Instance, mpesa: DarajaProxy
) -> None:
    for user in range(1, 4):
        _pay_in_silence(instance, mpesa, user)
        clock.tick(1)
    session_id = _pay(instance, user=4)
    clock.tick(13)
    with _working(instance, mpesa, "ladder"):
        wait_until(lambda: mpesa.held == mpesa.silent_about, "all silent queries wait at once")
        wait_until(lambda: _status(instance, session_id, 4) == "paid", "the other payment is known")
    instance.work()
    assert _status(instance, session_id, 4) == "order_created"


def test_a_callback_without_a_token_does_not_wait_for_the_queries_about_others(
    clock: Clock, instance: Instance, mpesa: DarajaProxy
) -> None:
    for user in range(1, 4):
        _pay_in_silence(instance, mpesa, user)
        report(instance, CONTRACT_CALLBACKS, callback(prompt_of(instance, _phone(user))))
        clock.tick(1)
    session_id = _pay(instance, user=4)
    report(instance, CONTRACT_CALLBACKS, callback(prompt_of(instance, _phone(4))))
    with _working(instance, mpesa, "unauthenticated_messages"):
        wait_until(lambda: mpesa.held == mpesa.silent_about, "all silent queries wait at once")
        wait_until(lambda: _status(instance, session_id, 4) == "paid", "the other payment is known")
    instance.work()


def test_a_callback_with_its_token_does_not_wait_for_those_without_one(
    clock: Clock, instance: Instance, mpesa: DarajaProxy
) -> None:
    for user in range(1, MAX_AT_ONCE + 1):
        _pay_in_silence(instance, mpesa, user)
        report(instance, CONTRACT_CALLBACKS, callback(prompt_of(instance, _phone(user))))
    user = MAX_AT_ONCE + 1
    session_id = _pay(instance, user)
    prompt = prompt_of(instance, _phone(user))
    report(instance, own_path(prompt), callback(prompt, Amount=None))
    clock.tick(6)
    with _working(instance, mpesa, "unauthenticated_messages"):
        wait_until(lambda: mpesa.held == mpesa.silent_about, "all threads of that job wait")
        assert _job(instance, "letters").work() == 1
        assert _status(instance, session_id, user) == "paid"
    instance.work()


def test_a_round_begins_no_query_once_it_has_lasted_long_enough(
    clock: Clock, instance: Instance, mpesa: DarajaProxy
) -> None:
    for user in range(1, MAX_AT_ONCE + 2):
        _pay_in_silence(instance, mpesa, user)
    clock.tick(13)
    with _working(instance, mpesa, "ladder") as round_:
        wait_until(lambda: len(mpesa.held) == MAX_AT_ONCE, "all threads wait")
        clock.tick(MAX_ROUND)
        mpesa.let_go()
        assert round_.result(20) == MAX_AT_ONCE
        assert len(mpesa.asked) == MAX_AT_ONCE
    assert _job(instance, "ladder").work() == 1
    instance.work()


def _phone(user: int) -> str:
    """The number pays at once, and its callback is lost."""
    return f"2547000101{user:02d}"


def _pay(instance: Instance, user: int) -> str:
    buyer = instance.client(user)
    put_in_cart(buyer, TOMATOES, "1")
    return instance.pay(buyer, phone_number=_phone(user))


def _pay_in_silence(instance: Instance, mpesa: DarajaProxy, user: int) -> None:
    _pay(instance, user)
    mpesa.silent_about.add(prompt_of(instance, _phone(user)).checkout_request_id)


def _status(instance: Instance, session_id: str, user: int) -> str:
    return str(instance.client(user).status(session_id)["session_status"])


def _job(instance: Instance, name: str) -> Job:
    return next(job for job in instance.jobs if job.name == name)


@contextmanager
def _working(instance: Instance, mpesa: DarajaProxy, name: str) -> Iterator[Future[int]]:
    """Run one round of a job in a thread, as the worker does; at the end M-Pesa lets go of what it holds."""
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(Context().run, _job(instance, name).work)
        finally:
            mpesa.let_go()
