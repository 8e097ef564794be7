"""A paid session whose order cannot be made: the money is due back, or an operator can decide so, and never both."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

import psycopg
import pytest

from ledger import clock
from payments.fulfilment.order_failures import GIVE_UP_AFTER
from payments.worker.event_processor import MAX_TRIES
from tests.scenarios.steps import (
    PAYS_AT_ONCE,
    Clock,
    cases,
    count,
    event_names,
    observe,
    on_shelf,
    refund_due_cents,
)
from tests.support.instance import Client, Instance
from tests.support.shop_faults import REFUSES_ORDERS, listings_held
from tests.support.suites import others_in_system

WORK_LIST = "/api/work-list/"
NOTE = {"note": "The shop is closed."}
PERMANENT = {
    "CheckViolation": "ALTER TABLE shop_orders ADD CONSTRAINT breaks CHECK (total_cents < 0) NOT VALID",
    "DataError": REFUSES_ORDERS.format(code="22003"),
    "IntegrityError": REFUSES_ORDERS.format(code="23505"),
    "RuntimeError": REFUSES_ORDERS.format(code="P0001"),
    "InsufficientPrivilege": "REVOKE INSERT ON shop_orders FROM daftari_app",
}
PASSING = {"time-out": REFUSES_ORDERS.format(code="57014"), "deadlock": REFUSES_ORDERS.format(code="40P01")}


def change(instance: Instance, statements: str) -> None:
    """Change the database as its owner."""
    with psycopg.connect(instance.settings.database_url, autocommit=True) as connection:
        connection.execute(statements.encode())


def work_for(instance: Instance, clock: Clock, seconds: int) -> None:
    """Let the worker run for a while, in steps that grow as its pauses do."""
    step = 1
    while seconds > 0:
        instance.work()
        clock.tick(step)
        seconds -= step
        step = min(2 * step, 300)
    instance.work()


def paid_session(instance: Instance, buyer: Client) -> str:
    with listings_held(instance.settings.database_url):
        session_id = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
        instance.simulator.run_due()
        assert instance.simulator.wait_until_idle(20)
    assert buyer.status(session_id)["session_status"] == "paid"
    return session_id


@pytest.fixture
def mended(instance: Instance) -> Callable[[], None]:
    """Return a function that removes the faults of the shop."""
    return partial(
        change,
        instance,
        "DROP TRIGGER IF EXISTS breaks ON shop_orders; ALTER TABLE shop_orders DROP CONSTRAINT IF EXISTS breaks;"
        "GRANT INSERT ON shop_orders TO daftari_app",
    )


@pytest.mark.parametrize("fault", others_in_system(PERMANENT, *list(PERMANENT)[:2]))
def test_an_order_that_keeps_failing_is_given_up_and_the_money_is_due_back(
    clock: Clock, instance: Instance, buyer: Client, mended: Callable[[], None], fault: str
) -> None:
    session_id = paid_session(instance, buyer)
    change(instance, PERMANENT[fault])
    instance.work()
    assert buyer.status(session_id)["session_status"] == "paid"
    work_for(instance, clock, int(GIVE_UP_AFTER.total_seconds()) + 10)

    shown = buyer.status(session_id)
    assert (shown["session_status"], shown["reason"]["code"]) == ("failed", "ORDER_NOT_MADE")
    assert event_names(instance, session_id)[-2:] == ["Failed", "RefundDue"]
    assert refund_due_cents(instance, session_id) == 350_00
    assert cases(instance) == [("refund_due", "ORDER_NOT_MADE")]

    mended()
    work_for(instance, clock, 600)
    assert (count(instance, "shop_orders"), on_shelf(buyer)) == (0, 40)


@pytest.mark.parametrize("fault", PASSING)
def test_an_outage_of_the_shop_is_waited_out_however_long_it_takes(
    clock: Clock, instance: Instance, buyer: Client, mended: Callable[[], None], fault: str
) -> None:
    session_id = paid_session(instance, buyer)
    change(instance, PASSING[fault])
    work_for(instance, clock, 3600)
    assert buyer.status(session_id)["session_status"] == "paid"
    assert cases(instance) == [("order_missing", "paid without an order")]
    [[tries]] = observe(instance, "SELECT tries FROM follower_failures")
    assert (tries, count(instance, "order_failures")) == (1, 0)

    mended()
    clock.tick(15)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert cases(instance) == []


def test_an_operator_gives_the_money_back_while_the_shop_times_out(
    clock: Clock, instance: Instance, buyer: Client, mended: Callable[[], None]
) -> None:
    session_id = paid_session(instance, buyer)
    change(instance, PASSING["time-out"])
    work_for(instance, clock, 200)
    operator = instance.client(9, "operator")
    [case] = operator.get(WORK_LIST).json()["results"]
    [action] = case["actions"]
    assert (case["kind"], action["name"], action["field"]) == ("order_missing", "refund", "note")
    assert buyer.post(action["path"], json=NOTE).status_code == 403
    assert operator.post(action["path"], json={"note": " "}).status_code == 400
    assert operator.post(action["path"], json=NOTE).status_code == 200
    again = operator.post(action["path"], json=NOTE)
    assert (again.status_code, again.json()["error_code"]) == (409, "CASE_NOT_OPEN")

    mended()
    work_for(instance, clock, 600)
    assert buyer.status(session_id)["reason"]["code"] == "ORDER_NOT_MADE"
    assert (count(instance, "shop_orders"), refund_due_cents(instance, session_id)) == (0, 350_00)
    assert cases(instance) == [("refund_due", "ORDER_NOT_MADE")]
    recorded = "SELECT state->>'recorded_by', state->>'note' FROM payment_events WHERE topic = %s"
    assert observe(instance, recorded, "payment_session.failed.v1") == [("operator 9", "The shop is closed.")]


@pytest.mark.parametrize("_", [0, *(pytest.param(turn, marks=pytest.mark.system) for turn in range(1, 5))])
def test_of_an_order_and_an_operator_who_gives_it_up_at_the_same_moment_one_wins(
    instance: Instance, buyer: Client, _: int
) -> None:
    session_id = paid_session(instance, buyer)
    operator = instance.client(9, "operator")
    path = f"{WORK_LIST}order_missing/{session_id}.order.1/refund/"
    with ThreadPoolExecutor(1) as threads:
        giving_up = threads.submit(operator.post, path, json=NOTE)
        instance.work()
        answer = giving_up.result()
    instance.work()
    was_ordered = buyer.status(session_id)["session_status"] == "order_created"
    assert answer.status_code == (409 if was_ordered else 200)
    assert count(instance, "shop_orders") == was_ordered
    assert refund_due_cents(instance, session_id) == (0 if was_ordered else 350_00)


def test_giving_up_an_order_that_the_shop_has_made_records_the_order(
    instance: Instance, buyer: Client
) -> None:
    """As after a crash between the shop's commit and the event."""
    session_id = paid_session(instance, buyer)
    maker = instance.services.worker.order_maker
    session = instance.services.ledger.session(UUID(session_id))
    instance.services.shop.create_order(maker._request(session, clock.now()))
    path = f"{WORK_LIST}order_missing/{session_id}.order.1/refund/"
    assert instance.client(9, "operator").post(path, json=NOTE).json()["error_code"] == "CASE_NOT_OPEN"
    assert buyer.status(session_id)["session_status"] == "order_created"


