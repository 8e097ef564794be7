"""A payment that M-Pesa or the payer takes back without us: recorded once, a case, and seen by shop and buyer."""

from tests.scenarios.steps import (
    approve,
    cases,
    event_names,
    observe,
    on_shelf,
    prompt_of,
    receipt_of,
)
from tests.support.instance import Client, Instance
from tests.support.shop_faults import listings_held
from tests.support.waiting import wait_until

NOTE = "The buyer returned the goods."


def bought(instance: Instance, buyer: Client) -> str:
    """Return a session of 350 shillings that became an order."""
    session_id = instance.pay(buyer)
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    return session_id


def take_back(instance: Instance) -> None:
    """Reverse the payment as somebody else who may: the result goes to an address that knows nothing of it."""
    elsewhere = f"{instance.base_url}/elsewhere/"
    instance.services.daraja.reverse(
        receipt=receipt_of(prompt_of(instance)),
        amount_shillings=350,
        remarks="Not by us",
        result_url=elsewhere,
        timeout_url=elsewhere,
    )
    wait_until(
        lambda: [movement.kind for movement in instance.simulator.movements()] == ["payment", "reversal"],
        "the payment is reversed",
    )


def import_statement(instance: Instance) -> dict[str, int]:
    counts = instance.services.reconciler.reconcile(instance.simulator.statement().encode()).found["counts"]
    return {kind: count for kind, count in counts.items() if count}


def test_a_payment_taken_back_after_the_order_is_seen_by_everybody_and_counts_once(
    instance: Instance, buyer: Client
) -> None:
    session_id = bought(instance, buyer)
    take_back(instance)
    for _ in range(2):
        assert import_statement(instance) == {"posted": 1, "reversal_unexpected": 1}
    assert event_names(instance, session_id)[-2:] == ["EvidenceUpgraded", "PaymentReversed"]

    shown = buyer.status(session_id)
    assert (shown["session_status"], shown["refunded"], shown["refund_status"]) == (
        "order_created",
        "350.00",
        "refunded",
    )
    order_id = shown["order"]["order_id"]
    order = buyer.get(f"/api/orders/{order_id}/").json()
    assert (order["refunded"], order["refund_status"]) == ("350.00", "refunded")
    [listed] = buyer.get("/api/payments/sessions/").json()["results"]
    assert (listed["refunded"], listed["refund_status"]) == ("350.00", "refunded")
    for page in (f"/shop/sessions/{session_id}/", f"/shop/orders/{order_id}/"):
        assert "Your money has been refunded" in instance.anonymous().get(page).text

    instance.work()
    operator = instance.client(9, "operator")
    [row] = operator.get("/api/payments/refunds/").json()["results"]
    assert (row["state"], row["why"], row["means"]) == ("refunded", "payment_reversed", "outside")
    refused = operator.post(f"/api/payments/sessions/{session_id}/refund/", json={"reason": NOTE})
    assert (refused.status_code, refused.json()["error_code"]) == (409, "REFUND_EXCEEDS_ORDER")
    assert refused.json()["message"] == "Of the order's money 0.00 shillings are left to give back."


def test_the_case_of_a_payment_taken_back_is_closed_with_a_reason(instance: Instance, buyer: Client) -> None:
    bought(instance, buyer)
    take_back(instance)
    import_statement(instance)
    operator = instance.client(9, "operator")
    [case] = operator.get("/api/work-list/").json()["results"]
    assert (case["kind"], case["amount"]) == ("money_went_back", 350.0)
    assert "was reversed after order ORD-" in case["detail"]
    closed = operator.post(f"/api/work-list/money_went_back/{case['case_id']}/close/", json={"note": NOTE})
    assert closed.status_code == 200, closed.text
    import_statement(instance)
    assert cases(instance) == []


def test_a_payment_taken_back_before_the_order_gets_none(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    with listings_held(instance.settings.database_url):
        approve(instance)
    assert buyer.status(session_id)["session_status"] == "paid"
    take_back(instance)
    import_statement(instance)
    instance.work()
    shown = buyer.status(session_id)
    assert (shown["session_status"], shown["reason"]["code"]) == ("failed", "PAYMENT_REVERSED")
    assert (shown["refunded"], shown["refund_status"]) == ("350.00", "refunded")
    assert on_shelf(buyer) == 40
    assert observe(instance, "SELECT refund_due_cents FROM payment_sessions") == [(0,)]
    assert event_names(instance, session_id)[-3:] == ["EvidenceUpgraded", "PaymentReversed", "Failed"]
