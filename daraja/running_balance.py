"""Check that a list of bookings is complete: each balance is the one before it plus the booking's own amount."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from operator import attrgetter


@dataclass(frozen=True, slots=True)
class Step:
    """One booking: `change_cents` with its sign, and the balance that it left."""

    number: int
    moment: datetime
    change_cents: int
    balance_cents: int


@dataclass(frozen=True, slots=True)
class Break:
    """The first booking whose balance is not what it should be."""

    number: int
    expected_cents: int
    found_cents: int


def broken_at(steps: Sequence[Step]) -> Break | None:
    """Return where the balance breaks, or None for a list that is whole.

    The list may run forwards, backwards, or be sorted by nothing; then it is taken by time, and bookings of the same
    second in the order that continues the balance. Of several ways to read it the one that breaks least counts.
    """
    fewest: list[Break] | None = None
    for order in (steps, steps[::-1], list(_by_time(steps))):
        breaks = _breaks(order)
        if not breaks:
            return None
        if fewest is None or len(breaks) < len(fewest):
            fewest = breaks
    return fewest[0] if fewest else None


def _breaks(steps: Sequence[Step]) -> list[Break]:
    return [
        Break(step.number, before.balance_cents + step.change_cents, step.balance_cents)
        for before, step in pairwise(steps)
        if step.balance_cents != before.balance_cents + step.change_cents
    ]


def _by_time(steps: Sequence[Step]) -> Iterator[Step]:
    balance: int | None = None
    for _, same_second in groupby(sorted(steps, key=attrgetter("moment")), key=attrgetter("moment")):
        for step in _continuing(list(same_second), balance):
            balance = step.balance_cents
            yield step


def _continuing(steps: Sequence[Step], balance: int | None) -> Iterator[Step]:
    """Yield steps so that each continues the balance of the one before, as far as that goes."""
    by_balance_before: dict[int, list[Step]] = defaultdict(list)
    for step in steps:
        by_balance_before[step.balance_cents - step.change_cents].append(step)
    if balance is None:
        balance = _balance_before_all(steps)
    left, taken = deque(steps), set[int]()
    while len(taken) < len(steps):
        fitting = by_balance_before.get(balance) if balance is not None else None
        step = fitting.pop() if fitting else left.popleft()
        if step.number not in taken:
            taken.add(step.number)
            balance = step.balance_cents
            yield step


def _balance_before_all(steps: Sequence[Step]) -> int | None:
    """Return the balance before the step that none of the others leads to; None where each has one before it."""
    left_by_one = {step.balance_cents for step in steps}
    before = (step.balance_cents - step.change_cents for step in steps)
    return next((balance for balance in before if balance not in left_by_one), None)
