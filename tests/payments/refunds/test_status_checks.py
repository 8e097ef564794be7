"""A refund without a result is in doubt: its status is checked, and nothing is sent again."""

from datetime import UTC, datetime, timedelta

import pytest

from ledger import clock
from ledger.session.values import RefundState
from tests.daraja.client.scripted import html_reply
from tests.payments.refunds.steps import (
    CONVERSATION,
    RECEIPT,
    REVERSAL,
    REVERSAL_RECEIPT,
    STATUS,
    TAKEN,
    Till,
    result,
    reversed_in_full,
    status_of,
)
from tests.support.checkouts import Checkout
from tests.support.statements import Booking, statement


def _sent(till: Till) -> Checkout:
    """Return a checkout whose refund M-Pesa accepted, without a result."""
    checkout = till.due()
    till.script.at(REVERSAL, TAKEN)
    till.script.at(STATUS, TAKEN)
    till.approve(checkout)
    return checkout


def _in_doubt(till: Till) -> Checkout:
    """Return a checkout whose refund has been checked once."""
    checkout = _sent(till)
    till.wait(minutes=11)
    assert till.refund(checkout).in_doubt
    till.wait(minutes=2)
    assert len(till.sent(STATUS)) == 1
    return checkout


def test_a_missing_result_is_asked_for_by_the_conversation_id(till: Till) -> None:
    checkout = _sent(till)
    till.wait(minutes=9)
    assert not till.refund(checkout).in_doubt
    till.wait(minutes=2)
    assert till.shown(checkout)["doubt_reason"] == "RESULT_LATE"
    till.wait(minutes=2)
    [request] = till.sent(STATUS)
    assert request.json["OriginalConversationID"] == CONVERSATION
    assert "TransactionID" not in request.json
    assert request.json["CommandID"] == "TransactionStatusQuery"


def test_a_refund_is_put_in_doubt_once_while_its_row_is_late(till: Till) -> None:
    _sent(till)
    till.clock.tick(timedelta(minutes=11))
    doubts = till.instance.services.worker.refund_status_checks
    assert [doubts.put_in_doubt() for _ in range(3)] == [1, 0, 0]


def test_a_completed_reversal_is_a_refund(till: Till) -> None:
    checkout = _in_doubt(till)
    till.tell(status_of(REVERSAL_RECEIPT, "Completed"), till.sent(STATUS)[-1])
    assert till.refund(checkout).state == RefundState.REFUNDED
    assert till.shown(checkout)["reversal_receipt"] == REVERSAL_RECEIPT
    assert len(till.sent()) == 1


@pytest.mark.parametrize("word", ["Cancelled", "Declined", "Expired"])
def test_a_reversal_that_was_not_completed_is_due_again(till: Till, word: str) -> None:
    checkout = _in_doubt(till)
    till.tell(status_of(REVERSAL_RECEIPT, word), till.sent(STATUS)[-1])
    assert till.refund(checkout).state == RefundState.DUE
    till.wait(hours=48)
    assert len(till.sent()) == 1


def test_a_reversed_payment_is_a_refund(till: Till) -> None:
    checkout = _in_doubt(till)
    till.tell(status_of(RECEIPT, "Reversed"), till.sent(STATUS)[-1])
    assert till.refund(checkout).state == RefundState.REFUNDED


def test_a_payment_that_is_complete_long_after_was_not_reversed(till: Till) -> None:
    checkout = _in_doubt(till)
    till.wait(minutes=3)
    by_payment = till.sent(STATUS)[-1]
    assert by_payment.json["TransactionID"] == RECEIPT
    till.tell(status_of(RECEIPT, "Completed"), by_payment)
    assert till.refund(checkout).state == RefundState.DUE
    assert till.shown(checkout)["failure_code"] == "NOT_REVERSED"
    assert len(till.sent()) == 1


def test_a_payment_that_is_complete_soon_after_proves_nothing(till: Till) -> None:
    checkout = _in_doubt(till)
    till.tell(status_of(RECEIPT, "Completed"), till.sent(STATUS)[-1])
    assert till.refund(checkout).state == RefundState.REQUESTED


