"""The way back of money that must go back."""

from collections.abc import Callable

import pytest

from ledger.session.values import Evidence, RefundState, Status
from tests.ledger.session.commands import (
    Command,
    approve_refund,
    approve_refund_by_policy,
    record_payment,
    record_refund,
    record_refund_acceptance,
    record_refund_by_hand,
    record_refund_failure,
    record_refund_not_sent,
    record_refund_uncertainty,
    refuse_refund,
    request_refund,
)
from tests.ledger.session.event_specs import (
    RECEIPT,
    Spec,
    created,
    initiated,
    order_created,
    paid,
    refund_accepted,
    refund_approved,
    refund_due,
    refund_failed,
    refund_refused,
    refund_requested,
    refund_uncertain,
    refunded,
    refunded_by_hand,
    requested,
    surplus,
)
from tests.ledger.session.scenario import given

OWING = [created(), requested(), initiated(), paid(), order_created(), surplus(), refund_due()]
SENT = [*OWING, refund_approved(), refund_requested()]


def test_a_refund_is_sent_only_once_somebody_agreed() -> None:
    given(*OWING).when(request_refund()).refused("REFUND_NOT_DUE")
    scenario = given(*OWING).when(approve_refund()).then(refund_approved()).status(Status.ORDER_CREATED)
    assert scenario.session.refunds[1].state == RefundState.APPROVED


def test_a_refund_is_written_down_before_it_is_sent() -> None:
    scenario = given(*OWING, refund_approved()).when(request_refund()).then(refund_requested())
    assert scenario.session.refunds[1].state == RefundState.REQUESTED
    assert scenario.session.refunds[1].requested_at is not None


@pytest.mark.parametrize(
    "history", [[refund_approved()], [refund_approved(), refund_requested()], [refunded_by_hand()]]
)
def test_two_people_cannot_approve_one_refund_twice(history: list[Spec]) -> None:
    given(*OWING, *history).when(approve_refund()).refused("REFUND_NOT_DUE")


def test_a_refund_without_a_receipt_cannot_be_reversed_yet() -> None:
    proved = [surplus(receipt=None, evidence=Evidence.QUERY), refund_due(receipt=None)]
    given(created(), requested(), initiated(), paid(), *proved).when(approve_refund()).refused(
        "REFUND_WITHOUT_RECEIPT"
    )


def test_a_refused_refund_is_held_and_may_be_approved_later() -> None:
    scenario = given(*OWING).when(refuse_refund()).then(refund_refused())
    assert scenario.session.refunds[1].state == RefundState.REFUSED
    scenario.when(request_refund()).refused("REFUND_NOT_DUE")
    scenario.when(refuse_refund()).refused("REFUND_NOT_DUE")
    scenario.when(approve_refund()).then(refund_approved())


def test_an_approved_refund_may_be_refused_until_it_is_sent() -> None:
    given(*OWING, refund_approved()).when(refuse_refund()).then(refund_refused())
    given(*SENT).when(refuse_refund()).refused("REFUND_NOT_DUE")


def test_a_refund_is_sent_once() -> None:
    given(*SENT).when(request_refund()).refused("REFUND_NOT_DUE")
    given(*SENT, refunded()).when(request_refund()).refused("REFUND_NOT_DUE")


@pytest.mark.parametrize("command", [approve_refund, refuse_refund, request_refund, record_refund_by_hand])
def test_a_refund_that_is_not_due_is_refused(command: Callable[..., Command]) -> None:
    given(*OWING).when(command(2)).refused("REFUND_NOT_DUE")
    given(created()).when(command()).refused("REFUND_NOT_DUE")


def test_mpesas_ids_of_the_request_are_recorded_once() -> None:
    scenario = given(*SENT).when(record_refund_acceptance()).then(refund_accepted())
    assert scenario.session.refunds[1].conversation_id == "AG_1"
    scenario.when(record_refund_acceptance()).then_no_change()
    given(*SENT, refunded()).when(record_refund_acceptance()).then_no_change()


def test_a_lost_answer_leaves_a_refund_in_doubt_and_never_sends_it_again() -> None:
    scenario = given(*SENT).when(record_refund_uncertainty()).then(refund_uncertain())
    assert scenario.session.refunds[1].in_doubt
    scenario.when(record_refund_uncertainty()).then_no_change()
    scenario.when(request_refund()).refused("REFUND_NOT_DUE")
    scenario.when(approve_refund()).refused("REFUND_NOT_DUE")
    given(*OWING).when(record_refund_uncertainty()).then_no_change()


def test_a_refund_that_arrived_is_done_and_no_longer_in_doubt() -> None:
    scenario = given(*SENT, refund_uncertain()).when(record_refund()).then(refunded())
    assert scenario.session.refunds[1].state == RefundState.REFUNDED
    assert not scenario.session.refunds[1].in_doubt


