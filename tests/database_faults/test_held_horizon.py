"""A transaction that has an id and stays open holds the log back, whatever its role and its database.

What is owed to buyers goes on by rows, and operators are told who holds it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from freezegun import freeze_time

from ledger.application import Ledger
from ledger.clock import now
from ledger.store.database import Database
from ledger.store.locks import LockConnection
from payments.exceptions.alarms import Alarms, AlarmTerms
from payments.fulfilment.order_failures import MAX_FAILURES
from payments.verification.verifier import violations
from payments.worker.processes import jobs
from tests.database_faults.conftest import buyer_with_prompt, name_of
from tests.scenarios.steps import TOMATOES, Clock, approve, count, event_names, observe, put_on_shelf
from tests.support.checkouts import Checkout
from tests.support.database import new_database
from tests.support.instance import INITIATOR_PASSWORD, Client, Instance, running_instance
from tests.support.invariants import assert_invariants_hold
from tests.support.shop_faults import REFUSES_ORDERS, listings_held
from tests.support.suites import others_in_system
from tests.support.waiting import wait_until

MORNING = "2026-11-16T07:30:00Z"
CONSOLE = "a forgotten console"
DUE_AFTER_SECONDS = 6
PLACES = ("this database", "another of the cluster")


@pytest.fixture
def clock() -> Iterator[Clock]:
    with freeze_time(MORNING) as frozen:
        assert isinstance(frozen, Clock)
        yield frozen


@pytest.fixture(params=["auto"])
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def instance(clock: Clock, policy: str, database_url: str, data_folder: Path) -> Iterator[Instance]:  # noqa: ARG001 - time stops first
    """An instance that sends refunds; in the end the log is read after all, and its invariants hold."""
    variables = {"DAFTARI_REFUND_POLICY": policy, INITIATOR_PASSWORD: "correct horse"}
    with running_instance(database_url, data_folder, **variables) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running
        running.work()
        assert_invariants_hold(running.services.database, running.services.vault, with_messages=True)


def held(database_url: str, application_name: str = CONSOLE) -> AbstractContextManager[int]:
    """Hold the log back, as a role that can only read, from a database; yield the id of the process."""

    @contextmanager
    def hold() -> Iterator[int]:
        with psycopg.connect(database_url, application_name=application_name) as console:
            console.execute("SET ROLE pg_read_all_data")
            console.execute("SELECT pg_current_xact_id()")
            yield console.info.backend_pid

    return hold()


@pytest.fixture(params=others_in_system(PLACES, PLACES[1]))
def elsewhere(request: pytest.FixtureRequest, server_url: str, database_url: str) -> Iterator[str]:
    """The URL of this database, and of another one in the cluster."""
    with new_database(server_url) as other:
        yield database_url if request.param == PLACES[0] else other


def test_orders_are_made_within_seconds_and_all_say_who_holds_the_log(
    clock: Clock, instance: Instance, elsewhere: str
) -> None:
    with held(elsewhere) as pid:
        buyer, session_id, phone = buyer_with_prompt(instance, 1)
        with listings_held(instance.settings.database_url):
            approve(instance, phone)
        instance.work_without_the_log()
        assert buyer.status(session_id)["session_status"] == "paid"
        clock.tick(DUE_AFTER_SECONDS)
        instance.work_without_the_log()
        assert buyer.status(session_id)["session_status"] == "order_created"
        assert count(instance, "shop_orders") == 1

        holder: dict[str, Any] = {}

        def is_named() -> bool:
            clock.tick(1)  # An answer is given again for a second.
            holder.update(holder_of(instance))
            return bool(holder.get("pid") == pid)

        wait_until(is_named, "readiness names who holds the log back")
        assert (holder["database"], holder["application_name"]) == (name_of(elsewhere), CONSOLE)
        assert holder["seconds"] >= 3
        metrics = instance.client(9, "operator").get("/metrics").text
        assert value_of(metrics, "daftari_horizon_seconds", "transaction") >= 3
        assert CONSOLE not in metrics
        assert behind_by(metrics, "orders") >= 1
    instance.work()
    clock.tick(1)  # Figures are given again for a second, too.
    assert behind_by(instance.client(9, "operator").get("/metrics").text, "orders") == 0
    assert event_names(instance, session_id).count("OrderCreated") == 1
    assert count(instance, "shop_orders") == 1


def holder_of(instance: Instance) -> dict[str, Any]:
    """Return who holds the log back, by a service that is ready all the same."""
    answer = instance.anonymous().get("/readyz")
    assert answer.status_code == 200
    return answer.json()["log_held_by"] or {}


def behind_by(metrics: str, follower: str) -> float:
    """Return how many events a follower has not read."""
    return value_of(metrics, "daftari_follower_events_behind", follower)


def value_of(metrics: str, name: str, kind: str) -> float:
    return float(metrics.partition(f'{name}{{kind="{kind}"}} ')[2].partition("\n")[0])


def test_money_that_is_due_back_is_sent(clock: Clock, instance: Instance, elsewhere: str) -> None:
    with held(elsewhere):
        buyer, session_id, phone = buyer_with_prompt(instance, 1)
        before = instance.simulator.balance(phone)
        put_on_shelf(instance, TOMATOES, stock="0")
        approve(instance, phone)
        for _ in range(4):  # The order is refused, the refund approved, sent, and M-Pesa's result comes.
            clock.tick(DUE_AFTER_SECONDS)
            instance.work_without_the_log()
        assert event_names(instance, session_id)[-5:] == [
            "RefundDue", "RefundApproved", "RefundRequested", "RefundAccepted", "Refunded",
        ]  # fmt: skip
        assert buyer.status(session_id)["session_status"] == "failed"
        assert instance.simulator.balance(phone) == before


@pytest.mark.system
def test_a_refused_initiator_is_not_tried_again(clock: Clock, instance: Instance, database_url: str) -> None:
    """Its failures are seen although the log is not: more of them would lock it."""
    settings = replace(instance.simulator.settings, initiator_password="another")
    instance.simulator.initiator_keys._settings = settings
    with held(database_url):
        sessions = []
        for user in (1, 2, 3):
            sessions.append(refused(instance, user))
            for _ in range(4):
                clock.tick(DUE_AFTER_SECONDS)
                instance.work_without_the_log()
        sent = [event_names(instance, session_id).count("RefundRequested") for session_id in sessions]
    assert sent == [1, 0, 0]


def refused(instance: Instance, user: int) -> str:
    """Let a buyer pay for what is gone by then; return the session."""
    put_on_shelf(instance, TOMATOES, stock="40")
    _, session_id, phone = buyer_with_prompt(instance, user)
    put_on_shelf(instance, TOMATOES, stock="0")
    approve(instance, phone)
    return session_id


@pytest.mark.system
@pytest.mark.parametrize("policy", ["manual"], indirect=True)
def test_the_work_list_shows_what_waits_for_a_person_and_what_is_over(
    clock: Clock, instance: Instance, database_url: str
) -> None:
    operator = instance.client(9, "operator")
    with held(database_url):
        session_id = refused(instance, 1)
        clock.tick(DUE_AFTER_SECONDS)
        instance.work_without_the_log()
        change(instance, REFUSES_ORDERS.format(code="57014"))
        put_on_shelf(instance, TOMATOES, stock="40")
        _, late, phone = buyer_with_prompt(instance, 2)
        approve(instance, phone)
        clock.tick(DUE_AFTER_SECONDS)
        instance.work_without_the_log()
        clock.tick(120)
        instance.work_without_the_log()
        open_now = {(case["kind"], case["session_id"]) for case in listed(operator)}
        assert {("refund_due", session_id), ("order_missing", late)} <= open_now
        clock.tick(20 * 60)
        assert violations(instance.services.database, instance.services.vault, is_idle=False) == []

        change(instance, "DROP TRIGGER breaks ON shop_orders")
        instance.work_without_the_log()
        approved = operator.post(f"/api/payments/refunds/{session_id}/1/approve/", json={})
        assert approved.status_code == 200, approved.text
        for _ in range(3):
            clock.tick(DUE_AFTER_SECONDS)
            instance.work_without_the_log()
        assert event_names(instance, session_id)[-1] == "Refunded"
        assert not {case["session_id"] for case in listed(operator)} & {session_id, late}


def listed(operator: Client) -> list[dict[str, Any]]:
    """Return the open cases."""
    found: list[dict[str, Any]] = operator.get("/api/work-list/").json()["results"]
    return found


def change(instance: Instance, statements: str) -> None:
    """Change the database as its owner."""
    with psycopg.connect(instance.settings.database_url, autocommit=True) as connection:
        connection.execute(statements.encode())


@pytest.mark.system
def test_an_order_that_fails_is_tried_at_the_pace_of_any_other(
    clock: Clock, instance: Instance, database_url: str
) -> None:
    with held(database_url):
        buyer, session_id, phone = buyer_with_prompt(instance, 1)
        change(instance, REFUSES_ORDERS.format(code="P0001"))
        approve(instance, phone)
        for _ in range(60):
            clock.tick(2)
            instance.work_without_the_log(rounds=1)
        [[failures]] = observe(instance, "SELECT failures FROM order_failures")
        assert failures < MAX_FAILURES
        assert buyer.status(session_id)["session_status"] == "paid"
        for _ in range(30):
            clock.tick(6)
            instance.work_without_the_log(rounds=1)
        assert buyer.status(session_id)["reason"]["code"] == "ORDER_NOT_MADE"
        change(instance, "DROP TRIGGER breaks ON shop_orders")
    instance.work()
    assert count(instance, "shop_orders") == 0
    assert event_names(instance, session_id).count("RefundDue") == 1


@pytest.mark.system
def test_a_second_worker_stands_by(clock: Clock, instance: Instance, database_url: str) -> None:
    locks = LockConnection(database_url)
    others = {job.name: job for job in jobs(instance.services.worker, locks=locks)}
    with held(database_url):
        buyer, session_id, phone = buyer_with_prompt(instance, 1)
        instance.work_without_the_log()
        with listings_held(instance.settings.database_url):
            approve(instance, phone)
            instance.simulator.run_due()
            assert instance.simulator.wait_until_idle(20)
        clock.tick(DUE_AFTER_SECONDS)
        others["orders_left_over"].work()
        assert buyer.status(session_id)["session_status"] == "paid"
        instance.work_without_the_log()
        assert buyer.status(session_id)["session_status"] == "order_created"
    others["orders_left_over"].lock.release()  # type: ignore[union-attr]  # every event handler has one


def test_the_alarm_says_what_to_type(database: Database, ledger: Ledger, database_url: str) -> None:
    """What holds the log back longest comes first, so another test's transaction may be named before it ends."""
    alarms = Alarms(database, AlarmTerms(None, None, None, timedelta()))

    def detail() -> str:
        return next((a.detail for a in alarms.open(now()) if a.kind == "horizon_held"), "")

    with held(database_url, "x'; DROP TABLE payment_events; --") as pid:
        Checkout(ledger)
        wait_until(lambda: f"process {pid} of role" in detail(), "the alarm names who holds the log back")
        assert detail().endswith(f"to end it: SELECT pg_terminate_backend({pid});")
        assert "followers_behind" in {alarm.kind for alarm in alarms.open(now())}
