"""Time runs out."""

import pytest

from ledger.session.values import Status
from tests.ledger.session.commands import expire
from tests.ledger.session.event_specs import (
    Spec,
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
    uncertain,
)
from tests.ledger.session.scenario import given

PROMPT = [requested(1, at="10:31"), initiated(1)]


@pytest.mark.parametrize("at", ["10:45", "10:46", "23:00"])
def test_an_unpaid_session_expires(at: str) -> None:
    scenario = given(created()).when(expire(at=at))
    scenario.then(expired(at=at, previous=Status.PENDING)).status(Status.EXPIRED)
    assert scenario.session.ended_at == clock(at)


def test_a_session_does_not_expire_before_its_time() -> None:
    given(created()).when(expire(at="10:44:59.999999")).then_no_change()


def test_a_repeated_expiry_changes_nothing() -> None:
    given(created(), expired()).when(expire()).then_no_change()


def test_a_session_whose_attempts_were_refused_expires() -> None:
    given(created(), requested(), refused()).when(expire()).then(expired())


@pytest.mark.parametrize("answer", [[], [initiated()], [uncertain()]])
def test_a_session_with_an_open_attempt_never_expires(answer: list[Spec]) -> None:
    given(created(), requested(), *answer).when(expire(at="23:59")).then_no_change()


@pytest.mark.parametrize(
    "history", [[*PROMPT, failed()], [*PROMPT, paid()], [*PROMPT, paid(), order_created()]]
)
def test_a_settled_session_never_expires(history: list[Spec]) -> None:
    given(created(), *history).when(expire(at="23:59")).then_no_change()


def test_an_extended_session_expires_at_its_new_time() -> None:
    given(created(), extended("11:00")).when(expire(at="10:59")).then_no_change().when(
        expire(at="11:00")
    ).then(expired())


def test_a_reader_sees_expired_from_that_instant_whether_or_not_it_is_written() -> None:
    session = given(created()).session
    assert session.status_at(clock("10:44:59.999999")) == Status.PENDING
    assert session.status_at(clock("10:45")) == Status.EXPIRED
    assert session.status == Status.PENDING
    assert not session.pending_events


@pytest.mark.parametrize(
    ("history", "status"),
    [
        ([requested()], Status.PENDING),
        (PROMPT, Status.PAYMENT_INITIATED),
        ([*PROMPT, failed()], Status.FAILED),
        ([*PROMPT, paid()], Status.PAID),
        ([*PROMPT, paid(), order_created()], Status.ORDER_CREATED),
    ],
)
def test_a_reader_sees_any_other_status_as_it_is_long_after_the_expiry(
    history: list[Spec], status: Status
) -> None:
    assert given(created(), *history).session.status_at(clock("23:59")) == status
