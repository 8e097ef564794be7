"""A source reports that an attempt ended unpaid."""

from typing import Any

import pytest

from ledger.session.outcome_commands import NO_PAYMENT_FOUND
from ledger.session.values import AttemptState, Evidence, Status
from tests.ledger.session.commands import give_up_attempt, record_attempt_failure, record_payment
from tests.ledger.session.event_specs import (
    Spec,
    attempt_failed,
    clock,
    created,
    discrepancy_found,
    expired,
    failed,
    initiated,
    order_created,
    paid,
    refund_due,
    refunded,
    refused,
    requested,
    surplus,
    uncertain,
)
from tests.ledger.session.scenario import given

PROMPT = [requested(1, at="10:31"), initiated(1)]
TWO_PROMPTS = [*PROMPT, requested(2, at="10:34"), initiated(2)]


@pytest.mark.parametrize("answer", [initiated(), uncertain()])
def test_a_session_fails_with_its_only_attempt(answer: Spec) -> None:
    scenario = given(created(), requested(), answer).when(record_attempt_failure(at="10:32"))
    scenario.then(failed(at="10:32", previous=Status.PAYMENT_INITIATED)).status(Status.FAILED)
    assert scenario.session.failure == ("CANCELLED", "The prompt was cancelled.")
    assert scenario.session.ended_at == clock("10:32")
    assert scenario.session.attempts[1].state == AttemptState.FAILED


def test_a_failure_that_outran_the_answer_to_the_push_counts() -> None:
    given(created(), requested()).when(record_attempt_failure()).then(failed(previous=Status.PENDING))


def test_a_repeated_failure_changes_nothing() -> None:
    given(created(), *PROMPT, failed()).when(record_attempt_failure(code="TIMEOUT")).then_no_change()


def test_of_two_open_attempts_the_first_may_fail_and_the_second_pay() -> None:
    scenario = given(created(), *TWO_PROMPTS).when(record_attempt_failure(1, at="10:35"))
    scenario.then(attempt_failed(1, at="10:35")).status(Status.PAYMENT_INITIATED)
    scenario.when(record_payment(2)).then(paid(2, previous=Status.PAYMENT_INITIATED))


def test_the_session_fails_when_the_last_of_its_open_attempts_fails() -> None:
    given(created(), *TWO_PROMPTS, attempt_failed(1)).when(record_attempt_failure(2)).then(failed(2))


def test_a_repeated_failure_of_the_first_attempt_does_not_fail_the_second() -> None:
    given(created(), *TWO_PROMPTS, attempt_failed(1)).when(record_attempt_failure(1)).then_no_change()


@pytest.mark.parametrize("source", [Evidence.CALLBACK, Evidence.QUERY])
@pytest.mark.parametrize("history", [[paid()], [paid(), order_created()]])
def test_a_failure_after_the_payment_of_the_same_attempt_is_a_discrepancy_and_moves_nothing(
    history: list[Spec], source: Evidence
) -> None:
    before = given(created(), *PROMPT, *history)
    once = before.when(record_attempt_failure(evidence=source)).then(discrepancy_found(evidence=source))
    once.status(before.session.status)
    once.when(record_attempt_failure(code="TIMEOUT", evidence=Evidence.QUERY)).then_no_change()


@pytest.mark.parametrize(
    ("history", "status"), [([paid(1)], Status.PAID), ([paid(1), order_created()], Status.ORDER_CREATED)]
)
def test_a_cancelled_second_prompt_never_undoes_the_payment_of_the_first(
    history: list[Spec], status: Status
) -> None:
    given(created(), *TWO_PROMPTS, *history).when(record_attempt_failure(2)).then(attempt_failed(2)).status(
        status
    )


def test_a_failure_of_an_attempt_that_was_never_sent_changes_nothing() -> None:
    given(created(), requested(), refused()).when(record_attempt_failure()).then_no_change()


def test_a_failure_after_the_expiry_changes_nothing() -> None:
    given(created(), requested(), refused(), expired()).when(record_attempt_failure()).then_no_change()


def test_a_failed_session_records_that_it_holds_the_wrong_amount_of_an_earlier_attempt() -> None:
    wrong = [surplus(1, cents=349_00, why="wrong_amount"), refund_due(cents=349_00, why="wrong_amount")]
    given(created(), *TWO_PROMPTS, *wrong).when(record_attempt_failure(2)).then(failed(2, money_held=True))


def test_a_failed_session_holds_nothing_once_the_wrong_amount_has_gone_back() -> None:
    wrong = [surplus(1, cents=349_00, why="wrong_amount"), refund_due(cents=349_00, why="wrong_amount")]
    given(created(), *TWO_PROMPTS, *wrong, refunded()).when(record_attempt_failure(2)).then(
        failed(2, money_held=False)
    )


BY_HAND: dict[str, Any] = {
    "code": "NOT_PAID",
    "text": NO_PAYMENT_FOUND,
    "result_code": None,
    "by": "operator 9",
    "note": "Not in the statement.",
}


def test_a_person_ends_an_attempt_in_doubt_and_money_that_arrives_later_is_booked() -> None:
    doubted = given(created(), requested(), uncertain()).when(give_up_attempt())
    doubted.then(failed(previous=Status.PAYMENT_INITIATED, **BY_HAND)).status(Status.FAILED)
    doubted.when(record_payment(at="10:50")).status(Status.PAID)


def test_a_person_ends_one_of_two_attempts_in_doubt() -> None:
    given(created(), *TWO_PROMPTS).when(give_up_attempt(1)).then(attempt_failed(1, **BY_HAND))


@pytest.mark.parametrize("at", ["10:40:59", "10:41"])
def test_an_attempt_is_given_up_only_when_its_time_to_be_answered_is_over(at: str) -> None:
    scenario = given(created(), *PROMPT).when(give_up_attempt(at=at))
    if at == "10:41":
        scenario.status(Status.FAILED)
    else:
        scenario.refused("CASE_NOT_OPEN")


@pytest.mark.parametrize("history", [[failed()], [paid()], []])
def test_what_has_ended_and_what_was_never_sent_is_not_given_up(history: list[Spec]) -> None:
    given(created(), *PROMPT, *history).when(give_up_attempt(1 if history else 2)).refused("CASE_NOT_OPEN")
