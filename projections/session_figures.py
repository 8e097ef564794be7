"""What one session adds to the figures, and by how much each of its events changes that.

Nothing here says what a figure means a second time: a session counts by its status, its payment, its order and its
refunds, as its row of `payment_sessions` shows them.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, repeat
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

_MINUTE = 60
_STEPS_BEYOND = 100
SECONDS = (
    tuple(range(1, _MINUTE + 1))
    + tuple(accumulate(repeat(_MINUTE, _STEPS_BEYOND), lambda bound, _: bound * 11 // 10))[1:]
)
"""The upper bounds of the intervals in which times to pay are counted: seconds, and a tenth longer each beyond."""

_NO_COUNTS = (0,) * len(NAMES)
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

Of counties it is `county/subcounty`: a place of few buyers is shown with the rest of its county.
"""

ALL: Part = ("all", "")


@dataclass(frozen=True, slots=True)
class Change:
    """By how much an event changes one part: the figures in the order of NAMES, and payments by interval of SECONDS."""

    counts: tuple[int, ...]
    payments: dict[int, int]


@dataclass(slots=True)
class SessionFigures:
    """A session as far as it is counted. `created` is the state of its first event."""

    created: dict[str, Any]
    hour: datetime = field(init=False)
    _place: str | None = field(init=False)
    _products: dict[str, int] = field(init=False)
    _status: Status = Status.PENDING
    _result: str = ""
    _requested: dict[int, str] = field(default_factory=dict)
    _paid_cents: int | None = None
    _interval: int | None = None
    _is_ordered: bool = False
    _is_refunded: bool = False

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
        before = {} if event.topic == Created.TOPIC else self._counted()
        paid_before = self._interval
        self._take(event)
        after = self._counted()
        changes = {}
        for part in before | after:
            old, new = before.get(part, _NO_COUNTS), after.get(part, _NO_COUNTS)
            counts = tuple(value - was for value, was in zip(new, old, strict=True))
            if any(counts):
                payments = Counter[int]()
                if part in before and paid_before is not None:
                    payments[paid_before] -= 1
                if part in after and self._interval is not None:
                    payments[self._interval] += 1
                changes[part] = Change(counts, {place: moved for place, moved in payments.items() if moved})
        return changes

    def _take(self, event: Recorded) -> None:
        """Change what is known."""
        state, topic = event.state, event.topic
        if topic == PaymentRequested.TOPIC:
            self._requested[state["attempt"]] = state["timestamp"]
        elif topic in _PROMPTED:
            if self._status == Status.PENDING:
                self._status = Status.PAYMENT_INITIATED
        elif topic in _GONE_BACK:
            self._is_refunded = True
        else:
            self._status = _STATUS_OF[topic]
            self._result = (state.get("result_code") or state["code"]) if topic == Failed.TOPIC else ""
            self._is_ordered |= topic == OrderCreated.TOPIC
        if topic == Paid.TOPIC:
            self._paid_cents = state["amount_cents"]
            requested = datetime.fromisoformat(self._requested[state["attempt"]])
            self._interval = interval_of(
                (datetime.fromisoformat(state["paid_at"]) - requested).total_seconds()
            )

    def _counted(self) -> dict[Part, tuple[int, ...]]:
        whole = self._counts(self._paid_cents)
        counted = {ALL: whole, ("result_code", self._result): whole}
        if self._place is not None:
            counted["county", self._place] = whole
        for listing, cents in self._products.items():
            counted["product", listing] = self._counts(None if self._paid_cents is None else cents)
        return counted

    def _counts(self, paid_cents: int | None) -> tuple[int, ...]:
        is_paid = paid_cents is not None
        figures: dict[str, int] = {
            "sessions_created": 1,
            str(self._status): 1,
            "payments_initiated": self._status not in _NEVER_PROMPTED,
            "payments_received": is_paid,
            "orders_created": self._is_ordered,
            "paid_cents": paid_cents or 0,
            "refunds": is_paid and self._is_refunded,
        }
        return tuple(int(figures.get(name, 0)) for name in NAMES)


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
