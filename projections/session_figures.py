"""What one session adds to the figures, and by how much each of its events changes that.

Nothing here says what a figure means a second time: a session counts by its status, its payment, its order and its
refunds, as its row of `payment_sessions` shows them.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import accumulate, repeat
from struct import Struct
from typing import Any

from ledger.session.events import (
    Created,
    Expired,
    Failed,
    OrderCreated,
    Paid,
    PaymentInitiated,
    PaymentRequested,
    PaymentReversed,
    PaymentUncertain,
    Refunded,
)
from ledger.session.values import Status
from projections.follower import Recorded
from projections.metrics import FIGURES, hour_of, hour_text

NAMES = (*FIGURES, "refunds")
"""The figures of a row; `refunds` are sessions that were paid and of whose money some has gone back."""

_DIGITS = Struct(f"<{len(NAMES)}q")
_UNIT = {name: 1 << 64 * place for place, name in enumerate(NAMES)}
_SIGNS = sum(unit << 63 for unit in _UNIT.values())
_CENT = _UNIT["paid_cents"]
_CENTS = NAMES.index("paid_cents")

HOUR = timedelta(hours=1)
LATE_AFTER = timedelta(hours=1)
"""An event restates the past if it is recorded so long after the end of the hour of its session, or later."""

_GONE_BACK = (Refunded.TOPIC, PaymentReversed.TOPIC)
TOPICS = (
    Created.TOPIC,
    PaymentRequested.TOPIC,
    PaymentInitiated.TOPIC,
    PaymentUncertain.TOPIC,
    Paid.TOPIC,
    OrderCreated.TOPIC,
    Failed.TOPIC,
    Expired.TOPIC,
    *_GONE_BACK,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAX_KNOWN = 10_000
"""Hours and parts that a process keeps."""

_MINUTES = 60, 120
_STEP = 6
_STEPS_BEYOND = 93
SECONDS: tuple[int, ...] = (
    *range(1, _MINUTES[0] + 1),
    *range(_MINUTES[0] + _STEP, _MINUTES[1], _STEP),
    *accumulate(repeat(_MINUTES[1], _STEPS_BEYOND), lambda bound, _: bound * 11 // 10),
)
"""The upper bounds of the intervals in which times to pay are counted: seconds, and at most a tenth longer each beyond.

One and two minutes are among them. `analytics.times_to_pay_hourly` has the same bounds.
"""

_STATUS_OF = {
    Created.TOPIC: Status.PENDING,
    Paid.TOPIC: Status.PAID,
    OrderCreated.TOPIC: Status.ORDER_CREATED,
    Failed.TOPIC: Status.FAILED,
    Expired.TOPIC: Status.EXPIRED,
}
_PROMPTED = (PaymentInitiated.TOPIC, PaymentUncertain.TOPIC)
_NEVER_PROMPTED = (Status.PENDING, Status.EXPIRED)

Part = tuple[str, str]
"""A dimension and the value in it: where a session is counted. The value is empty where there is none.

Of counties it is `county/subcounty`: a place of few buyers is shown with the rest of its county. By failure code only
sessions that have failed are counted.
"""

ALL: Part = ("all", "")
_WITHOUT_RESULT: Part = ("result_code", "")


@dataclass(frozen=True, slots=True, eq=False)
class _Standing:
    """What has become of a session, but for its money. There is one of each kind in a process."""

    status: Status | None
    is_paid: bool
    is_ordered: bool
    is_refunded: bool
    figures: int


@cache
def _standing(status: Status, *, is_paid: bool, is_ordered: bool, is_refunded: bool) -> _Standing:
    counted = {
        "sessions_created": True,
        str(status): True,
        "payments_initiated": status not in _NEVER_PROMPTED,
        "payments_received": is_paid,
        "orders_created": is_ordered,
        "refunds": is_paid and is_refunded,
    }
    figures = sum(_UNIT[name] for name, is_counted in counted.items() if is_counted)
    return _Standing(status, is_paid, is_ordered, is_refunded, figures)


_NONE = _Standing(None, is_paid=False, is_ordered=False, is_refunded=False, figures=0)
"""Before the first event."""


@cache
def _after(standing: _Standing, topic: str) -> _Standing:
    """Return what becomes of a session of some standing by an event of a topic."""
    status = _STATUS_OF.get(topic, standing.status)
    assert status is not None
    if topic in _PROMPTED and status == Status.PENDING:
        status = Status.PAYMENT_INITIATED
    return _standing(
        status,
        is_paid=standing.is_paid or topic == Paid.TOPIC,
        is_ordered=standing.is_ordered or topic == OrderCreated.TOPIC,
        is_refunded=standing.is_refunded or topic in _GONE_BACK,
    )


Change = tuple[Part, int, int | None, int | None]
"""By how much a part changes: its figures as one number, and the intervals that a payment leaves and comes into."""


Worth = tuple[_Standing, int | None, int]
"""What a session adds to each of its parts: its standing, the interval of its time to pay, and its money.

