"""Reversals that M-Pesa's books show: of a refund of ours, or of a payment that was taken back without us."""

from dataclasses import replace

import pytest

from ledger.session.refund_events import PaymentReversed
from ledger.session.status_row import money_of, money_of_order
from ledger.session.values import MoneyBack, RefundStatus, ReversalMeaning, Status
from tests.ledger.session.commands import Command, record_refund, record_reversal, refund_order, refuse_order
from tests.ledger.session.event_specs import (
    RECEIPT,
    SECOND_RECEIPT,
    TOTAL,
    Spec,
    clock,
    created,
    initiated,
    order_created,
    order_refund_due,
    paid,
    paid_out,
    refund_approved,
    refund_due,
    refund_failed,
    refund_requested,
    refunded,
    refunded_by_hand,
    requested,
    surplus,
)
from tests.ledger.session.scenario import given

PAID = [created(), requested(), initiated(), paid()]
ORDERED = [*PAID, order_created()]
SENT = [*ORDERED, order_refund_due(), refund_approved(), refund_requested()]


def payment_reversed(refund: int = 1, *, by: str | None = "UAF0000009") -> Spec:
    fields = {
        "refund": refund,
        "attempt": 1,
        "amount_cents": TOTAL,
        "receipt": RECEIPT,
        "reversal_receipt": by,
        "evidence": "statement",
        "reversed_at": clock("10:50"),
    }
    return Spec(PaymentReversed, fields, "11:00")


def meaning_of(history: list[Spec], command: Command) -> object:
    return command(given(*history).session)


def test_a_payment_that_was_taken_back_after_the_order_is_recorded_once() -> None:
    scenario = given(*ORDERED).when(record_reversal())
    scenario.then(payment_reversed()).status(Status.ORDER_CREATED)
    assert money_of_order(scenario.session) == MoneyBack(350_00, 0, 350_00)
    assert money_of(scenario.session).status == RefundStatus.REFUNDED
    assert not scenario.session.holds_surplus
    for again in (record_reversal(), record_reversal(by=None)):
        given(*ORDERED, payment_reversed()).when(again).then_no_change()
        assert meaning_of([*ORDERED, payment_reversed()], again) == ReversalMeaning.UNASKED


def test_a_reversal_without_a_receipt_of_its_own_is_the_same_one_told_again() -> None:
    given(*ORDERED, payment_reversed(by=None)).when(record_reversal()).then_no_change()


def test_of_a_payment_that_was_taken_back_nothing_is_left_to_refund() -> None:
    given(*ORDERED, payment_reversed()).when(refund_order()).refused("REFUND_EXCEEDS_ORDER")


def test_a_payment_that_was_taken_back_before_the_order_owes_nothing() -> None:
    given(*PAID).when(record_reversal()).then(payment_reversed()).status(Status.PAID)
    scenario = given(*PAID, payment_reversed()).when(refuse_order())
    scenario.status(Status.FAILED)
    [event] = scenario.written
    assert event.money_held is False
    assert [refund.amount_cents for refund in scenario.session.refunds.values()] == [350_00]


@pytest.mark.parametrize(
    ("history", "receipt"),
    [
        ([*ORDERED, order_refund_due(), refund_approved()], RECEIPT),
        (SENT, RECEIPT),
        ([*SENT, refund_failed()], RECEIPT),
        ([*ORDERED, surplus(), refund_due()], SECOND_RECEIPT),
    ],
)
def test_a_reversal_of_a_refund_that_is_due_settles_it(history: list[Spec], receipt: str) -> None:
    scenario = given(*history).when(record_reversal(receipt=receipt))
    scenario.then(replace(refunded(means="statement"), at="11:00"))
    again = given(*history, refunded(means="statement")).when(record_reversal(receipt=receipt))
    again.then_no_change()


def test_a_reversal_that_mpesa_reported_as_our_refund_first_is_that_refund() -> None:
    for reported in (refunded(), refunded(reversal=None)):
        given(*SENT, reported).when(record_reversal()).then_no_change()
        assert meaning_of([*SENT, reported], record_reversal()) == ReversalMeaning.REFUND


def test_the_result_of_our_reversal_after_the_statement_changes_nothing() -> None:
    given(*SENT, refunded(means="statement")).when(record_refund()).then_no_change()


def test_a_payout_that_was_a_reversal_in_the_portal_is_not_another_one() -> None:
    portal = [*ORDERED, order_refund_due(), paid_out(receipt="UAF0000009")]
    given(*portal).when(record_reversal()).then_no_change()
    assert meaning_of(portal, record_reversal()) == ReversalMeaning.REFUND


def test_a_reversal_beside_a_payout_is_recorded_because_both_took_money() -> None:
    paid_by_hand = [*ORDERED, order_refund_due(), paid_out()]
    scenario = given(*paid_by_hand).when(record_reversal()).then(payment_reversed(2))
    assert money_of(scenario.session).refunded_cents == 700_00


@pytest.mark.parametrize(
    ("history", "command"),
    [
        ([*SENT, refunded()], record_reversal(by="UAF0000010")),
        ([*ORDERED, payment_reversed()], record_reversal(by="UAF0000010")),
        (ORDERED, record_reversal(350_01)),
        (SENT, record_reversal(100_00)),
        ([*ORDERED, surplus(), refund_due(), refunded_by_hand()], record_reversal(receipt=SECOND_RECEIPT)),
    ],
    ids=["twice by us", "twice by others", "more than came", "a part of our refund", "perhaps by hand"],
)
def test_what_cannot_be_told_changes_nothing(history: list[Spec], command: Command) -> None:
    given(*history).when(command).then_no_change()
    assert meaning_of(history, command) == ReversalMeaning.UNCLEAR
