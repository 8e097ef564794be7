"""What M-Pesa said to an attempt: accepted, refused, or nothing that reached us."""

import pytest

from ledger.session.session import NOT_TAKEN
from ledger.session.values import AttemptState, Status
from tests.ledger.session.commands import Command, record_initiation, record_refusal, record_uncertainty
from tests.ledger.session.event_specs import (
    Spec,
    attempt_failed,
    clock,
    created,
    failed,
    initiated,
    order_created,
    paid,
    refused,
    requested,
    uncertain,
)
from tests.ledger.session.scenario import given

TWO_PROMPTS = [requested(1, at="10:31"), initiated(1), requested(2, at="10:34")]


def test_an_accepted_attempt_initiates_the_payment() -> None:
    given(created(), requested()).when(record_initiation(at="10:31:02")).then(
        initiated(at="10:31:02", previous=Status.PENDING)
    ).status(Status.PAYMENT_INITIATED)


def test_an_accepted_attempt_remembers_by_which_ids_m_pesa_knows_it() -> None:
    attempt = given(created(), requested(), initiated()).session.attempts[1]
    assert attempt.state == AttemptState.INITIATED
    assert attempt.merchant_request_id == "merchant-1"
    assert (attempt.checkout_sealed, attempt.checkout_digest) == ("encrypted checkout 1", "digest-1")


def test_a_repeated_acceptance_changes_nothing() -> None:
    given(created(), requested(), initiated()).when(record_initiation()).then_no_change()


def test_an_answer_that_was_given_up_may_still_come() -> None:
    given(created(), requested(), uncertain()).when(record_initiation()).then(
        initiated(previous=Status.PAYMENT_INITIATED)
    )


@pytest.mark.parametrize(
    "outcome",
    [[failed()], [paid()], [paid(), order_created()], [refused()]],
    ids=["failed", "paid", "order", "no"],
)
@pytest.mark.parametrize("command", [record_initiation(), record_refusal(), record_uncertainty()])
def test_an_answer_that_comes_after_the_outcome_changes_nothing(
    outcome: list[Spec], command: Command
) -> None:
    given(created(), requested(), *outcome).when(command).then_no_change()


def test_the_payment_is_initiated_by_the_first_prompt_and_not_again_by_the_second() -> None:
    scenario = given(created(), *TWO_PROMPTS).when(record_initiation(2, at="10:34"))
    scenario.then(initiated(2, previous=Status.PAYMENT_INITIATED))
    assert scenario.session.initiated_at == clock("10:31")


def test_the_answer_to_a_second_prompt_does_not_move_a_session_that_the_first_has_paid() -> None:
    given(created(), *TWO_PROMPTS, paid(1)).when(record_initiation(2)).then(
        initiated(2, previous=Status.PAID)
    ).status(Status.PAID)
    given(created(), *TWO_PROMPTS, paid(1), order_created()).when(record_uncertainty(2)).then(
        uncertain(2, previous=Status.ORDER_CREATED)
    ).status(Status.ORDER_CREATED)


def test_a_refused_attempt_leaves_the_session_payable() -> None:
    given(created(), requested()).when(record_refusal(at="10:31:02")).then(refused(at="10:31:02")).status(
        Status.PENDING
    )


def test_a_refused_attempt_stays_in_the_history() -> None:
    session = given(created(), requested(), refused()).session
    assert session.attempts[1].state == AttemptState.REFUSED
    assert session.open_attempts == []


def test_a_repeated_refusal_changes_nothing() -> None:
    given(created(), requested(), refused()).when(record_refusal()).then_no_change()


@pytest.mark.parametrize("answer", [initiated(), uncertain()])
def test_a_refusal_cannot_take_back_a_prompt_that_may_be_on_the_phone(answer: Spec) -> None:
    given(created(), requested(), answer).when(record_refusal()).then_no_change()


def test_a_refused_second_attempt_leaves_the_first_prompt_open() -> None:
    given(created(), *TWO_PROMPTS).when(record_refusal(2)).then(refused(2)).status(Status.PAYMENT_INITIATED)


def test_a_session_fails_when_its_last_attempt_is_refused_after_the_others_failed() -> None:
    given(created(), *TWO_PROMPTS, attempt_failed(1)).when(record_refusal(2)).then(
        refused(2),
        failed(2, code="MPESA_BUSY", text=NOT_TAKEN, result_code=None, previous=Status.PAYMENT_INITIATED),
    ).status(Status.FAILED)


def test_a_refusal_after_the_session_was_paid_is_only_recorded() -> None:
    given(created(), *TWO_PROMPTS, paid(1)).when(record_refusal(2)).then(refused(2)).status(Status.PAID)


def test_a_lost_answer_initiates_the_payment_because_a_prompt_may_be_on_the_phone() -> None:
    scenario = given(created(), requested()).when(record_uncertainty(at="10:31:30"))
    scenario.then(uncertain(at="10:31:30", previous=Status.PENDING)).status(Status.PAYMENT_INITIATED)
    assert [attempt.state for attempt in scenario.session.open_attempts] == [AttemptState.UNCERTAIN]


@pytest.mark.parametrize("answer", [initiated(), uncertain()])
def test_a_known_answer_is_not_lost_and_a_lost_answer_is_not_lost_twice(answer: Spec) -> None:
    given(created(), requested(), answer).when(record_uncertainty()).then_no_change()
