"""DAFTARI_SHOP=none: a payment that a server created is complete once it is paid, and its order has no id."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ledger import clock as time
from ledger.identifiers import new_id
from ledger.session.cart import SnapshotLine, Totals
from ledger.session.session import PaymentSession
from ledger.session.values import BUILTIN_SHOP, NO_SHOP
from ledger.store.vault import PHONE, REFERENCE
from tests.scenarios.steps import (
    PAYS_AT_ONCE,
    TOMATOES,
    Clock,
    approve,
    cases,
    count,
    event_names,
    observe,
    put_in_cart,
    put_on_shelf,
    refund_due_cents,
)
from tests.scenarios.steps import (
    PHONE as NUMBER,
)
from tests.support.erasures import erase
from tests.support.instance import Client, Instance, running_instance

COMMITS = """
SELECT substring(topic FROM 'payment_session\\.(.*)\\.v1'), position >> 20 FROM payment_events
WHERE session_id = %s ORDER BY version
"""


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder, DAFTARI_SHOP="none") as running:
        yield running


@pytest.fixture
def buyer(instance: Instance) -> Client:
    return instance.client(1)


def checkout(instance: Instance, reference: str | None = "INV-17", shop: str = NO_SHOP) -> str:
    """Create a payment of 350.00 as a server does; return its session's id."""
    vault, now, session_id = instance.services.vault, time.now(), new_id(time.now())
    session = PaymentSession.create(
        session_id,
        user_id=1,
        lines=(SnapshotLine(None, None, "", "", 1_000, 350_00, 350_00, ""),),
        totals=Totals(350_00, 0, 0, 350_00),
        phone_sealed=vault.encrypt(1, NUMBER, purpose=PHONE, row=session_id),
        delivery_sealed=None,
        reference_sealed=reference and vault.encrypt(1, reference, purpose=REFERENCE, row=session_id),
        shop=shop,
        expires_at=now + timedelta(minutes=15),
        at=now,
    )
    assert instance.services.ledger.add(session)
    return str(session_id)


def paid(instance: Instance, buyer: Client, session_id: str) -> dict[str, Any]:
    """Pay a session on the phone; return its status."""
    answer = buyer.initiate(session_id)
    assert answer.status_code == 200, answer.text
    approve(instance)
    return buyer.status(session_id)


def test_payment_and_order_are_one_commit_and_the_order_is_the_reference(
    instance: Instance, buyer: Client
) -> None:
    session_id = checkout(instance)
    shown = paid(instance, buyer, session_id)
    assert shown["session_status"] == "order_created"
    assert (shown["order"]["order_id"], shown["order"]["order_number"]) == (None, "INV-17")
    commits = dict(observe(instance, COMMITS, session_id))
    assert commits["paid"] == commits["order_created"]
    [listed] = buyer.get("/api/payments/sessions/").json()["results"]
    assert listed["order_details"] == {"order_id": None, "order_number": "INV-17"}
    assert count(instance, "shop_orders") == count(instance, "shop_order_days") == 0


def test_the_session_s_id_stands_for_a_reference_that_is_not_there(instance: Instance, buyer: Client) -> None:
    session_id = checkout(instance, reference=None)
    assert paid(instance, buyer, session_id)["order"]["order_number"] == session_id


def test_an_erased_buyer_s_payment_is_complete_under_the_session_s_id(
    instance: Instance, buyer: Client
) -> None:
    session_id = checkout(instance)
    assert buyer.initiate(session_id).status_code == 200
    erase(instance.services.database, instance.services.vault, 1)
    approve(instance)
    instance.work()
    assert event_names(instance, session_id)[-2:] == ["Paid", "OrderCreated"]
    assert observe(instance, "SELECT order_id, order_number FROM payment_sessions") == [(None, session_id)]


def test_such_an_order_is_in_books_figures_search_and_evidence(instance: Instance, buyer: Client) -> None:
    session_id = checkout(instance)
    paid(instance, buyer, session_id)
    instance.work()
    booked = "SELECT debit_account, amount_cents FROM journal_entries WHERE credit_account = 'sales'"
    assert observe(instance, booked) == [("customer_funds", 350_00)]
    auditor = instance.client(41, "auditor")
    [found] = auditor.get("/api/audit/payments/", params={"order_number": "inv-17"}).json()["results"]
    assert (found["session_id"], found["order"]["order_id"]) == (session_id, None)
    assert auditor.get(f"/api/audit/payments/{session_id}/evidence/").status_code == 200
    console = {"Cookie": f"daftari_operator={instance.token(41, 'auditor')}"}
    assert "INV-17" in auditor.get(f"/console/payments/{session_id}/", headers=console).text
    shown = instance.client(42, "analyst").get("/api/payments/metrics/").json()
    assert shown["sessions_by_status"]["order_created"] == 1


