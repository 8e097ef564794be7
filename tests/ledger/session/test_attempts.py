"""When an attempt to be paid may be made."""

from collections.abc import Callable

import pytest

from ledger.session.values import AttemptState, Status
from tests.ledger.session.commands import Command, refuse_another_attempt, request_payment
from tests.ledger.session.event_specs import (
    PHONE,
    Spec,
    attempt_failed,
    clock,
    created,
    expired,
    extended,
    failed,
    initiated,
    order_created,
    paid,
    refused,
    requested,
    surplus,
    uncertain,
)
from tests.ledger.session.scenario import given

BOTH = pytest.mark.parametrize("command", [request_payment, refuse_another_attempt])


def test_an_attempt_is_recorded_before_it_is_sent_and_leaves_the_session_pending() -> None:
    given(created()).when(request_payment(456, at="10:31")).then(requested(1, at="10:31")).status(
        Status.PENDING
    )


def test_an_attempt_asks_for_the_total_of_the_session_and_remembers_its_phone() -> None:
    attempt = given(created(), requested(1, at="10:31")).session.attempts[1]
    assert (attempt.transaction_id, attempt.phone_sealed) == (456, PHONE)
    assert (attempt.state, attempt.requested_at) == (AttemptState.REQUESTED, clock("10:31"))


def test_the_number_of_the_attempt_is_the_answer() -> None:
    session = given(created(), requested(), refused()).session
    assert (
        session.request_payment(
            transaction_id=457, phone_sealed=PHONE, prompt_seconds=120, max_attempts=5, at=clock("10:32")
        )
        == 2
    )


def test_asking_whether_an_attempt_may_be_made_writes_nothing() -> None:
    given(created()).when(refuse_another_attempt()).then_no_change()


@BOTH
@pytest.mark.parametrize("answer", [[], [initiated()], [uncertain()]])
def test_there_is_no_second_prompt_while_the_first_may_be_on_the_phone(
    command: Callable[..., Command], answer: list[Spec]
) -> None:
    given(created(), requested(at="10:31"), *answer).when(command(at="10:32:59")).refused(
        "PAYMENT_IN_PROGRESS"
    )


@pytest.mark.parametrize("answer", [[], [initiated()], [uncertain()]])
def test_an_unanswered_prompt_gives_way_once_its_time_is_over(answer: list[Spec]) -> None:
    given(created(), requested(at="10:31"), *answer).when(request_payment(457, at="10:33")).then(requested(2))


def test_a_prompt_from_the_future_of_a_slower_clock_is_live_too() -> None:
    given(created(), requested(at="10:32")).when(request_payment(at="10:31")).refused("PAYMENT_IN_PROGRESS")


def test_only_the_live_prompt_counts_when_an_older_one_was_never_answered() -> None:
    history = [requested(1, at="10:31"), initiated(1), requested(2, at="10:34"), initiated(2)]
    given(created(), *history).when(request_payment(at="10:35")).refused("PAYMENT_IN_PROGRESS")


def test_a_refused_attempt_makes_room_for_another_at_once() -> None:
    given(created(), requested(), refused()).when(request_payment(457, at="10:31:01")).then(requested(2))


def test_a_failed_attempt_makes_room_for_another_while_an_older_one_is_open() -> None:
    history = [
        requested(1, at="10:31"),
        initiated(1),
        requested(2, at="10:34"),
        initiated(2),
        attempt_failed(2),
    ]
    given(created(), *history).when(request_payment(458, at="10:34:30")).then(requested(3))


@BOTH
def test_attempts_are_capped(command: Callable[..., Command]) -> None:
    history = [requested(1), refused(1), requested(2), refused(2)]
    given(created(), *history).when(command(most=2)).refused("TOO_MANY_ATTEMPTS")


def test_a_live_prompt_is_refused_before_the_cap() -> None:
    given(created(), requested()).when(request_payment(most=1)).refused("PAYMENT_IN_PROGRESS")


@BOTH
@pytest.mark.parametrize(
    ("history", "code"),
    [
        ([expired()], "SESSION_EXPIRED"),
        ([requested(), initiated(), failed()], "SESSION_FAILED"),
        ([requested(), initiated(), paid()], "SESSION_ALREADY_PAID"),
        ([requested(), initiated(), paid(), order_created()], "SESSION_ALREADY_PAID"),
    ],
)
def test_a_settled_session_takes_no_attempt(
    command: Callable[..., Command], history: list[Spec], code: str
) -> None:
    given(created(), *history).when(command(at="10:40")).refused(code)


@BOTH
def test_an_attempt_at_the_very_moment_of_the_expiry_is_too_late(command: Callable[..., Command]) -> None:
    given(created()).when(command(at="10:45")).refused("SESSION_EXPIRED")


def test_an_attempt_just_before_the_expiry_is_in_time() -> None:
    given(created()).when(request_payment(at="10:44:59.999999")).then(requested())


def test_an_extension_gives_time_for_an_attempt() -> None:
    given(created(), extended("11:00")).when(request_payment(at="10:50")).then(requested())


def test_a_prompt_that_is_still_open_at_the_expiry_does_not_allow_another_after_it() -> None:
    given(created(), requested(at="10:40"), initiated()).when(request_payment(at="10:45")).refused(
        "SESSION_EXPIRED"
    )


def test_an_attempt_that_brought_a_wrong_amount_is_no_longer_open() -> None:
    history = [requested(1, at="10:31"), initiated(1), requested(2, at="10:34"), initiated(2)]
    wrong = surplus(1, cents=1_00, why="wrong_amount")
    session = given(created(), *history, wrong).session
    assert [attempt.number for attempt in session.open_attempts] == [2]