def test_checks_become_rarer_and_end(till: Till) -> None:
    checkout = _sent(till)
    for _ in range(12):
        till.wait(hours=26)
    assert len(till.sent(STATUS)) == 9
    assert till.refund(checkout).in_doubt
    assert len(till.sent()) == 1


@pytest.mark.parametrize(
    "answer",
    [result(2032), status_of(RECEIPT, "Authorized"), status_of(RECEIPT, "Something new"), result(99)],
)
def test_an_answer_that_proves_nothing_leaves_the_doubt(till: Till, answer: object) -> None:
    checkout = _in_doubt(till)
    till.tell(answer, till.sent(STATUS)[-1])
    assert till.refund(checkout).in_doubt
    till.wait(minutes=3)
    assert len(till.sent(STATUS)) == 2


def test_an_answer_about_another_sum_or_payment_is_left_to_a_person(till: Till) -> None:
    checkout = _in_doubt(till)
    till.tell(status_of(RECEIPT, "Reversed", Amount=1.0), till.sent(STATUS)[-1])
    assert till.messages() == [("set_aside", "amount_differs")]
    assert till.refund(checkout).in_doubt


def test_a_queue_time_out_is_no_outcome(till: Till) -> None:
    checkout = _sent(till)
    till.tell({"Result": {"ResultCode": 1}}, to="QueueTimeOutURL")
    assert till.shown(checkout)["doubt_reason"] == "QUEUE_TIMEOUT"
    till.wait(minutes=2)
    till.tell(b"anything", till.sent(STATUS)[-1], to="QueueTimeOutURL")
    assert till.refund(checkout).in_doubt
    till.tell(reversed_in_full())
    assert till.refund(checkout).state == RefundState.REFUNDED


def test_a_sender_that_died_before_the_answer_leaves_a_doubt(till: Till) -> None:
    checkout = till.due()
    assert till.decide(checkout, "approve").status_code == 200
    checkout.ledger.decide(
        checkout.session_id,
        lambda session: session.request_refund(1, requested_by="worker", at=clock.now()),
    )
    till.instance.work()
    till.wait(seconds=80)
    assert not till.refund(checkout).in_doubt
    till.wait(minutes=1)
    assert till.shown(checkout)["doubt_reason"] == "SENDER_LOST"
    assert till.sent() == []


def test_a_check_that_m_pesa_did_not_take_is_repeated_later(till: Till) -> None:
    checkout = _sent(till)
    till.script.at(STATUS, html_reply(503))
    till.wait(minutes=11)
    till.wait(minutes=2)
    till.script.at(STATUS, TAKEN)
    till.wait(minutes=3)
    till.tell(status_of(REVERSAL_RECEIPT, "Completed"), till.sent(STATUS)[-1])
    assert till.refund(checkout).state == RefundState.REFUNDED


def test_nothing_is_checked_while_m_pesa_refuses_the_initiator(till: Till) -> None:
    checkout = _in_doubt(till)
    till.tell(result(2001), till.sent(STATUS)[-1])
    till.wait(minutes=3)
    till.wait(minutes=6)
    assert len(till.sent(STATUS)) == 1
    till.wait(minutes=15)
    assert len(till.sent(STATUS)) == 2
    assert till.refund(checkout).in_doubt


def test_the_statement_settles_a_refund_without_a_result(till: Till) -> None:
    checkout = _in_doubt(till)
    paid_at, back_at = datetime(2026, 11, 16, 7, 31, tzinfo=UTC), datetime(2026, 11, 16, 7, 40, tzinfo=UTC)
    file = statement(
        [
            Booking(RECEIPT, paid_in=350_00, at=paid_at),
            Booking(
                REVERSAL_RECEIPT,
                withdrawn=350_00,
                at=back_at,
                reason="Pay Bill Reversal",
                linked=RECEIPT,
            ),
        ]
    )
    report = till.instance.services.reconciler.reconcile(file).found
    assert report["counts"]["refund_settled"] == 1
    assert till.refund(checkout).state == RefundState.REFUNDED
    till.tell(reversed_in_full())
    assert till.messages() == [("acted_on", None)]
