"""A refund is approved, sent once, and its result recorded, whatever M-Pesa answers."""

from typing import Any

import pytest

from daraja import forbidden_words_in
from ledger.session.values import RefundState
from tests.daraja.client.scripted import Deed, error_reply, html_reply, json_reply, reset
from tests.payments.refunds.conftest import OpenTill
from tests.payments.refunds.steps import (
    ACKNOWLEDGEMENT,
    RECEIPT,
    REVERSAL,
    REVERSAL_RECEIPT,
    TAKEN,
    Till,
    result,
    reversed_in_full,
)
from tests.scenarios.steps import report

OTHER_IDS = {"ConversationID": "AG_other", "OriginatorConversationID": "other"}
DONE = ["RefundDue", "RefundApproved", "RefundRequested", "RefundAccepted", "Refunded"]
FAILED = [*DONE[:-1], "RefundFailed"]


def test_money_goes_back_when_an_operator_approves_and_not_before(till: Till) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    assert till.sent() == []
    till.approve(checkout)
    [request] = till.sent()
    assert request.json == request.json | {
        "CommandID": "TransactionReversal",
        "TransactionID": RECEIPT,
        "Amount": 350,
        "ReceiverParty": "174379",
        "RecieverIdentifierType": "11",
    }
    till.tell(reversed_in_full())
    assert till.facts(checkout) == DONE
    shown = till.shown(checkout)
    assert (shown["state"], shown["amount"], shown["means"]) == ("refunded", 350.0, "reversal")
    assert (shown["receipt"], shown["reversal_receipt"]) == (RECEIPT, REVERSAL_RECEIPT)
    assert (shown["approved_by"], shown["recorded_by"]) == ("operator 9", None)
    till.wait(hours=30)
    assert len(till.sent()) == 1


def test_the_policy_auto_approves_new_refunds_and_never_overrules_a_failure(open_till: OpenTill) -> None:
    till = open_till(DAFTARI_REFUND_POLICY="auto")
    till.script.at(REVERSAL, TAKEN)
    checkout = till.due()
    till.tell(result(1))
    assert till.facts(checkout) == FAILED
    assert till.shown(checkout)["approved_by"] == "policy:auto"
    till.wait(hours=30)
    assert till.refund(checkout).state == RefundState.DUE
    assert len(till.sent()) == 1


def test_the_policy_auto_waits_for_the_receipt(open_till: OpenTill) -> None:
    till = open_till(DAFTARI_REFUND_POLICY="auto")
    till.script.at(REVERSAL, TAKEN)
    checkout = till.due(receipt=None)
    assert till.refund(checkout).state == RefundState.DUE
    checkout.pay(RECEIPT)
    till.instance.work()
    assert [request.json["TransactionID"] for request in till.sent()] == [RECEIPT]


def test_an_operator_cannot_approve_a_refund_without_a_receipt(till: Till) -> None:
    checkout = till.due(receipt=None)
    answer = till.decide(checkout, "approve")
    assert (answer.status_code, answer.json()["error_code"]) == (409, "REFUND_WITHOUT_RECEIPT")
    assert till.decide(checkout, "returned", note="Paid out in cash.").status_code == 200
    assert till.shown(checkout)["means"] == "by_hand"


def test_already_reversed_is_done(till: Till) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    till.tell(result("R000001"))
    assert till.facts(checkout) == DONE
    assert till.shown(checkout)["reversal_receipt"] is None


@pytest.mark.parametrize(
    ("code", "failure"),
    [(1, "INSUFFICIENT_FUNDS"), ("R000002", None), (2001, "WRONG_CREDENTIAL"), (8006, "OPERATOR_LOCKED")],
)
def test_a_failed_reversal_is_due_again_and_needs_a_person(
    till: Till, code: object, failure: str | None
) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    till.tell(result(code))
    assert till.facts(checkout) == FAILED
    shown = till.shown(checkout)
    assert (shown["state"], shown["failures"]) == ("due", 1)
    assert failure in (None, shown["failure_code"])
    assert shown["failure_text"].endswith(".")
    till.wait(hours=30)
    assert len(till.sent()) == 1
    till.approve(checkout)
    till.tell(reversed_in_full())
    assert till.refund(checkout).state == RefundState.REFUNDED


def test_a_refused_initiator_stops_automatic_refunds(open_till: OpenTill) -> None:
    till = open_till(DAFTARI_REFUND_POLICY="auto")
    till.script.at(REVERSAL, TAKEN)
    till.due()
    till.tell(result(2001))
    other = till.due("UKG7Q2X9ZZ")
    assert till.refund(other).state == RefundState.APPROVED
    assert len(till.sent()) == 1  # M-Pesa would lock the operator.
    till.wait(minutes=16)
    assert [request.json["TransactionID"] for request in till.sent()] == [RECEIPT, "UKG7Q2X9ZZ"]


@pytest.mark.parametrize(
    "deed",
    [error_reply(400, "400.002.02", "Bad Request - Invalid Amount"), error_reply(404, "404.001.01", "No")],
)
def test_a_refund_that_daraja_refuses_is_due_again(till: Till, deed: Deed) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, deed)
    till.approve(checkout)
    assert till.facts(checkout) == ["RefundDue", "RefundApproved", "RefundRequested", "RefundFailed"]
    till.wait(hours=2)
    assert len(till.sent()) == 1


