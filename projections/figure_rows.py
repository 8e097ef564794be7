"""The rows of `payment_figures`, and the statement that adds them to those that are there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from projections.array_texts import array_text
from projections.session_figures import MAX_KNOWN, NAMES, Part, figures_of

KEPT_BUYERS = 5

_TYPES = {
    **dict.fromkeys(("grain", "dimension"), "text"),
    "start": "timestamptz",
    "value": "text",
    "position": "bigint",
    **dict.fromkeys(NAMES, "bigint"),
    **dict.fromkeys(("payments", "buyers"), "text"),
    "session_id": "uuid",
    "version": "integer",
    "topic": "text",
    "recorded_at": "timestamptz",
}
COLUMNS = tuple(_TYPES)
_WRITTEN = {"payments": "payments::integer[]", "buyers": "buyers::bigint[]"}
"""Arrays of any length come as text: PostgreSQL has no arrays of those."""


def _new(names: Iterable[str]) -> str:
    """Return the part of a statement that reads rows from an array for each column.

    The arrays come by SELECT, so that one plan is kept; and in the list of columns, where PostgreSQL reads all of them
    at once, and not one after the other into a store of its own.
    """
    return (
        f"(SELECT {', '.join(f'unnest((SELECT %s::{_TYPES[name]}[])) AS {name}' for name in names)}) AS new"
    )


_INSERT = f"INSERT INTO {{table}} AS live ({', '.join(COLUMNS)})"
ADD = f"""
{_INSERT} SELECT {", ".join(_WRITTEN.get(name, name) for name in COLUMNS)} FROM {_new(COLUMNS)}
ON CONFLICT (grain, dimension, start, value, position) DO UPDATE
SET {", ".join(f"{name} = live.{name} + excluded.{name}" for name in NAMES)},
    payments = CASE WHEN excluded.payments = '{{{{}}}}' THEN live.payments ELSE ARRAY(
        SELECT coalesce(old, 0) + coalesce(new, 0)
        FROM unnest(live.payments, excluded.payments) WITH ORDINALITY AS payment (old, new, number)
        ORDER BY number) END,
    buyers = (live.buyers || ARRAY(
        SELECT buyer FROM unnest(excluded.buyers) WITH ORDINALITY AS new (buyer, number)
        WHERE buyer <> ALL (live.buyers) ORDER BY number))[:{KEPT_BUYERS}]
"""  # noqa: S608 - made of names of our own

_OF_ALL = {"grain": "'late'", "dimension": "'all'", "value": "''", "buyers": "'{{}}'"}
OF_EVENTS = tuple(name for name in COLUMNS if name not in _OF_ALL)
# ON CONFLICT looks for each row, and takes a quarter longer. One may be there after a failover, of another log.
ADD_OF_EVENTS = f"""
{_INSERT} SELECT {", ".join((_WRITTEN | _OF_ALL).get(name, name) for name in COLUMNS)} FROM {_new(OF_EVENTS)}
WHERE NOT EXISTS (
    SELECT FROM {{table}} WHERE grain = 'late' AND dimension = 'all' AND value = ''
    AND start = ANY((SELECT %s::timestamptz[])::timestamptz[]) AND position BETWEEN %s AND %s
)
"""  # noqa: S608 - made of names of our own
"""Adds rows of late events with the values of OF_EVENTS, none if one of these hours and positions is there."""

Row = tuple[Any, ...]
"""The values of COLUMNS."""

OfEvent = tuple[UUID | None, int | None, str | None, datetime | None]
OF_NONE: OfEvent = (None, None, None, None)
"""What a row says of a late event: session, version, topic, and when it was recorded."""


def columns_of(rows: Iterable[Row], names: Sequence[str] = COLUMNS) -> list[str]:
    """Return these columns of rows as the values of a statement."""
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    return [_array(name, columns[name]) for name in names]


def _array(name: str, column: Sequence[Any]) -> str:
    if name == "value":  # It may hold any characters, of which JSON writes some otherwise.
        quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in column)
        return "{" + ",".join([f'"{value}"' for value in quoted]) + "}"
    return array_text(column)


@dataclass(slots=True)
class Sum:
    """Changes added up: the figures as one number, payments by interval, and the first buyers of a county."""

    number: int = 0
    payments: dict[int, int] = field(default_factory=dict)
    buyers: tuple[int, ...] = ()

    def add(self, number: int, left: int | None, interval: int | None) -> None:
        """Add a change of one session."""
        self.number += number
        if left != interval:
            payments = self.payments
            if left is not None:
                payments[left] = payments.get(left, 0) - 1
            if interval is not None:
                payments[interval] = payments.get(interval, 0) + 1

    def merge(self, other: "Sum") -> None:
        """Add what others have changed."""
        self.number += other.number
        payments = self.payments
        for interval, count in other.payments.items():
            payments[interval] = payments.get(interval, 0) + count

    def count_buyer(self, buyer: int) -> None:
        """Keep a buyer, if they are one of the first."""
        if len(self.buyers) < KEPT_BUYERS and buyer not in self.buyers:
            self.buyers += (buyer,)

    def figures(self) -> dict[str, int]:
        """Return the figures by name."""
        return dict(zip(NAMES, figures_of(self.number), strict=True))

    def intervals(self) -> list[int]:
        """Return the payments by interval, up to the last that was ever counted."""
        counts = [0] * (max(self.payments, default=-1) + 1)
        for interval, count in self.payments.items():
            counts[interval] = count
        return counts

    def row(
        self, grain: str, part: Part, start: datetime, position: int = 0, of_event: OfEvent = OF_NONE
    ) -> Row:
        """Return it as a row of the table: the values of COLUMNS."""
        payments, buyers = _text_of(self.intervals()), _text_of(self.buyers)
        return grain, part[0], start, part[1], position, *figures_of(self.number), payments, buyers, *of_event


def _text_of(numbers: Sequence[int]) -> str:
    return f"{{{','.join(map(str, numbers))}}}" if numbers else "{}"


@lru_cache(MAX_KNOWN)
def payments_of(left: int | None, interval: int | None) -> str:
    """Return the payments by interval of a row where one payment has left an interval, and come into another."""
    total = Sum()
    total.add(0, left, interval)
    return _text_of(total.intervals())
