"""The way back of money that must go back."""

from ledger.attempts import RefundState, Status
from tests.ledger.commands import record_refund, record_refund_failure, request_refund
from tests.ledger.facts import (
    created,
    initiated,
    order_created,
    paid,
    refund_due,
    refund_failed,
    refund_requested,
    refunded,
    requested,
    surplus,
)
from tests.ledger.scenario import given

OWING = [created(), requested(), initiated(), paid(), order_created(), surplus(), refund_due()]


def test_a_refund_is_written_down_before_it_is_sent() -> None:
    scenario = given(*OWING).when(request_refund()).then(refund_requested()).status(Status.ORDER_CREATED)
    assert scenario.session.refunds[1].state == RefundState.REQUESTED


def test_a_refund_is_sent_once() -> None:
    given(*OWING, refund_requested()).when(request_refund()).refused("REFUND_NOT_DUE")
    given(*OWING, refund_requested(), refunded()).when(request_refund()).refused("REFUND_NOT_DUE")


def test_a_refund_that_nobody_owes_is_refused() -> None:
    given(*OWING).when(request_refund(2)).refused("REFUND_NOT_DUE")
    given(created()).when(request_refund()).refused("REFUND_NOT_DUE")


def test_a_refund_that_arrived_is_done() -> None:
    scenario = given(*OWING, refund_requested()).when(record_refund()).then(refunded())
    assert scenario.session.refunds[1].state == RefundState.REFUNDED


def test_a_refund_may_be_made_by_hand_without_a_reversal() -> None:
    given(*OWING).when(record_refund(reversal=None, means="by_hand")).then(
        refunded(reversal=None, means="by_hand")
    )


def test_a_repeated_refund_is_no_news() -> None:
    given(*OWING, refund_requested(), refunded()).when(record_refund()).then_no_news()


def test_a_refund_that_did_not_arrive_is_due_again_and_may_be_sent_again() -> None:
    scenario = given(*OWING, refund_requested()).when(record_refund_failure()).then(refund_failed())
    assert scenario.session.refunds[1].state == RefundState.DUE
    scenario.when(request_refund()).then(refund_requested())


def test_a_repeated_failure_of_a_refund_is_no_news() -> None:
    given(*OWING, refund_requested(), refund_failed()).when(record_refund_failure()).then_no_news()


def test_a_refund_that_was_never_sent_cannot_fail() -> None:
    given(*OWING).when(record_refund_failure()).then_no_news()


def test_a_refund_that_arrived_cannot_fail_any_more() -> None:
    given(*OWING, refund_requested(), refunded()).when(record_refund_failure()).then_no_news()


def test_a_refund_whose_failure_was_told_too_soon_is_done_when_it_arrives() -> None:
    given(*OWING, refund_requested(), refund_failed()).when(record_refund()).then(refunded())


def test_a_refund_changes_neither_what_was_received_nor_the_status() -> None:
    before = given(*OWING).session
    after = given(*OWING, refund_requested(), refunded()).session
    assert (after.received_cents, after.status) == (before.received_cents, before.status)
