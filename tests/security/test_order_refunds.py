"""Operators refund orders: the whole by reversal, a part by the receipt of its payout, and never their own."""

from functools import partial
from typing import Any

import pytest

from tests.scenarios.steps import TOMATOES, approve, at_once, event_names, on_shelf, put_in_cart
from tests.security.acts import OWN, refused
from tests.support.instance import Instance
from tests.support.waiting import wait_until

REFUNDS = "/api/payments/refunds/"


def bought(instance: Instance, user: int = 1, quantity: str = "2") -> str:
    """Return a session of a user that became an order: of 350 shillings for two kilos."""
    buyer = instance.client(user)
    put_in_cart(buyer, TOMATOES, quantity)
    session_id = instance.pay(buyer)
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    return session_id


def refund_order(instance: Instance, session_id: str, user: int = 9, **fields: Any) -> Any:
    """Let an operator refund the order of a session."""
    body = {"reason": "The goods were bad."} | fields
    return instance.client(user, "operator").post(f"/api/payments/sessions/{session_id}/refund/", json=body)


def test_an_order_is_refunded_by_reversal_and_everybody_sees_it(instance: Instance) -> None:
    session_id = bought(instance)
    buyer = instance.client(1)
    shown = buyer.status(session_id)
    assert (shown["refunded"], shown["refund_status"]) == ("0.00", None)
    assert shown["receipt"]
    in_stock = on_shelf(instance.client(9, "operator"))

    answer = refund_order(instance, session_id, restock=True)
    assert (answer.status_code, answer.json()["refund"]["state"]) == (200, "approved")
    assert buyer.status(session_id)["refund_status"] == "due"
    assert "Your refund is on its way" in instance.anonymous().get(f"/shop/sessions/{session_id}/").text
    wait_until(lambda: is_refunded(instance, session_id), "the money is back")

    shown = buyer.status(session_id)
    assert (shown["session_status"], shown["refunded"], shown["refund_status"]) == (
        "order_created",
        "350.00",
        "refunded",
    )
    order = buyer.get(f"/api/orders/{shown['order']['order_id']}/").json()
    assert (order["refunded"], order["refund_status"]) == ("350.00", "refunded")
    [listed] = buyer.get("/api/payments/sessions/").json()["results"]
    assert (listed["refunded"], listed["refund_status"]) == ("350.00", "refunded")
    for page in (f"/shop/sessions/{session_id}/", f"/shop/orders/{shown['order']['order_id']}/"):
        assert "Your money has been refunded" in instance.anonymous().get(page).text
    assert on_shelf(instance.client(9, "operator")) == in_stock + 2
    assert refused(refund_order(instance, session_id)) == (409, "REFUND_EXCEEDS_ORDER")


def is_refunded(instance: Instance, session_id: str) -> bool:
    """Run the worker; return whether the money is back."""
    instance.work()
    return bool(instance.client(1).status(session_id)["refund_status"] == "refunded")


def test_a_part_of_an_order_is_recorded_by_the_receipt_of_its_payout(instance: Instance) -> None:
    session_id, other = bought(instance), bought(instance, user=2, quantity="3")
    assert refused(refund_order(instance, session_id, amount="100")) == (409, "REFUND_IN_PART")
    answer = refund_order(instance, session_id, amount="100", payout_receipt="ukp0000001")
    assert answer.json()["refund"]["state"] == "refunded"
    shown = instance.client(1).status(session_id)
    assert (shown["refunded"], shown["refund_status"]) == ("100.00", "partly_refunded")
    assert refused(refund_order(instance, other, payout_receipt="UKP0000001")) == (409, "PAYOUT_KNOWN")
    for wrong in ("short", "UKP 00001", "🙂🙂🙂🙂🙂🙂🙂🙂"):
        assert refund_order(instance, session_id, amount="1", payout_receipt=wrong).status_code == 400
    for wrong_amount in ("0", "-1", "1.001", "x"):
        assert refund_order(instance, session_id, amount=wrong_amount).status_code == 400
    assert refused(refund_order(instance, session_id, amount="250.01", payout_receipt="UKP0000002")) == (
        409,
        "REFUND_EXCEEDS_ORDER",
    )


def test_of_two_who_refund_an_order_at_once_one_does(instance: Instance) -> None:
    session_id = bought(instance)
    answers = at_once([partial(refund_order, instance, session_id, user) for user in (7, 8, 9)])
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    assert event_names(instance, session_id).count("RefundDue") == 1


def test_nobody_refunds_their_own_order_and_much_money_takes_two(careful: Instance) -> None:
    session_id = bought(careful, user=8)
    answer = refund_order(careful, session_id)
    assert (answer.status_code, answer.json()["refund"]) == (202, None)
    approve = answer.json()["proposal"]["approve"]
    assert refused(careful.client(8, "operator").post(approve)) == OWN
    assert refused(refund_order(careful, session_id, user=8)) == OWN
    answers = at_once([partial(careful.client(user, "operator").post, approve) for user in (6, 7)])
    assert [answer.status_code for answer in answers].count(200) >= 1
    assert event_names(careful, session_id).count("RefundDue") == 1
    shown = careful.client(7, "operator").get(f"{REFUNDS}{session_id}/1/").json()
    assert shown["decided_by"] in ("operator 6, proposed by operator 9", "operator 7, proposed by operator 9")


def test_the_parts_of_much_money_take_two_as_the_whole_does(careful: Instance) -> None:
    session_id = bought(careful)
    first = refund_order(careful, session_id, user=7, amount="200", payout_receipt="UKP0000001")
    assert (first.status_code, first.json()["refund"]["state"]) == (200, "refunded")
    again = refund_order(careful, session_id, amount="150", payout_receipt="UKP0000003")
    assert (again.status_code, again.json()["refund"]) == (202, None)
    assert careful.client(7, "operator").post(again.json()["proposal"]["approve"]).status_code == 200
    assert careful.client(1).status(session_id)["refund_status"] == "refunded"


def test_two_parts_at_once_do_not_pass_as_two_small_sums(careful: Instance) -> None:
    session_id = bought(careful)
    answers = at_once(
        [
            partial(refund_order, careful, session_id, user, amount="175", payout_receipt=f"UKP000000{user}")
            for user in (7, 8)
        ]
    )
    one, other = sorted(answer.status_code for answer in answers)
    assert one == 200
    assert other in (202, 409)
    assert careful.client(1).status(session_id)["refunded"] == "175.00"


def test_the_receipt_of_a_payment_is_no_receipt_of_a_payout(instance: Instance) -> None:
    session_id = bought(instance)
    receipt = instance.client(1).status(session_id)["receipt"]
    answer = refund_order(instance, session_id, amount="100", payout_receipt=receipt)
    assert refused(answer) == (400, "INVALID_INPUT")
    assert "is of a payment that came in" in answer.text


@pytest.mark.parametrize("role", ["customer", "analyst", "auditor"])
def test_only_operators_refund_orders(instance: Instance, role: str) -> None:
    session_id = bought(instance)
    path = f"/api/payments/sessions/{session_id}/refund/"
    assert instance.client(9, role).post(path, json={"reason": "Bad."}).status_code == 403