@pytest.mark.parametrize("history", [[], [refund_approved()], [refund_refused()]])
def test_a_person_may_return_the_money_by_other_means_until_it_is_sent(history: list[Spec]) -> None:
    given(*OWING, *history).when(record_refund_by_hand()).then(refunded_by_hand())


def test_a_refund_under_way_is_left_to_mpesa_unless_it_is_in_doubt() -> None:
    given(*SENT).when(record_refund_by_hand()).refused("REFUND_UNDER_WAY")
    given(*SENT).when(record_refund_not_sent()).refused("REFUND_UNDER_WAY")
    doubt = given(*SENT, refund_uncertain())
    doubt.when(record_refund_by_hand()).then(refunded_by_hand())
    again = doubt.when(record_refund_not_sent()).then(
        refund_failed(code="NOT_SENT", text="operator 9: Not in the statement.", at="10:45")
    )
    assert again.session.refunds[1].state == RefundState.DUE
    assert again.session.refunds[1].failures == 1
    again.when(approve_refund()).then(refund_approved())


def test_only_what_is_under_way_can_be_found_not_sent() -> None:
    given(*OWING).when(record_refund_not_sent()).refused("REFUND_NOT_DUE")
    given(*SENT, refunded()).when(record_refund_not_sent()).refused("REFUND_NOT_DUE")


def test_money_returned_twice_by_hand_is_refused() -> None:
    given(*OWING, refunded_by_hand()).when(record_refund_by_hand()).refused("REFUND_NOT_DUE")


@pytest.mark.parametrize("history", [[], [refund_approved()], [refund_refused()]])
def test_a_reversal_that_the_statement_shows_is_done_whatever_was_decided(history: list[Spec]) -> None:
    given(*OWING, *history).when(record_refund(means="statement")).then(refunded(means="statement"))


def test_a_repeated_refund_changes_nothing() -> None:
    given(*SENT, refunded()).when(record_refund()).then_no_change()


def test_a_refund_that_did_not_arrive_is_due_again_and_may_be_sent_again() -> None:
    scenario = given(*SENT, refund_accepted()).when(record_refund_failure()).then(refund_failed())
    refund = scenario.session.refunds[1]
    assert (refund.state, refund.failures, refund.conversation_id) == (RefundState.DUE, 1, None)
    scenario.when(approve_refund()).when(request_refund()).then(refund_requested())


def test_a_refund_that_was_in_doubt_and_failed_is_in_doubt_no_longer() -> None:
    assert given(*SENT, refund_uncertain(), refund_failed()).session.refunds[1].in_doubt is False


def test_a_repeated_failure_of_a_refund_changes_nothing() -> None:
    given(*SENT, refund_failed()).when(record_refund_failure()).then_no_change()


def test_a_failure_of_an_earlier_attempt_changes_nothing() -> None:
    second = [*SENT, refund_failed(), refund_approved(), refund_requested()]
    given(*second).when(record_refund_failure(attempt_number=1)).then_no_change()
    given(*second).when(record_refund_failure(attempt_number=2)).then(refund_failed())


def test_a_policy_approves_what_nobody_has_decided_about_since() -> None:
    given(*OWING).when(approve_refund_by_policy()).then(refund_approved(by="policy:auto"))
    given(*SENT, refund_failed()).when(approve_refund_by_policy()).then_no_change()
    given(*SENT, refund_failed()).when(approve_refund_by_policy(failures=1)).then(
        refund_approved(by="policy:auto")
    )
    given(*OWING, refund_refused()).when(approve_refund_by_policy()).then_no_change()


def test_a_refund_that_was_never_sent_cannot_fail() -> None:
    given(*OWING).when(record_refund_failure()).then_no_change()


def test_a_refund_that_arrived_cannot_fail_any_more() -> None:
    given(*SENT, refunded()).when(record_refund_failure()).then_no_change()


def test_a_refund_whose_failure_was_reported_too_soon_is_done_when_it_arrives() -> None:
    given(*SENT, refund_failed()).when(record_refund()).then(refunded())


def test_a_refund_changes_neither_what_was_received_nor_the_status() -> None:
    before = given(*OWING).session
    after = given(*SENT, refunded()).session
    assert (after.received_cents, after.status) == (before.received_cents, before.status)


def test_a_policy_sends_another_amount_back_only_once_a_second_source_names_it() -> None:
    odd = [surplus(receipt=RECEIPT, cents=1_00, why="wrong_amount"), refund_due(cents=1_00, receipt=RECEIPT)]
    held = given(created(), requested(), initiated(), *odd)
    held.when(approve_refund_by_policy()).then_no_change()
    proved = held.when(record_payment(cents=1_00, evidence=Evidence.C2B))
    proved.when(approve_refund_by_policy()).then(refund_approved(by="policy:auto"))
    held.when(approve_refund()).then(refund_approved())
