"""The organisation's books: every booking of its money, in order. They are the truth, whatever callbacks said."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice

MAX_BOOKINGS = 300_000
"""Beyond this the oldest are forgotten, and the books open with the balance after them."""

_FIRST_NAMES = ("JANE", "JOHN", "MARY", "PETER", "GRACE", "JAMES", "ANN", "PAUL")


class BookingKind(StrEnum):
    """What moved money. A payout goes to a phone (B2C), a settlement to the organisation's bank."""

    PAYMENT = "payment"
    REVERSAL = "reversal"
    CHARGE = "charge"
    SETTLEMENT = "settlement"
    PAYOUT = "payout"


class PaymentChannel(StrEnum):
    """How a payment was made: by prompt, or by hand in the payer's own menu."""

    PROMPT = "prompt"
    BY_HAND = "by_hand"


@dataclass(frozen=True, slots=True)
class Booking:
    """One booking. `change_cents` has its sign; `balance_cents` is what the organisation holds afterwards.

    `linked_receipt` ties a reversal or a charge to its payment. `phone` is the payer's or a payout's receiver's, "" if
    there is none.
    """

    kind: BookingKind
    receipt: str
    at: datetime
    change_cents: int
    balance_cents: int
    phone: str = field(default="", repr=False)
    reference: str = field(default="", repr=False)
    is_till: bool = False
    channel: PaymentChannel = PaymentChannel.PROMPT
    linked_receipt: str | None = None

    @property
    def shillings(self) -> int:
        """The amount in whole shillings, without its sign."""
        return abs(self.change_cents) // 100

    @property
    def masked_phone(self) -> str:
        """The payer's number as C2B v2 shows it: `2547 ***** 126`."""
        return f"{self.phone[:4]} ***** {self.phone[-3:]}"

    @property
    def first_name(self) -> str:
        """The name that the simulation gives the payer."""
        return _FIRST_NAMES[int(self.phone[-4:]) % len(_FIRST_NAMES)]


class Books:
    """Movements, oldest first, the last `most` of them. Not thread-safe; its owner holds a lock."""

    def __init__(self, opening_cents: int, most: int = MAX_BOOKINGS) -> None:
        self._max = most
        self.opening_cents = opening_cents
        self.balance_cents = opening_cents
        self.booked = 0
        self._bookings: deque[Booking] = deque()
        self._by_receipt: dict[str, Booking] = {}
        self._reversals: dict[str, Booking] = {}

    def __iter__(self) -> Iterator[Booking]:
        return iter(self._bookings)

    def __len__(self) -> int:
        return len(self._bookings)

    def add(self, booking: Booking) -> None:
        """Book a booking whose balance follows from the one before."""
        assert booking.balance_cents == self.balance_cents + booking.change_cents
        self.balance_cents = booking.balance_cents
        self.booked += 1
        self._bookings.append(booking)
        if booking.kind != BookingKind.CHARGE:
            self._by_receipt[booking.receipt] = booking
        if booking.kind == BookingKind.REVERSAL and booking.linked_receipt:
            self._reversals[booking.linked_receipt] = booking
        if len(self._bookings) > self._max:
            self._forget_oldest()

    def find(self, receipt: str) -> Booking | None:
        """Return what has this receipt, never a charge for it."""
        return self._by_receipt.get(receipt)

    def reversal_of(self, receipt: str) -> Booking | None:
        """Return the reversal of a payment, or None where its money stayed."""
        return self._reversals.get(receipt)

    def since(self, position: int, limit: int) -> list[Booking]:
        """Return bookings from a position on, counted from the first that was ever booked."""
        start = max(0, position - self.first_position)
        return list(islice(self._bookings, start, start + limit))

    @property
    def first_position(self) -> int:
        """The position of the oldest booking that is kept."""
        return self.booked - len(self._bookings)

    def where(self, holds: Callable[[Booking], bool]) -> list[Booking]:
        """Return the bookings for which something holds, oldest first."""
        return [booking for booking in self._bookings if holds(booking)]

    def _forget_oldest(self) -> None:
        oldest = self._bookings.popleft()
        self.opening_cents = oldest.balance_cents
        if self._by_receipt.get(oldest.receipt) is oldest:
            del self._by_receipt[oldest.receipt]
        if oldest.linked_receipt and self._reversals.get(oldest.linked_receipt) is oldest:
            del self._reversals[oldest.linked_receipt]
