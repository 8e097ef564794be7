"""What one session adds to the figures, and by how much each of its events changes that.

Nothing here says what a figure means a second time: a session counts by its status, its payment, its order and its
refunds, as its row of `payment_sessions` shows them.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import accumulate, repeat
from typing import Any, NamedTuple

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
from projections.metrics import FIGURES, hour_of

NAMES = (*FIGURES, "refunds")
"""The figures of a row; `refunds` are sessions that were paid and of whose money some has gone back."""

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


class _Standing(NamedTuple):
    """What has become of a session, but for its money."""

    status: Status = Status.PENDING
    is_paid: bool = False
    is_ordered: bool = False
    is_refunded: bool = False


_NEW = _Standing()


class _Counted(NamedTuple):
    """What a session adds to each of `parts`, whole; `interval` is that of its time to pay, None before a payment.

    To the part of a product it adds no more than the cents of that.
    """

    standing: _Standing | None
    interval: int | None
    cents: int
    parts: tuple[Part, ...]


_NOTHING = _Counted(None, None, 0, ())


@dataclass(frozen=True, slots=True, eq=False)
class Movement:
    """By how much events change a part, without its money: the figures by name, and payments by interval.

    Few are different, and each is made once in a process, so that they are counted by what they are.
    """

    between: tuple[Any, ...]
    figures: dict[str, int]
    payments: dict[int, int]

    def __reduce__(self) -> tuple[Callable[..., "Movement"], tuple[Any, ...]]:
        """Have another process take its own in place of this one."""
        return _movement, self.between


class Change(NamedTuple):
    """By how much an event changes one part."""

    movement: Movement
    cents: int


@dataclass(slots=True)
class SessionFigures:
    """A session as far as it is counted. `created` is the state of its first event."""

    created: dict[str, Any]
    hour: datetime = field(init=False)
    _place: str | None = field(init=False)
    _products: dict[str, int] = field(init=False)
    _standing: _Standing = _NEW
    _code: str = ""
    _result: str = ""
    _requested: dict[int, str] = field(default_factory=dict)
    _cents: int = 0
    _interval: int | None = None
    _counted: _Counted = _NOTHING

    def __post_init__(self) -> None:
        """Read where it is counted for ever."""
        self.hour = hour_of(self.created["timestamp"])
        county, subcounty = self.created.get("county_id"), self.created.get("subcounty_id")
        self._place = None if county is None else f"{county}/{'' if subcounty is None else subcounty}"
        products = defaultdict[str, int](int)
        for line in self.created["lines"]:
            listing = line["listing_id"]
            products["" if listing is None else str(listing)] += line["subtotal_cents"]
        self._products = dict(products)

    def apply(self, event: Recorded) -> dict[Part, Change]:
        """Take one of its events in, the first included; return what that changes."""
        self.take(event)
        return self.settle()

    def settle(self) -> dict[Part, Change]:
        """Return by how much what it adds has changed since the last call, in each part."""
        before, after = self._counted, self._count()
        self._counted = after
        changes: dict[Part, Change] = {}
        if before[:3] != after[:3]:
            change = _change(before, after)
            changes |= dict.fromkeys(after.parts, change)
            if before[:2] != after[:2]:
                times = _is_paid(after) - _is_paid(before)
                for listing, cents in self._products.items():
                    changes["product", listing] = Change(change.movement, cents * times)
        if before.parts != after.parts:
            changes |= {part: _change(_NOTHING, after) for part in after.parts if part not in before.parts}
            changes |= {part: _change(before, _NOTHING) for part in before.parts if part not in after.parts}
        return changes

    def is_moved_by(self, event: Recorded) -> bool:
        """Say whether it is counted in other parts, or another interval, once `event` is taken in."""
        topic, is_failed = event.topic, self._standing.status == Status.FAILED
        return is_failed or topic == Failed.TOPIC or (topic == Paid.TOPIC and self._interval is not None)

    def take(self, event: Recorded) -> None:
        """Change what is known by one of its events."""
        state, topic, standing = event.state, event.topic, self._standing
        if topic == PaymentRequested.TOPIC:
            self._requested[state["attempt"]] = state["timestamp"]
        elif topic in _PROMPTED:
            if standing.status == Status.PENDING:
                self._standing = standing._replace(status=Status.PAYMENT_INITIATED)
        elif topic in _GONE_BACK:
            self._standing = standing._replace(is_refunded=True)
        else:
            is_failed = topic == Failed.TOPIC
            self._code = state["code"] if is_failed else ""
            self._result = (state.get("result_code") or state["code"]) if is_failed else ""
            self._standing = standing._replace(
                status=_STATUS_OF[topic],
                is_paid=standing.is_paid or topic == Paid.TOPIC,
                is_ordered=standing.is_ordered or topic == OrderCreated.TOPIC,
            )
        if topic == Paid.TOPIC:
            self._cents = state["amount_cents"]
            requested = datetime.fromisoformat(self._requested[state["attempt"]])
            self._interval = interval_of(
                (datetime.fromisoformat(state["paid_at"]) - requested).total_seconds()
            )

    def _count(self) -> _Counted:
        standing = self._standing
        parts = [ALL, ("result_code", self._result)]
        if standing.status == Status.FAILED:
            parts.append(("failure_code", self._code))
        if self._place is not None:
            parts.append(("county", self._place))
        return _Counted(standing, self._interval, self._cents, tuple(parts))


def _is_paid(counted: _Counted) -> bool:
    return counted.standing is not None and counted.standing.is_paid


def _change(before: _Counted, after: _Counted) -> Change:
    movement = _movement(before.standing, before.interval, after.standing, after.interval)
    return Change(movement, after.cents - before.cents)


@cache
def _movement(
    before: _Standing | None, interval_before: int | None, after: _Standing | None, interval: int | None
) -> Movement:
    payments = Counter[int]()
    if interval_before is not None:
        payments[interval_before] -= 1
    if interval is not None:
        payments[interval] += 1
    old, new = _figures(before), _figures(after)
    return Movement(
        (before, interval_before, after, interval),
        {name: new[name] - old[name] for name in NAMES},
        {place: moved for place, moved in payments.items() if moved},
    )


def _figures(standing: _Standing | None) -> dict[str, int]:
    figures = dict.fromkeys(NAMES, 0)
    if standing is None:
        return figures
    return figures | {
        "sessions_created": 1,
        str(standing.status): 1,
        "payments_initiated": int(standing.status not in _NEVER_PROMPTED),
        "payments_received": int(standing.is_paid),
        "orders_created": int(standing.is_ordered),
        "refunds": int(standing.is_paid and standing.is_refunded),
    }


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
