"""Counts what a piece of work asks of PostgreSQL: from the bytes on the wire, and from the write-ahead log.

Nothing of the application is looked into, so the counts hold for any way of sending a statement.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from threading import Lock
from typing import Any

import psycopg

from tests.support.proxy import DatabaseProxy

_EXECUTE, _QUERY, _READY = b"EQZ"
_TYPE_BYTES, _LENGTH_BYTES = 1, 4

WAL_END = "SELECT pg_current_wal_flush_lsn()::text"
# A transaction of ours, so that there is a record to find.
MARK = "SELECT pg_current_xact_id()::xid::text FROM pg_logical_emit_message(true, '', '')"
# Full page images depend on when the last checkpoint was; what belongs to no transaction is PostgreSQL's own.
WAL_OF_TRANSACTIONS = """
SELECT count(*) FILTER (WHERE resource_manager = 'Transaction' AND record_type LIKE 'COMMIT%%'),
       coalesce(sum(record_length - fpi_length), 0)::bigint
  FROM pg_get_wal_records_info(%s::pg_lsn, %s::pg_lsn) WHERE xid <> '0' AND xid <> %s::xid
"""


@dataclass(frozen=True)
class Cost:
    """Statements executed, round trips, transactions committed that wrote, and bytes of WAL."""

    statements: int
    round_trips: int
    commits: int
    wal_bytes: int

    def exceeds(self, most: "Cost") -> bool:
        """Say whether any of the counts is above that of `most`."""
        return any(count > limit for count, limit in zip(astuple(self), astuple(most), strict=True))


class CostMeter:
    """Measures the cost of work that reaches one PostgreSQL through `proxy`.

    Make it before anything connects to the proxy. `connection` leads past the proxy and may create extensions.
    Nothing else may write in that server meanwhile.
    """

    def __init__(self, proxy: DatabaseProxy, connection: psycopg.Connection[Any]) -> None:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        self._connection = connection
        self._streams: dict[tuple[object, bool], Messages] = {}
        self._counts = defaultdict[tuple[bool, int], int](int)
        self._lock = Lock()
        proxy.on_bytes = self._count

    def cost_of(self, work: Callable[[], object]) -> Cost:
        """Do the work; return what it cost."""
        start = self._wal_end()
        with self._lock:
            self._counts.clear()
        work()
        with self._lock:
            counts = dict(self._counts)
        commits, wal_bytes = self._wal_since(start)
        statements = counts.get((True, _EXECUTE), 0) + counts.get((True, _QUERY), 0)
        return Cost(statements, counts.get((False, _READY), 0), commits, wal_bytes)

    def _count(self, link: object, from_client: bool, chunk: bytes) -> None:
        with self._lock:
            stream = self._streams.setdefault((link, from_client), Messages(has_type=not from_client))
            for kind in stream.kinds(chunk):
                self._counts[from_client, kind] += 1

    def _wal_end(self) -> str:
        [(end,)] = self._connection.execute(WAL_END).fetchall()
        return str(end)

    def _wal_since(self, start: str) -> tuple[int, int]:
        [(mark,)] = self._connection.execute(MARK).fetchall()
        found = self._connection.execute(WAL_OF_TRANSACTIONS, (start, self._wal_end(), mark)).fetchone()
        assert found is not None
        return found[0], found[1]


class Messages:
    """The messages of one direction of a connection; the first that a client sends has no type."""

    def __init__(self, *, has_type: bool) -> None:
        self._has_type = has_type
        self._rest = b""

    def kinds(self, chunk: bytes) -> list[int]:
        """Return the types of the messages that end in these bytes."""
        data, kinds, at = self._rest + chunk, [], 0
        while True:
            head = at + (_TYPE_BYTES if self._has_type else 0)
            if len(data) < head + _LENGTH_BYTES:
                break
            end = head + int.from_bytes(data[head : head + _LENGTH_BYTES], "big")
            if len(data) < end:
                break
            if self._has_type:
                kinds.append(data[at])
            self._has_type, at = True, end
        self._rest = data[at:]
        return kinds


def least(costs: Sequence[Cost]) -> Cost:
    """Return the least of each count: what work costs where no statement is new to its connection and no page splits.

    What a change adds to every run is in the least of them; what chance adds to some, such as another connection of
    the pool, is not.
    """
    return Cost(*(min(counts) for counts in zip(*map(astuple, costs), strict=True)))
