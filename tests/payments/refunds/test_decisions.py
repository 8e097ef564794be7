"""Decisions about refunds: who takes them, which are refused, and that only one of two at once succeeds."""

from functools import partial
from uuid import uuid4

import pytest

from ledger.session.values import RefundState
from tests.daraja.client.scripted import html_reply
from tests.payments.refunds.steps import REVERSAL, TAKEN, Till, reversed_in_full
from tests.scenarios.steps import at_once

PATH = "/api/payments/refunds/"
DECISIONS: dict[str, dict[str, str]] = {
    "approve": {},
    "refuse": {"reason": "Held."},
    "returned": {"note": "Cash."},
    "not-sent": {"note": "No."},
}


def test_only_operators_decide_and_auditors_read(till: Till) -> None:
    checkout = till.due()
    one = f"{PATH}{checkout.session_id}/1/"
    for role, may_read in (("customer", False), ("analyst", False), ("auditor", True), ("operator", True)):
        caller = till.instance.client(7, role)
        for path in (PATH, one):
            assert caller.get(path).status_code == (200 if may_read else 403)
        if role != "operator":
            for what, fields in DECISIONS.items():
                assert caller.post(f"{one}{what}/", json=fields).status_code == 403
    assert till.instance.anonymous().post(f"{one}approve/").status_code == 401
    assert till.facts(checkout) == ["RefundDue"]


def test_a_refusal_holds_the_money_until_an_operator_approves_it(till: Till) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    refused = till.decide(checkout, "refuse", reason="  The buyer took other goods. ").json()
    assert (refused["state"], refused["refused_by"]) == ("refused", "operator 9")
    assert refused["refused_reason"] == "The buyer took other goods."
    till.wait(hours=30)
    assert till.sent() == []
    till.approve(checkout)
    till.tell(reversed_in_full())
    assert till.refund(checkout).state == RefundState.REFUNDED


def test_money_returned_by_other_means_is_not_sent(till: Till) -> None:
    checkout = till.due()
    shown = till.decide(checkout, "returned", note="Paid out at the counter.").json()
    assert (shown["state"], shown["means"], shown["recorded_by"]) == ("refunded", "by_hand", "operator 9")
    for what, fields in DECISIONS.items():
        answer = till.decide(checkout, what, **fields)
        assert (answer.status_code, answer.json()["error_code"]) == (409, "REFUND_NOT_DUE")
    assert till.sent() == []


def test_a_refund_under_way_is_left_to_m_pesa_and_one_in_doubt_to_a_person(till: Till) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    for what in ("returned", "not-sent"):
        answer = till.decide(checkout, what, note="It did.")
        assert (answer.status_code, answer.json()["error_code"]) == (409, "REFUND_UNDER_WAY")
    other = till.due("UKG7Q2X9ZZ")
    till.script.at(REVERSAL, html_reply(504))
    till.approve(other)
    shown = till.decide(other, "not-sent", note="The statement lacks it.").json()
    assert (shown["state"], shown["failure_code"]) == ("due", "NOT_SENT")
    till.script.at(REVERSAL, TAKEN)
    till.approve(other)
    till.wait(seconds=30)
    assert len(till.sent()) == 3


@pytest.mark.parametrize("what", ["approve", "refuse", "returned"])
def test_of_two_operators_who_decide_at_once_one_succeeds(till: Till, what: str) -> None:
    for round_ in range(7):
        checkout = till.due(f"UKG7Q2X9{round_}{round_}")
        answers = at_once([partial(till.decide, checkout, what, **DECISIONS[what])] * 3)
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
        names = [name for name in till.facts(checkout) if name != "RefundDue"]
        assert len([name for name in names if name in ("RefundApproved", "RefundRefused", "Refunded")]) == 1
        if what == "approve":
            till.decide(checkout, "refuse", reason="Enough.")


def test_a_decision_repeated_with_its_key_is_taken_once(till: Till) -> None:
    checkout = till.due()
    path, key = f"{PATH}{checkout.session_id}/1/approve/", {"Idempotency-Key": str(uuid4())}
    first, second = (till.operator.post(path, headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert till.facts(checkout).count("RefundApproved") == 1


REFUSED_TEXTS = (
    "",
    "   ",
    "x" * 201,
    "Call 0712345678.",
    "Call +254 712 345 678 first",
    "Call 0712-345-678",
    "ws_CO_16112026103000708374149",
    "two\nlines",
    "bell\x07",
    "hidden \u202e text",
    5,
    None,
)


@pytest.mark.parametrize(("what", "field"), [("refuse", "reason"), ("returned", "note")])
def test_a_text_that_must_not_stay_in_the_log_is_refused(till: Till, what: str, field: str) -> None:
    checkout = till.due()
    for text in REFUSED_TEXTS:
        answer = till.operator.post(f"{PATH}{checkout.session_id}/1/{what}/", json={field: text})
        assert answer.status_code == 400, text
        assert field in answer.json()["errors"], text
        assert till.facts(checkout) == ["RefundDue"], text


def test_an_unknown_refund_is_not_found(till: Till) -> None:
    checkout = till.due()
    for path in (f"{PATH}{checkout.session_id}/2/", f"{PATH}{uuid4()}/1/"):
        assert till.operator.get(path).json()["error_code"] == "REFUND_NOT_FOUND"
        for what, fields in DECISIONS.items():
            assert (
                till.operator.post(f"{path}{what}/", json=fields).json()["error_code"] == "REFUND_NOT_FOUND"
            )


def test_refunds_are_listed_by_state_in_pages(till: Till) -> None:
    checkouts = [till.due(f"UKG7Q2X9L{number}") for number in range(3)]
    till.decide(checkouts[0], "refuse", reason="Held.")
    till.instance.work()
    due = till.operator.get(PATH, params={"state": "due", "page_size": "1"}).json()
    assert (due["count"], len(due["results"])) == (2, 1)
    rest = till.operator.get(due["next"].removeprefix(till.instance.base_url)).json()
    seen = {row["session_id"] for row in due["results"] + rest["results"]}
    assert seen == {str(checkout.session_id) for checkout in checkouts[1:]}
    [refused] = till.operator.get(PATH, params={"state": "refused"}).json()["results"]
    assert refused["refused_reason"] == "Held."
    assert till.operator.get(PATH, params={"state": "lost"}).status_code == 400
