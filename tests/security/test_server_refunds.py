"""A shop's server asks for refunds of its own orders: the policy or an operator decides, and no key ever does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.scenarios.steps import PAYS_AT_ONCE, at_once
from tests.security.acts import refused
from tests.support.instance import Client, Instance, running_instance
from tests.support.waiting import wait_until

SESSIONS = "/api/payments/sessions/"


@pytest.fixture
def automatic(database_url: str, data_folder: Path) -> Iterator[Instance]:
    """An instance whose policy approves below 350 shillings, and where 350 take a person."""
    variables = {"DAFTARI_REFUND_POLICY": "auto", "DAFTARI_FOUR_EYES_FROM": "350.00"}
    with running_instance(database_url, data_folder, **variables) as running:
        yield running


@pytest.fixture
def manual(database_url: str, data_folder: Path) -> Iterator[Instance]:
    """An instance in which operators decide about all refunds."""
    with running_instance(database_url, data_folder) as running:
        yield running


def opened(shop: Client, amount: str) -> str:
    created = shop.post("/api/payments/checkouts/", json={"amount": amount})
    assert created.status_code == 201, created.text
    return str(created.json()["session_id"])


def paid(instance: Instance, shop: Client, amount: str) -> str:
    """Return a session of a shop's server that was paid, and so has its order."""
    session_id = opened(shop, amount)
    assert shop.initiate(session_id, phone_number=PAYS_AT_ONCE).status_code == 200
    instance.work()
    assert shop.status(session_id)["session_status"] == "order_created"
    return session_id


def ask(shop: Client, session_id: str, reason: str = "Sold out.", key: str | None = None) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return shop.post(f"{SESSIONS}{session_id}/refunds/", json={"reason": reason}, headers=headers)


def listed(shop: Client, session_id: str) -> dict[str, Any]:
    answer = shop.get(f"{SESSIONS}{session_id}/refunds/")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def is_back(instance: Instance, shop: Client, session_id: str) -> bool:
    """Run the worker; return whether the money is back."""
    instance.work()
    return bool(shop.status(session_id)["refund_status"] == "refunded")


def test_below_the_threshold_the_policy_sends_it_back_once(automatic: Instance) -> None:
    shop = automatic.server("web-shop")
    session_id = paid(automatic, shop, "349.00")
    answer = ask(shop, session_id)
    assert (answer.status_code, answer.json()["waiting"]) == (200, None)
    refund = answer.json()["refund"]
    assert (refund["refund"], refund["state"], refund["amount"], refund["of_order"], refund["reason"]) == (
        1,
        "approved",
        349.0,
        True,
        "Sold out.",
    )
    assert refused(ask(shop, session_id)) == (409, "REFUND_EXCEEDS_ORDER")
    wait_until(lambda: is_back(automatic, shop, session_id), "the money is back")
    assert refused(ask(shop, session_id)) == (409, "REFUND_EXCEEDS_ORDER")
    shown = listed(shop, session_id)
    assert shown["waiting"] is None
    [refund] = shown["results"]
    assert (refund["state"], bool(refund["reversal_receipt"])) == ("refunded", True)

    detail = automatic.services.refunds.find(UUID(session_id), 1)
    assert detail.decided_by == detail.approved_by == "policy:auto, asked by key web-shop"
    _, [entry] = automatic.services.audit_log.entries(kind="decision")
    assert (entry.actor, entry.details["asked_by"]) == ("policy:auto", "key:web-shop")


def test_from_the_threshold_on_an_operator_approves_what_was_asked(automatic: Instance) -> None:
    shop = automatic.server("web-shop")
    session_id = paid(automatic, shop, "350.00")
    answer = ask(shop, session_id)
    assert (answer.status_code, answer.json()["refund"], answer.json()["waiting"]["amount"]) == (
        202,
        None,
        350.0,
    )
    assert shop.status(session_id)["refund_status"] is None
    approved_by_an_operator(automatic, shop, session_id)


def test_without_a_policy_an_operator_approves_any_sum(manual: Instance) -> None:
    shop = manual.server("web-shop")
    session_id = paid(manual, shop, "10.00")
    first, again = ask(shop, session_id), ask(shop, session_id, reason="The buyer asked.")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert listed(shop, session_id) == {"results": [], "waiting": first.json()["waiting"]}
    approved_by_an_operator(manual, shop, session_id)


def approved_by_an_operator(instance: Instance, shop: Client, session_id: str) -> None:
    """Approve the one proposal that there is, which its key cannot, and see the money go back."""
    operator = instance.client(9, "operator")
    [case] = operator.get("/api/work-list/?kind=decision_proposed").json()["results"]
    approve = f"/api/work-list/decision_proposed/{case['case_id']}/approve/"
    assert refused(shop.post(approve)) == (403, "ROLE_REQUIRED")
    assert operator.post(approve).status_code == 200
    wait_until(lambda: is_back(instance, shop, session_id), "the money is back")
    assert listed(shop, session_id)["waiting"] is None
    detail = instance.services.refunds.find(UUID(session_id), 1)
    assert detail.decided_by == "operator 9, proposed by key web-shop"
    assert refused(ask(shop, session_id)) == (409, "REFUND_EXCEEDS_ORDER")


def test_the_same_request_asks_once(automatic: Instance) -> None:
    shop = automatic.server("web-shop")
    session_id = paid(automatic, shop, "100.00")
    answers = at_once(3 * [lambda: ask(shop, session_id, key="refund-1")])
    assert {200} <= {answer.status_code for answer in answers} <= {200, 409}
    again = ask(shop, session_id, key="refund-1")
    assert (again.status_code, again.json()["refund"]["refund"]) == (200, 1)
    assert len(listed(shop, session_id)["results"]) == 1


def test_sessions_of_another_key_and_of_carts_are_not_there(automatic: Instance) -> None:
    shop, other = automatic.server("web-shop"), automatic.server("donations")
    session_id = paid(automatic, shop, "100.00")
    for path in (session_id, "550e8400-e29b-41d4-a716-446655440000"):
        assert refused(ask(other, path)) == (404, "SESSION_NOT_FOUND")
        assert refused(other.get(f"{SESSIONS}{path}/refunds/")) == (404, "SESSION_NOT_FOUND")
    for stranger in (
        automatic.server("reports", "auditor"),
        automatic.client(9, "operator"),
        automatic.client(7),
    ):
        assert refused(ask(stranger, session_id)) == (403, "ROLE_REQUIRED")
    assert listed(shop, session_id)["results"] == []


def test_what_cannot_be_refunded_is_refused(automatic: Instance) -> None:
    shop = automatic.server("web-shop")
    session_id = opened(shop, "100.00")
    assert refused(ask(shop, session_id)) == (409, "ORDER_NOT_MADE")
    assert ask(shop, session_id, reason="Call 0712345678.").status_code == 400
    assert ask(shop, session_id, reason="").status_code == 400
    assert listed(shop, session_id) == {"results": [], "waiting": None}
