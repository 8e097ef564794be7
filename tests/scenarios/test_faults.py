"""PostgreSQL goes down, hangs, or loses an answer at any statement; processes crash at any statement."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from uuid import UUID

import psycopg
import pytest
import requests

from api.http.app import create_app
from api.local.local_settings import local_settings
from api.wiring import build_services
from ledger.phone import PhoneNumber
from payments.services import Services
from payments.worker.processes import jobs
from tests.scenarios.steps import (
    ACKNOWLEDGED,
    TOMATOES,
    Clock,
    approve,
    at_once,
    callback,
    cases,
    count,
    event_names,
    messages,
    observe,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
    refund_due_cents,
    report,
)
from tests.support.crashes import each_crash_point
from tests.support.horizon import until_readable
from tests.support.instance import DELIVERY, Client, Instance, running_instance
from tests.support.proxy import DatabaseProxy, cut_off
from tests.support.shop_faults import listings_held
from tests.support.suites import others_in_system
from tests.support.waiting import wait_until

A_FEW_SECONDS = 10


@pytest.fixture
def fragile(proxy: DatabaseProxy, data_folder: Path) -> Iterator[Instance]:
    """An instance that reaches PostgreSQL through the proxy."""
    with running_instance(proxy.url, data_folder) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        put_in_cart(running.client(1), TOMATOES, "2")
        yield running
        proxy.restore()


def _answers(instance: Instance) -> bool:
    return instance.anonymous().get("/readyz").status_code == 200


def _back(instance: Instance) -> None:
    wait_until(partial(_answers, instance), "the database is back for the instance")


def test_without_its_database_every_endpoint_answers_503_quickly_and_recovers_without_a_restart(
    proxy: DatabaseProxy, fragile: Instance
) -> None:
    buyer = fragile.client(1)
    session_id = buyer.create().json()["session_id"]
    before = event_names(fragile, session_id)
    proxy.cut()
    asked: list[Callable[[], requests.Response]] = [
        partial(buyer.get, "/api/payments/sessions/"),
        partial(buyer.get, f"/api/payments/sessions/{session_id}/"),
        partial(buyer.get, f"/api/payments/sessions/{session_id}/status/"),
        partial(buyer.get, f"/api/payments/sessions/{session_id}/events/"),
        partial(buyer.create, key="while-away"),
        partial(buyer.initiate, session_id),
        partial(buyer.post, f"/api/payments/sessions/{session_id}/extend_session/"),
        partial(buyer.get, "/api/cart/"),
        partial(buyer.get, "/api/catalogue/"),
    ]
    began = monotonic()
    answers = at_once(asked)
    assert monotonic() - began < A_FEW_SECONDS
    for answer in answers:
        assert (answer.status_code, answer.json()["error_code"]) == (503, "UNAVAILABLE")
        assert answer.json()["status"] == "error"
        assert int(answer.headers["Retry-After"]) >= 1
        for leak in ("postgres", "psycopg", "127.0.0.1", "connection"):
            assert leak not in answer.text.lower()
    assert fragile.anonymous().get("/healthz").status_code == 200
    assert fragile.anonymous().get("/readyz").status_code == 503

    proxy.restore()
    _back(fragile)
    assert event_names(fragile, session_id) == before
    assert buyer.create(key="while-away").status_code == 201
    assert buyer.initiate(session_id).status_code == 200
    approve(fragile)
    fragile.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_callback_that_cannot_be_stored_is_not_acknowledged(
    proxy: DatabaseProxy, fragile: Instance
) -> None:
    buyer = fragile.client(1)
    session_id = fragile.pay(buyer)
    prompt = prompt_of(fragile)
    with cut_off(proxy, fragile.services.database):
        answer = report(fragile, own_path(prompt), callback(prompt))
    assert answer.status_code == 503
    assert answer.json() != ACKNOWLEDGED

    _back(fragile)
    assert count(fragile, "daraja_inbox") == 0
    assert report(fragile, own_path(prompt), callback(prompt)).json() == ACKNOWLEDGED
    fragile.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_restart_of_the_database_costs_one_answer_at_most(proxy: DatabaseProxy, fragile: Instance) -> None:
    buyer = fragile.client(1)
    session_id = buyer.create().json()["session_id"]
    for _ in range(3):
        proxy.cut()
        proxy.restore()
        statuses = [buyer.get(f"/api/payments/sessions/{session_id}/status/").status_code for _ in range(5)]
        assert set(statuses[1:]) == {200}, statuses


def test_a_worker_continues_when_the_database_is_back(proxy: DatabaseProxy, fragile: Instance) -> None:
    buyer = fragile.client(1)
    fragile.start_worker()
    session_id = fragile.pay(buyer)
    proxy.cut()
    proxy.restore()
    _back(fragile)
    approve(fragile)

    def is_ordered() -> bool:
        answer = buyer.get(f"/api/payments/sessions/{session_id}/status/")
        return answer.status_code == 200 and answer.json()["session_status"] == "order_created"

    wait_until(is_ordered, "the worker has made the order", within_seconds=30)


def _phone(user: int) -> str:
    return f"25471200{user:04d}"


def _ready_buyer(instance: Instance, user: int) -> tuple[Client, str]:
    buyer = instance.client(user)
    put_in_cart(buyer, TOMATOES, "1")
    return buyer, buyer.create().json()["session_id"]


@pytest.fixture
def well_stocked(instance: Instance) -> Instance:
    put_on_shelf(instance, TOMATOES, stock="1000")
    return instance


def test_a_retry_with_its_key_is_safe_wherever_the_first_process_crashed(
    clock: Clock, well_stocked: Instance, proxy: DatabaseProxy
) -> None:
    for user, _, crash in each_crash_point(well_stocked, proxy):
        buyer = well_stocked.client(user)
        put_in_cart(buyer, TOMATOES, "1")
        headers = {"Authorization": f"Bearer {well_stocked.token(user)}", "Idempotency-Key": "once"}

        def create(services: Services, headers: dict[str, str] = headers) -> None:
            endpoint = create_app(well_stocked.settings, lambda: services).test_client()
            body = {"delivery_details": DELIVERY}
            assert endpoint.post("/api/payments/sessions/", json=body, headers=headers).status_code in (
                201,
                503,
            )

        crash(create)
        clock.tick(91)
        assert buyer.create(key="once").status_code == 201
        assert buyer.get("/api/payments/sessions/").json()["count"] == 1


def test_a_retry_with_its_key_extends_once_wherever_the_first_process_crashed(
    clock: Clock, well_stocked: Instance, proxy: DatabaseProxy
) -> None:
    for user, _, crash in each_crash_point(well_stocked, proxy):
        _, session_id = _ready_buyer(well_stocked, user)
        headers = {"Authorization": f"Bearer {well_stocked.token(user)}", "Idempotency-Key": "once"}
        path = f"/api/payments/sessions/{session_id}/extend_session/"

        def extend(services: Services, headers: dict[str, str] = headers, path: str = path) -> None:
            endpoint = create_app(well_stocked.settings, lambda: services).test_client()
            assert endpoint.post(path, json={}, headers=headers).status_code in (200, 503)

        crash(extend)
        clock.tick(91)
        assert well_stocked.anonymous().post(path, json={}, headers=headers).status_code == 200
        assert event_names(well_stocked, session_id).count("Extended") == 1


@pytest.mark.parametrize("step", others_in_system([1, 3], 3))
def test_a_crash_during_a_prompt_leaves_a_session_that_can_be_paid(
    clock: Clock, well_stocked: Instance, proxy: DatabaseProxy, step: int
) -> None:
    for user, _, crash in each_crash_point(well_stocked, proxy, step):
        buyer, session_id = _ready_buyer(well_stocked, user)
        phone = _phone(user)
        crash(lambda s, u=user, i=session_id, p=phone: s.checkout.initiate(u, UUID(i), PhoneNumber(p)))
        if not well_stocked.simulator.prompts(phone):
            clock.tick(121)
            well_stocked.work()
            assert buyer.initiate(session_id, phone_number=phone).status_code == 200
        approve(well_stocked, phone)
        well_stocked.work()
        assert buyer.status(session_id)["session_status"] == "order_created", event_names(
            well_stocked, session_id
        )
        assert len(well_stocked.simulator.prompts(phone)) == 1


def test_a_crash_during_a_callback_loses_no_acknowledged_one(
    clock: Clock, well_stocked: Instance, proxy: DatabaseProxy
) -> None:
    for user, _, crash in each_crash_point(well_stocked, proxy):
        buyer, session_id = _ready_buyer(well_stocked, user)
        phone = _phone(user)
        assert buyer.initiate(session_id, phone_number=phone).status_code == 200
        prompt = prompt_of(well_stocked, phone)
        body = callback(prompt, MpesaReceiptNumber=f"UKG{user:07d}")
        token = own_path(prompt).rstrip("/").rpartition("/")[2]
        acknowledged: list[bool] = []

        def receive(services: Services, body: object = body, token: str = token) -> None:
            text = str(body).replace("'", '"').encode()
            services.stk_callbacks.receive(text, body_bytes=len(text), token=token)
            acknowledged.append(True)  # noqa: B023 - called in this round

        crash(receive)
        clock.tick(6)
        well_stocked.work()
        if not acknowledged and buyer.status(session_id)["session_status"] != "order_created":
            report(well_stocked, own_path(prompt), body)
            well_stocked.work()
        assert buyer.status(session_id)["session_status"] == "order_created", event_names(
            well_stocked, session_id
        )
        assert event_names(well_stocked, session_id).count("Paid") == 1
        assert refund_due_cents(well_stocked, session_id) == 0
    assert {state for state, _ in messages(well_stocked)} == {"acted_on"}


@pytest.mark.parametrize("step", others_in_system([1, 3], 3))
def test_a_worker_crash_during_an_order_leaves_exactly_one_order(
    clock: Clock, well_stocked: Instance, proxy: DatabaseProxy, step: int
) -> None:
    for user, _, crash in each_crash_point(well_stocked, proxy, step):
        buyer, session_id = _ready_buyer(well_stocked, user)
        phone = _phone(user)
        assert buyer.initiate(session_id, phone_number=phone).status_code == 200
        with listings_held(well_stocked.settings.database_url):
            approve(well_stocked, phone)
        _let_go(well_stocked)
        crash(lambda services: [job.work() for job in jobs(services.worker) if job.name == "orders"])

        def is_ordered(buyer: Client = buyer, session_id: str = session_id) -> bool:
            clock.tick(2)
            well_stocked.work()
            return bool(buyer.status(session_id)["session_status"] == "order_created")

        wait_until(is_ordered, "the order is made by the next worker")
        assert event_names(well_stocked, session_id).count("OrderCreated") == 1
    sold = count(well_stocked, "shop_orders")
    assert observe(well_stocked, "SELECT stock_thousandths FROM shop_listings") == [((1000 - sold) * 1000,)]
    assert [case for case in cases(well_stocked) if case[0] != "receipt_missing"] == []


def _let_go(instance: Instance) -> None:
    for job in instance.jobs:
        if job.lock is not None:
            job.lock.release()


def test_two_workers_at_once_do_all_work_once(instance: Instance, database_url: str) -> None:
    put_on_shelf(instance, TOMATOES, stock="100")
    settings = local_settings({**instance.settings.environ, "DATABASE_URL": database_url})
    second = build_services(settings)
    try:
        rivals = [[job.work for job in jobs(second.worker)], [job.work for job in instance.jobs]]
        paid = {}
        for user in range(1, 9):
            buyer, session_id = _ready_buyer(instance, user)
            assert buyer.initiate(session_id, phone_number=f"2547000100{user:02d}").status_code == 200
            paid[session_id] = buyer
        assert instance.simulator.wait_until_idle(20)

        def all_ordered() -> bool:
            for works in rivals:
                for work in works:
                    work()
            shown = [buyer.status(session_id)["session_status"] for session_id, buyer in paid.items()]
            return shown == ["order_created"] * len(paid)

        wait_until(all_ordered, "one of two workers has made all orders")
        assert count(instance, "shop_orders") == len(paid)
    finally:
        second.close()


def test_a_message_that_no_handler_can_process_stops_no_other(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    poisoned = instance.pay(buyer)
    prompt = prompt_of(instance)
    _append_from_the_future(instance, poisoned)
    assert report(instance, own_path(prompt), callback(prompt)).json() == ACKNOWLEDGED
    other, session_id = _ready_buyer(instance, 2)
    assert other.initiate(session_id, phone_number="254700010101").status_code == 200
    second = prompt_of(instance, "254700010101")
    report(instance, "/api/payments/callbacks/", callback(second, MpesaReceiptNumber="UKG0000002"))
    clock.tick(13)
    for name in ("letters", "unauthenticated_messages", "ladder", "expiry", "orders"):
        until_readable(instance.services.database)
        assert next(job for job in instance.jobs if job.name == name).work() >= 0
    _take_back(instance, poisoned)
    assert other.status(session_id)["session_status"] == "order_created"

    clock.tick(31)
    instance.work()
    assert buyer.status(poisoned)["session_status"] == "order_created"


def _append_from_the_future(instance: Instance, session_id: str) -> None:
    """Append an event of a topic that this version does not know, as a newer version would."""
    _as_owner(
        instance,
        "INSERT INTO payment_events SELECT session_id, version + 1, 'payment_session.unheard_of.v1', '{}', hash, hash,"
        " origin, position + 1, recorded_at FROM payment_events WHERE session_id = %s ORDER BY version DESC LIMIT 1",
        session_id,
    )


def _take_back(instance: Instance, session_id: str) -> None:
    _as_owner(
        instance,
        "DELETE FROM payment_events WHERE session_id = %s AND topic = 'payment_session.unheard_of.v1'",
        session_id,
    )


def _as_owner(instance: Instance, statement: str, session_id: str) -> None:
    with psycopg.connect(instance.settings.database_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement.encode(), [session_id])
