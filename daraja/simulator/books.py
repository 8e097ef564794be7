"""The organisation's books: every movement of its money, in order. They are the truth, whatever callbacks said."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice

MAX_MOVEMENTS = 300_000
"""Beyond this the oldest are forgotten, and the books open with the balance that they left."""


class Kind(StrEnum):
    """What moved money."""

    PAYMENT = "payment"
    REVERSAL = "reversal"
    CHARGE = "charge"
    SETTLEMENT = "settlement"


class Channel(StrEnum):
    """How a payment was made: by prompt, or by hand in the payer's own menu."""

    PROMPT = "prompt"
    BY_HAND = "by_hand"


@dataclass(frozen=True, slots=True)
class Movement:
    """One booking. `change_cents` has its sign; `balance_cents` is what the organisation holds afterwards.

    `linked_receipt` ties a reversal or a charge to its payment. `phone` is the payer's, "" where there is none.
    """

    kind: Kind
    receipt: str
    at: datetime
    change_cents: int
    balance_cents: int
    phone: str = field(default="", repr=False)
    reference: str = field(default="", repr=False)
    is_till: bool = False
    channel: Channel = Channel.PROMPT
    linked_receipt: str | None = None

    @property
    def shillings(self) -> int:
        """The amount in whole shillings, without its sign."""
        return abs(self.change_cents) // 100


class Books:
    """Movements, oldest first, the last `most` of them. Not thread-safe; its owner holds a lock."""

    def __init__(self, opening_cents: int, most: int = MAX_MOVEMENTS) -> None:
        self._max = most
        self.opening_cents = opening_cents
        self.balance_cents = opening_cents
        self.booked = 0
        self._movements: deque[Movement] = deque()
        self._by_receipt: dict[str, Movement] = {}
        self._reversals: dict[str, Movement] = {}

    def __iter__(self) -> Iterator[Movement]:
        return iter(self._movements)

    def __len__(self) -> int:
        return len(self._movements)

    def add(self, movement: Movement) -> None:
        """Book a movement whose balance follows from the one before."""
        assert movement.balance_cents == self.balance_cents + movement.change_cents
        self.balance_cents = movement.balance_cents
        self.booked += 1
        self._movements.append(movement)
        if movement.kind != Kind.CHARGE:
            self._by_receipt[movement.receipt] = movement
        if movement.kind == Kind.REVERSAL and movement.linked_receipt:
            self._reversals[movement.linked_receipt] = movement
        if len(self._movements) > self._max:
            self._forget_oldest()

    def find(self, receipt: str) -> Movement | None:
        """Return what has this receipt, never a charge for it."""
        return self._by_receipt.get(receipt)

    def reversal_of(self, receipt: str) -> Movement | None:
        """Return the reversal of a payment, or None where its money stayed."""
        return self._reversals.get(receipt)

    def since(self, position: int, limit: int) -> list[Movement]:
        """Return movements from a position on, counted from the first that was ever booked."""
        start = max(0, position - self.first_position)
        return list(islice(self._movements, start, start + limit))

    @property
    def first_position(self) -> int:
        """The position of the oldest movement that is kept."""
        return self.booked - len(self._movements)

    def where(self, holds: Callable[[Movement], bool]) -> list[Movement]:
        """Return the movements for which something holds, oldest first."""
        return [movement for movement in self._movements if holds(movement)]

    def _forget_oldest(self) -> None:
        oldest = self._movements.popleft()
        self.opening_cents = oldest.balance_cents
        if self._by_receipt.get(oldest.receipt) is oldest:
            del self._by_receipt[oldest.receipt]
        if oldest.linked_receipt and self._reversals.get(oldest.linked_receipt) is oldest:
            del self._reversals[oldest.linked_receipt]
