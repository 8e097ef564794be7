"""Lists in the order of a key, newest first, of which a page is found by the key of a neighbour or by its number.

The keys of a page are read from an index in their order, and the columns for its rows only. A page that is asked for by
number alone is reached by counting keys: from the nearer end of the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

Key = tuple[Any, ...]
"""What orders the rows of a list: a moment, and what tells the rows of one moment apart."""

WALKED_AT_MOST = 1_000
"""So many keys are counted from the start without first asking which end is nearer."""

_COUNT = "SELECT count(*) AS count FROM ({rows}) AS listed"
_PAGE = """
SELECT {columns} FROM {table} JOIN (
    SELECT {identity} FROM ({rows}) AS listed {beyond} ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s
) AS page USING ({identity})
ORDER BY {order}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A page of at most `limit` rows of a list as it stood at `as_of`.

    It starts after the row with the key `after`, or ends before the one with the key `before`; with neither, `offset`
    rows are before it.
    """

    as_of: datetime
    limit: int
    offset: int = 0
    after: Key | None = None
    before: Key | None = None


class Listing:
    """The SQL of one list. `rows` selects the `keys`, which are columns of `table`, of the rows in it.

    `rows` leaves out what came after %(as_of)s. All but the first key name a row.
    """

    def __init__(self, table: str, columns: str, keys: Sequence[str], rows: str) -> None:
        def page(beyond: str, direction: str) -> bytes:
            order = ", ".join(f"{key} {direction}" for key in keys)
            parts = {"table": table, "columns": columns, "rows": rows, "identity": ", ".join(keys[1:])}
            return _PAGE.format(**parts, beyond=beyond, order=order).encode()

        names = [f"key_{number}" for number in range(len(keys))]
        key = f"({', '.join(keys)}) {{}} ({', '.join(f'%({name})s' for name in names)})"
        self._names = names
        self._count = _COUNT.format(rows=rows).encode()
        self._from_start, self._from_end = page("", "DESC"), page("", "ASC")
        self._after, self._before = (
            page(f"WHERE {key.format('<')}", "DESC"),
            page(f"WHERE {key.format('>')}", "ASC"),
        )

    def read(
        self, connection: Connection[Any], place: Place, values: Mapping[str, Any]
    ) -> tuple[int, list[Any]]:
        """Return (how many rows are in the list, those of a page); `values` are the other values of `rows`."""
        values = {**values, "as_of": place.as_of, "limit": place.limit, "offset": place.offset}
        if key := place.after or place.before:
            values |= dict(zip(self._names, key, strict=True)) | {"offset": 0}
            statement = self._after if place.after else self._before
            rows = connection.execute(statement, values).fetchall()
            return self._counted(connection, values), rows if place.after else rows[::-1]
        if place.offset > WALKED_AT_MOST:
            return self._by_number(connection, values)
        rows = connection.execute(self._from_start, values).fetchall()
        is_last = len(rows) < place.limit and (rows or not place.offset)
        return place.offset + len(rows) if is_last else self._counted(connection, values), rows

    def _by_number(self, connection: Connection[Any], values: dict[str, Any]) -> tuple[int, list[Any]]:
        count = self._counted(connection, values)
        behind = count - values["offset"] - values["limit"]
        if behind >= values["offset"]:
            return count, connection.execute(self._from_start, values).fetchall()
        limit = min(values["limit"], max(0, count - values["offset"]))
        from_end = values | {"offset": max(0, behind), "limit": limit}
        return count, connection.execute(self._from_end, from_end).fetchall()[::-1]

    def _counted(self, connection: Connection[Any], values: Mapping[str, Any]) -> int:
        row = connection.execute(self._count, values).fetchone()
        assert row is not None
        count: int = row["count"]
        return count