The interval is None before a payment. To the part of a product it adds no more than the cents of that.
"""

_NOTHING: Worth = (_NONE, None, 0)


def figures_between(before: Worth, after: Worth) -> tuple[int, ...]:
    """Return by how much the figures of all sessions change where one was worth something else before."""
    figures, cents = _figures_between(before[0], after[0]), after[2] - before[2]
    return (*figures[:_CENTS], cents, *figures[_CENTS + 1 :]) if cents else figures


@cache
def _figures_between(then: _Standing, now: _Standing) -> tuple[int, ...]:
    return figures_of(now.figures - then.figures)


@lru_cache(MAX_KNOWN)
def _times_of(hour: str) -> tuple[datetime, datetime]:
    """Return the hour that a moment begins with, and from when on events of its sessions are late."""
    # It is kept, also by a test that stops time: a sum has the class of its left side, never a fake one.
    start = _EPOCH + (hour_of(f"{hour}:00:00Z") - _EPOCH)
    return start, start + HOUR + LATE_AFTER


@lru_cache(MAX_KNOWN)
def _part_of_place(county: int, subcounty: int | None) -> Part:
    return "county", f"{county}/{'' if subcounty is None else subcounty}"


@lru_cache(MAX_KNOWN)
def _part_of_product(listing: int | str | None) -> Part:
    return "product", "" if listing is None else str(listing)


class SessionFigures:
    """A session as far as it is counted, from the state of its first event on.

    An event that is recorded from `late_from` on restates the past. `place` is the part of its county and subcounty.
    `worth` is what it adds by the events that it has taken.
    """

    __slots__ = (
        "_counted",
        "_parts",
        "_products",
        "_requested",
        "hour",
        "late_from",
        "place",
        "user_id",
        "worth",
    )

    def __init__(self, created: dict[str, Any]) -> None:
        """Read where it is counted for ever."""
        self.hour, self.late_from = _times_of(hour_text(created["timestamp"]))
        self.user_id: int = created["user_id"]
        county = created.get("county_id")
        self.place = None if county is None else _part_of_place(county, created.get("subcounty_id"))
        self._products: dict[Part, int] = {}
        for line in created["lines"]:
            part = _part_of_product(line["listing_id"])
            self._products[part] = self._products.get(part, 0) + line["subtotal_cents"]
        self._parts = self._parts_with(_WITHOUT_RESULT)
        self._requested: dict[int, str] = {}
        self.worth = _NOTHING
        self._counted: tuple[Worth, tuple[Part, ...]] = (_NOTHING, ())

    def _parts_with(self, *outcome: Part) -> tuple[Part, ...]:
        return (ALL, *outcome) if self.place is None else (ALL, *outcome, self.place)

    def take(self, event: Recorded) -> Sequence[Change]:
        """Change what is known by one of its events.

        If it leaves parts, or the interval of its time to pay, return what `settle` does before that.
        """
        state, topic = event.state, event.topic
        standing, interval, cents = self.worth
        changes: Sequence[Change] = ()
        if topic == Failed.TOPIC:
            changes, code = self.settle(), state["code"]
            result = state.get("result_code") or code
            self._parts = self._parts_with(("result_code", result), ("failure_code", code))
        elif standing.status is Status.FAILED and topic in _STATUS_OF:
            changes = self.settle()
            self._parts = self._parts_with(_WITHOUT_RESULT)
        if topic == PaymentRequested.TOPIC:
            self._requested[state["attempt"]] = state["timestamp"]
            return changes
        if topic == Paid.TOPIC:
            if interval is not None:
                changes = changes or self.settle()
            cents = state["amount_cents"]
            requested = datetime.fromisoformat(self._requested[state["attempt"]])
            interval = interval_of((datetime.fromisoformat(state["paid_at"]) - requested).total_seconds())
        self.worth = _after(standing, topic), interval, cents
        return changes

    def settle(self) -> list[Change]:
        """Return by how much what it adds has changed since the last call, in each part."""
        (worth_then, parts_then), worth, parts = self._counted, self.worth, self._parts
        if worth == worth_then and parts == parts_then:
            return []
        self._counted = worth, parts
        (then, left, cents_then), (now, interval, cents) = worth_then, worth
        figures_then, figures = then.figures + _CENT * cents_then, now.figures + _CENT * cents
        moved = figures - figures_then
        if parts == parts_then:
            changes = [(part, moved, left, interval) for part in parts]
        else:
            changes = [(part, -figures_then, left, None) for part in parts_then if part not in parts]
            for part in parts:
                if part not in parts_then:
                    changes.append((part, figures, None, interval))
                elif worth != worth_then:
                    changes.append((part, moved, left, interval))
        if then is not now or left != interval:
            standing, paid = now.figures - then.figures, _CENT * (now.is_paid - then.is_paid)
            changes += [
                (part, standing + paid * cents, left, interval) for part, cents in self._products.items()
            ]
        return changes


def figures_of(number: int) -> tuple[int, ...]:
    """Return the figures, in the order of NAMES, that a number stands for: a digit of 64 bits each, with its sign.

    So figures are added up by one addition, whatever their number.
    """
    return _DIGITS.unpack(((number + _SIGNS) ^ _SIGNS).to_bytes(_DIGITS.size, "little"))


def interval_of(seconds: float) -> int:
    """Return the place in SECONDS of the interval in which a time to pay lies; the last has no end."""
    return min(bisect_left(SECONDS, seconds), len(SECONDS) - 1)


def percentile(payments: dict[int, int], share: float) -> float | None:
    """Return the time within which a share of payments came, in seconds; None without payments.

    `payments` counts them by interval, within which they are taken as evenly spread: so the answer is right to a
    second, and beyond a minute to a tenth.
    """
    wanted = share * sum(payments.values())
    passed = 0
    for interval, count in sorted(payments.items()):
        if count > 0 and passed + count >= wanted:
            begin = SECONDS[interval - 1] if interval else 0
            return round(begin + (SECONDS[interval] - begin) * (wanted - passed) / count, 1)
        passed += count
    return None