def test_a_refund_that_m_pesa_did_not_take_is_retried_a_few_times(till: Till) -> None:
    checkout = till.due()
    till.script.at(
        REVERSAL, error_reply(500, "500.003.02", "System is busy. Please try again in few minutes.")
    )
    till.approve(checkout)
    sent = [len(till.sent())]
    for minutes in (2, 6, 21, 60, 600):
        till.wait(minutes=minutes)
        sent.append(len(till.sent()))
    assert sent == [1, 2, 3, 4, 4, 4]
    assert till.shown(checkout)["failure_code"] == "MPESA_UNAVAILABLE"
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    till.tell(reversed_in_full())
    assert till.refund(checkout).state == RefundState.REFUNDED


@pytest.mark.parametrize("deed", [html_reply(504), reset], ids=["gateway time-out", "cut"])
def test_a_refund_that_may_have_arrived_is_never_sent_again(till: Till, deed: Deed) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, deed)
    till.approve(checkout)
    assert till.facts(checkout)[-1] == "RefundUncertain"
    assert till.shown(checkout)["in_doubt"] is True
    till.wait(hours=48)
    assert len(till.sent()) == 1
    till.tell(reversed_in_full())
    assert till.facts(checkout)[-1] == "Refunded"


def test_while_m_pesa_is_silent_few_refunds_are_put_in_doubt(till: Till) -> None:
    till.script.at(REVERSAL, html_reply(503))
    for checkout in [till.due(f"UKG7Q2X9L{number}") for number in range(4)]:
        assert till.decide(checkout, "approve").status_code == 200
    sent = []
    for seconds in (0, 29, 1, 59, 1, 119, 1):
        till.wait(seconds=seconds)
        sent.append(len(till.sent()))
    assert sent == [1, 1, 2, 2, 3, 3, 4]


def test_a_result_may_come_before_the_acknowledgement(till: Till) -> None:
    checkout = till.due()

    def tell_first(line: Any) -> None:
        till.tell(reversed_in_full())
        json_reply(200, ACKNOWLEDGEMENT)(line)

    till.script.at(REVERSAL, tell_first)
    till.approve(checkout)
    assert till.facts(checkout) == ["RefundDue", "RefundApproved", "RefundRequested", "Refunded"]


def test_a_repeated_result_is_a_no_op(till: Till) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    for _ in range(3):
        till.tell(reversed_in_full())
    assert till.facts(checkout) == DONE
    assert till.messages() == [("acted_on", None)] * 3


def test_a_failure_after_the_refund_is_left_to_a_person(till: Till) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    till.tell(reversed_in_full())
    till.tell(result(1))
    assert till.facts(checkout) == DONE
    assert till.messages()[-1] == ("set_aside", "contradicts_the_refund")


def test_a_failure_of_an_earlier_attempt_does_not_fail_the_next(till: Till) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    till.tell(result(1))
    till.approve(checkout)
    till.tell(result(1), till.sent()[0])
    assert till.refund(checkout).state == RefundState.REQUESTED
    till.tell(reversed_in_full(), till.sent()[0])
    assert till.refund(checkout).state == RefundState.REFUNDED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (reversed_in_full(Amount=1.0), "amount_differs"),
        (reversed_in_full(OriginalTransactionID="UKG7Q2X9XX"), "receipt_differs"),
        (
            {
                "Result": reversed_in_full()["Result"]
                | {"ConversationID": "AG_other", "OriginatorConversationID": "x"}
            },
            "ids_differ",
        ),
        (result(77777), "result_unclear"),
        (b"junk", "not_json"),
        ({"Result": {}}, "no_result_code"),
        (b'{"Result": "' + b"A" * 70_000 + b'"}', "too_large"),
    ],
)
def test_an_implausible_result_records_no_refund(till: Till, body: object, reason: str) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    till.tell(body)
    assert till.refund(checkout).state == RefundState.REQUESTED
    assert till.messages() == [("set_aside", reason)]
    till.tell(reversed_in_full())
    assert till.refund(checkout).state == RefundState.REFUNDED


def test_an_unauthenticated_result_changes_nothing_and_is_answered_alike(till: Till) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    token = till.sent()[0].json["ResultURL"].rstrip("/").rsplit("/", 1)[1]
    for forged in ("0" * 72, token[:-1] + ("0" if token[-1] != "0" else "1"), "x", token.upper() + "0"):
        for folder in ("results", "timeouts"):
            answer = report(till.instance, f"/api/payments/{folder}/{forged}/", reversed_in_full())
            assert (answer.status_code, answer.json()["ResultCode"]) == (200, 0)
    till.instance.work()
    assert till.facts(checkout) == DONE[:-1]
    assert till.messages() == [("set_aside", "not_proven")] * 8


def test_a_token_authenticates_one_kind_of_message_about_one_refund(till: Till) -> None:
    checkout, other = till.due(), till.due("UKG7Q2X9ZZ")
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    till.approve(other)
    till.tell(reversed_in_full(), till.sent()[1])
    assert till.refund(other).state == RefundState.REQUESTED  # It names the receipt of the first.
    assert till.refund(checkout).state == RefundState.REQUESTED
    assert till.messages() == [("set_aside", "receipt_differs")]


def test_callback_urls_hold_no_word_that_safaricom_forbids(till: Till) -> None:
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    till.approve(checkout)
    [request] = till.sent()
    for name in ("ResultURL", "QueueTimeOutURL"):
        assert forbidden_words_in(request.json[name]) == ()