@pytest.mark.parametrize("action", ["refund", "retry"])
def test_an_order_that_an_older_release_dead_lettered_is_a_case_that_ends(
    instance: Instance, buyer: Client, action: str
) -> None:
    session_id = paid_session(instance, buyer)
    change(
        instance,
        "INSERT INTO follower_failures (name, session_id, version, topic, error, tries, first_failed_at, state)"
        f" SELECT 'orders', session_id, version, topic, 'CheckViolation', {MAX_TRIES}, now(), 'set_aside'"
        " FROM payment_events WHERE topic = 'payment_session.paid.v1';"
        "INSERT INTO follower_positions (name, origin, position)"
        " SELECT 'orders', 1, max(position) FROM payment_events"
        " ON CONFLICT (name, origin) DO UPDATE SET position = excluded.position",
    )
    instance.work()
    operator = instance.client(9, "operator")
    [case] = operator.get(WORK_LIST, params={"kind": "reaction_set_aside"}).json()["results"]
    paths = {each["name"]: each["path"] for each in case["actions"]}
    assert set(paths) == {"retry", "close", "refund"}
    assert operator.post(paths[action], json=NOTE if action == "refund" else None).status_code == 200
    instance.work()
    status = buyer.status(session_id)["session_status"]
    assert status == {"refund": "failed", "retry": "order_created"}[action]
    assert cases(instance) == ([("refund_due", "ORDER_NOT_MADE")] if action == "refund" else [])


def test_goods_that_come_to_nothing_are_refused_before_any_prompt(instance: Instance) -> None:
    """An older cart may hold such a line; a new one is refused at the cart."""
    instance.client(9, "operator").put(
        "/api/catalogue/77/",
        json={
            "product_name": "Seeds",
            "farm_name": "Green Valley Farm",
            "price": "0.01",
            "unit_of_measure": "kg",
            "stock": "10",
        },
    )
    other = instance.client(2)
    refused = other.put("/api/cart/items/77/", json={"quantity": "0.4"})
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["quantity"])
    assert other.put("/api/cart/items/77/", json={"quantity": "0.5"}).status_code == 200
    change(instance, "UPDATE shop_cart_items SET quantity_thousandths = 400 WHERE listing_id = 77")
    answer = other.create()
    assert (answer.status_code, answer.json()["error_code"]) == (400, "AMOUNT_OUT_OF_RANGE")
    assert count(instance, "payment_sessions") == 0
