"""The rows of `payment_figures`, and the statement that adds them to those that are there."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from projections.session_figures import NAMES

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

# The arrays come by SELECT, so that one plan is kept.
ADD = f"""
INSERT INTO {{table}} AS live ({", ".join(COLUMNS)}) SELECT {", ".join(_WRITTEN.get(name, name) for name in COLUMNS)}
FROM unnest({", ".join(f"(SELECT %s::{kind}[])" for kind in _TYPES.values())}) AS new ({", ".join(COLUMNS)})
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

Row = tuple[Any, ...]
"""The values of COLUMNS."""

OfEvent = tuple[UUID | None, int | None, str | None, datetime | None]
OF_NONE: OfEvent = (None, None, None, None)
"""What a row says of a late event: session, version, topic, and when it was recorded."""


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Return rows as the values of ADD."""
    columns = zip(*rows, strict=True)
    return [_array(name, column) for name, column in zip(COLUMNS, columns, strict=True)]


def _array(name: str, column: Sequence[Any]) -> str:
    """Return the values of a column as the text of an array, which costs a tenth of what psycopg's own takes."""
    if name == "value":  # It may hold any characters, of which JSON writes some otherwise.
        quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in column)
        return "{" + ",".join([f'"{value}"' for value in quoted]) + "}"
    return f"{{{msgspec.json.encode(column)[1:-1].decode()}}}"
