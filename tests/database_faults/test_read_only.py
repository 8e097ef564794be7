"""A PostgreSQL that takes no writes for a while, and takes them again."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event
from time import monotonic

import pytest
import structlog.testing

from api.local.clients import client_environment
from ledger.errors import DatabaseUnavailable
from ledger.store.database import connection_options
from payments.worker.jobs import Job, run_job
from tests.database_faults.conftest import Administer, buyer_with_prompt, name_of
from tests.scenarios.steps import (
    ACKNOWLEDGED,
    TOMATOES,
    callback,
    messages,
    own_path,
    prompt_of,
    put_in_cart,
    report,
)
from tests.support.instance import Instance
from tests.support.waiting import wait_until

HEALED_WITHIN_SECONDS = 15.0


@pytest.fixture
def read_only(
    database_url: str, administer: Administer, end_connections: Callable[[], int]
) -> Callable[[], AbstractContextManager[None]]:
    """Return what makes the database read-only for new connections while a block runs, and ends the old ones."""

    @contextmanager
    def spell() -> Iterator[None]:
        administer(f"ALTER DATABASE {name_of(database_url)} SET default_transaction_read_only = on")
        end_connections()
        yield
        administer(f"ALTER DATABASE {name_of(database_url)} RESET default_transaction_read_only")

    return spell


def test_writes_are_refused_while_the_database_is_read_only_and_all_heals_by_itself(
    instance: Instance, read_only: Callable[[], AbstractContextManager[None]]
) -> None:
    instance.start_worker()
    paying, session_id, phone = buyer_with_prompt(instance, 1)
    prompt = prompt_of(instance, phone)
    buyer = instance.client(2)
    put_in_cart(buyer, TOMATOES, "1")
    with read_only():
        for _ in range(20):
            refused = buyer.create()
            assert (refused.status_code, refused.json()["error_code"]) == (503, "UNAVAILABLE")
            assert int(refused.headers["Retry-After"]) >= 1
        assert report(instance, own_path(prompt), callback(prompt)).status_code == 503
        assert paying.status(session_id)["session_status"] == "payment_initiated"
        not_ready = instance.anonymous().get("/readyz")
        assert not_ready.status_code == 503
        assert "takes no writes" in not_ready.json()["message"]
    began = monotonic()
    assert report(instance, own_path(prompt), callback(prompt)).json() == ACKNOWLEDGED
    wait_until(lambda: instance.anonymous().get("/readyz").status_code == 200, "it is ready again")
    wait_until(lambda: buyer.create().status_code == 201, "sessions are created again")
    wait_until(lambda: paying.status(session_id)["session_status"] == "order_created", "the order is made")
    assert monotonic() - began < HEALED_WITHIN_SECONDS
    wait_until(lambda: [state for state, _ in messages(instance)] == ["acted_on"], "the message is closed")


def test_a_job_says_once_that_it_waits_for_the_database_and_once_that_it_goes_on() -> None:
    answers: Iterator[Exception | int] = iter(
        [DatabaseUnavailable(), DatabaseUnavailable(), DatabaseUnavailable(), 1]
    )
    stop = Event()

    def work() -> int:
        answer = next(answers, 0)
        if isinstance(answer, Exception):
            raise answer
        if not answer:
            stop.set()
        return int(bool(answer))

    with structlog.testing.capture_logs() as lines:
        run_job(Job("letters", work, 0, 0), NeverRests(stop))
    assert [line["event"] for line in lines] == ["job_waits_for_database", "job_goes_on"]


class NeverRests:
    """Ends a job when `stop` is set, and lets it rest for no time."""

    def __init__(self, stop: Event) -> None:
        self.is_set = stop.is_set

    def wait(self, timeout: float) -> bool:  # noqa: ARG002 - the protocol's signature
        return self.is_set()


def test_of_several_servers_the_one_that_takes_writes_is_meant() -> None:
    both = connection_options("postgresql://one,two/daftari")
    assert both["target_session_attrs"] == "read-write"
    assert "target_session_attrs" not in connection_options("postgresql://one/daftari")
    asked = connection_options("postgresql://one,two/daftari?target_session_attrs=any")
    assert "target_session_attrs" not in asked
    assert client_environment("postgresql://one,two/daftari")["PGTARGETSESSIONATTRS"] == "read-write"