def test_of_an_order_and_an_operator_who_gives_it_up_the_ledger_lets_one_win(
    instance: Instance, buyer: Client
) -> None:
    session_id = checkout(instance)
    paid(instance, buyer, session_id)
    path = f"/api/work-list/order_missing/{session_id}.order.1/refund/"
    answer = instance.client(9, "operator").post(path, json={"note": "Wrong."})
    assert (answer.status_code, answer.json()["error_code"]) == (409, "CASE_NOT_OPEN")
    assert refund_due_cents(instance, session_id) == 0


def test_an_order_without_a_shop_can_be_refunded(instance: Instance, buyer: Client) -> None:
    session_id = checkout(instance)
    paid(instance, buyer, session_id)
    answer = instance.client(9, "operator").post(
        f"/api/payments/sessions/{session_id}/refund/", json={"reason": "Sent back.", "restock": True}
    )
    assert answer.status_code == 200, answer.text
    instance.work()
    assert "RefundDue" in event_names(instance, session_id)
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_there_are_no_carts_and_no_shop(instance: Instance, buyer: Client) -> None:
    refused = buyer.create()
    assert (refused.status_code, refused.json()["error_code"]) == (409, "NO_CARTS")
    for path in ("/api/cart/", "/api/catalogue/", "/api/catalogue/123/", "/api/orders/1/"):
        answer = buyer.get(path)
        assert (answer.status_code, answer.json()["error_code"]) == (404, "NO_BUILTIN_SHOP"), path
    assert instance.anonymous().get("/shop/").status_code == 404
    start = instance.anonymous().get("/")
    assert (start.status_code, 'href="/shop/"' in start.text) == (200, False)
    assert buyer.get("/api/places/counties/").json()["count"] == 47


def test_a_session_of_the_built_in_shop_gets_its_order_there_all_the_same(
    database_url: str, data_folder: Path
) -> None:
    """Its cart was filled before the setting changed."""
    with running_instance(database_url, data_folder) as before:
        put_on_shelf(before, TOMATOES, stock="40")
        put_in_cart(before.client(), TOMATOES, "2")
        session_id = before.client().create().json()["session_id"]
    with running_instance(database_url, data_folder, DAFTARI_SHOP="none") as after:
        buyer = after.client()
        assert buyer.initiate(session_id, phone_number=PAYS_AT_ONCE).status_code == 200
        after.work()
        order = buyer.status(session_id)["order"]
        assert order["order_number"].startswith("ORD-")
        assert buyer.get(f"/api/orders/{order['order_id']}/").json()["session_id"] == session_id
        assert after.services.ledger.session(UUID(session_id)).shop == BUILTIN_SHOP


def test_a_paid_session_of_a_shop_that_is_not_configured_waits_and_is_a_case(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = checkout(instance, shop="http")
    refused = buyer.initiate(session_id)
    assert (refused.status_code, refused.json()["error_code"]) == (503, "SHOP_NOT_CONFIGURED")
    services = instance.services
    services.shops._shops["http"] = services.shops.named(NO_SHOP)  # As while it was configured.
    assert buyer.initiate(session_id).status_code == 200
    del services.shops._shops["http"]
    approve(instance)
    for _ in range(20):
        instance.work()
        clock.tick(30)
    assert buyer.status(session_id)["session_status"] == "paid"
    assert cases(instance) == [("order_missing", "paid without an order")]
    [(error,)] = observe(instance, "SELECT error FROM follower_failures")
    assert "DAFTARI_SHOP_URL" in error
    path = f"/api/work-list/order_missing/{session_id}.order.1/refund/"
    given_up = instance.client(9, "operator").post(path, json={"note": "It is gone."})
    assert (given_up.status_code, given_up.json()["error_code"]) == (503, "SHOP_NOT_CONFIGURED")
