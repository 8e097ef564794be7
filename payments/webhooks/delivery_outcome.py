"""What follows from the answer of a webhook endpoint: success, another attempt and when, or the end."""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from payments.retry_schedule import RetrySchedule
from payments.webhooks.connections import Reply
from payments.webhooks.deliveries import DELIVERED, FAILED, PENDING, Delivery, Mark

RETRY_SCHEDULE = RetrySchedule(
    (
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
    )
)
"""The pauses that Standard Webhooks recommends: ten attempts in a little more than three days."""

RETRIED_FOR = sum(RETRY_SCHEDULE.pauses, timedelta())
"""After its first attempt; the first failure that is as late as the tenth is the last."""

MIN_PAUSE, MAX_PAUSE = timedelta(seconds=1), timedelta(hours=1)
"""Between these an endpoint is left alone that asks for it by Retry-After."""

_SUCCESS = range(200, 300)
_GONE, _ASKS_TO_WAIT = 410, (429, 503)
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt: the mark of its delivery, and what it says of the endpoint.

    `name` is what is counted. `is_gone` says that the endpoint wants no more, `is_last` that it was the last attempt,
    `pause` for how long the endpoint asks to be left alone.
    """

    name: str
    delivery: Delivery
    mark: Mark
    is_gone: bool = False
    is_last: bool = False
    pause: timedelta | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the endpoint took it."""
        return self.mark.state == DELIVERED

    @property
    def is_failure(self) -> bool:
        """Whether the endpoint did not take it."""
        return self.mark.state == PENDING

    @property
    def given_up(self) -> "Outcome":
        """The same, with no attempt to follow."""
        return replace(self, mark=replace(self.mark, state=FAILED, next_attempt_at=None))


def outcome_of(delivery: Delivery, answer: Reply | str, now: datetime) -> Outcome:
    """Return what follows from an answer, or from the reason why there was none, at a moment."""
    if isinstance(answer, str):
        return _failure("unanswered", delivery, None, answer, now)
    if answer.status in _SUCCESS:
        return closed("taken", delivery, DELIVERED, status=answer.status)
    pause = pause_asked_for(answer)
    found = _failure("refused", delivery, answer.status, f"HTTP status {answer.status}", now, pause)
    return replace(found, is_gone=answer.status == _GONE)


def closed(
    name: str, delivery: Delivery, state: str, *, status: int | None = None, error: str | None = None
) -> Outcome:
    """Return the outcome of a delivery that no attempt follows."""
    return Outcome(name, delivery, Mark(delivery.delivery_id, delivery.attempts, state, None, status, error))


def not_made(delivery: Delivery, now: datetime) -> Outcome:
    """Return the outcome of a delivery whose message could not be made, by a fault of ours."""
    return _failure("not_made", delivery, None, "the message could not be made", now)


def pause_asked_for(reply: Reply) -> timedelta | None:
    """Return for how long an answer asks to be left alone, within our bounds; None if it does not, or by a date."""
    if reply.status not in _ASKS_TO_WAIT or not _SECONDS.fullmatch(reply.retry_after):
        return None
    return min(max(timedelta(seconds=int(reply.retry_after)), MIN_PAUSE), MAX_PAUSE)


def _failure(
    name: str,
    delivery: Delivery,
    status: int | None,
    error: str,
    now: datetime,
    pause: timedelta | None = None,
) -> Outcome:
    due = now + max(RETRY_SCHEDULE.pause_after(delivery.attempts + 1), pause or timedelta())
    mark = Mark(delivery.delivery_id, delivery.attempts, PENDING, due, status, error)
    is_last = delivery.tried_since is not None and now - delivery.tried_since >= RETRIED_FOR
    return Outcome(name, delivery, mark, is_last=is_last, pause=pause)
