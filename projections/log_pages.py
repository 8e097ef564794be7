"""The whole log in pages, for auditors: every event in the order of positions, below the horizon, for ever.

A page looks at MAX_WALKED events of an origin at most, and may be short, or empty, long before the end. The log of this
node comes last: events of other origins came with a dump.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.errors import wrong_fields
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from ledger.store.positions import KNOWN_ORIGINS, read_horizon
from projections.history import Entry, entry_of
from projections.payment_search import sessions_of_receipt

MAX_WALKED = 10_000
"""So many events of an origin are looked at for a page at most."""

MAX_SESSIONS = 1_000
"""The events of so many sessions of a user are found by the sessions; those of more by walking the log."""

TAKES_AT_MOST = timedelta(hours=1)
"""Longer than any transaction of ours is open: behind an event that was recorded so much later than a moment, none was
recorded before it.
"""

Positions = Mapping[int, int]
"""By origin: the position of the last event that was passed."""

_ORIGINS = f"""
{KNOWN_ORIGINS}
SELECT origin, (SELECT max(position) FROM payment_events WHERE origin = known.origin) + 1 AS end
FROM known WHERE origin IS NOT NULL
"""  # noqa: S608 - made of names of our own
_SPAN = "origin = %(origin)s AND position > %(after)s AND position < %(end)s"
_COLUMNS = f"session_id, version, topic, state, metadata, recorded_at, previous_hash, {COLUMNS}"
_SHOWN = _COLUMNS.replace("state, metadata", "state::text AS state, metadata::text AS metadata")
_ORDER = "ORDER BY position LIMIT %(limit)s"
WALK = f"""
SELECT {_SHOWN} FROM (
    SELECT {_COLUMNS} FROM payment_events WHERE {_SPAN} ORDER BY position LIMIT %(walk)s
) AS event WHERE true {{wanted}} {_ORDER}
"""  # noqa: S608 - made of names of our own
# The sessions' events are found first, however early the planner expects one of them in the order of positions.
OF_SESSIONS = f"""
SELECT {_SHOWN} FROM (
    SELECT {_COLUMNS} FROM payment_events WHERE session_id = ANY(%(session_ids)s) OFFSET 0
) AS event WHERE {_SPAN} {{wanted}} {_ORDER}
"""  # noqa: S608 - as above
WALKED_TO = f"""
SELECT count(*) AS walked, max(position) AS position, max(recorded_at) AS recorded_at FROM (
    SELECT position, recorded_at FROM payment_events WHERE {_SPAN} ORDER BY position LIMIT %(walk)s) AS event
"""  # noqa: S608 - as above
NEXT_EVENT = """
SELECT position, recorded_at FROM payment_events WHERE origin = %s AND position > %s ORDER BY position LIMIT 1
"""
FIRST_SINCE = """
SELECT position FROM payment_events WHERE origin = %s AND position > %s AND position < %s AND recorded_at >= %s
ORDER BY position LIMIT 1
"""
# In the order of an index: without it a user who seems to have most sessions is looked for in all of them.
SESSIONS_OF_USER = """
SELECT session_id FROM payment_sessions WHERE user_id = %s ORDER BY created_at DESC, session_id DESC LIMIT %s
"""

CONDITIONS = {
    "topics": "AND topic = ANY(%(topics)s::text[])",
    "actor": "AND metadata->>'actor' = %(actor)s",
    "since": "AND recorded_at >= %(since)s",
    "until": "AND recorded_at < %(until)s",
    # Looked up for each event: as EXISTS it may read all sessions of the user at once, however many they are.
    "user_id": """AND (SELECT held.user_id FROM payment_sessions AS held
                       WHERE held.session_id = event.session_id) = %(user_id)s""",
}


@dataclass(frozen=True, slots=True)
class LogFilters:
    """Which events are wanted; what is None says nothing. `since` and `until` are when they were recorded.

    `receipt` and `user_id` mean all events of the sessions that the receipt was credited to or that were
    refunded by it, and that the user owns.
    """

    topics: list[str] | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    user_id: int | None = None
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some events, and where the next page goes on. `has_more` says whether to ask at once, `is_over` never to."""

    entries: list[Entry]
    positions: Positions
    has_more: bool
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class _Span:
    """A part of the log of one origin: after a position, before another."""

    origin: int
    after: int
    end: int


def read_log(
    database: Database, macs: EventMacs, filters: LogFilters, after: Positions, limit: int
) -> LogPage:
    """Return at most `limit` events behind some positions, forged ones too.

    Raises InvalidValue for a position that this log has not reached, and Unavailable.
    """
    reached = dict(after)
    with database.connection() as connection:
        spans = _spans(connection, after)
        sessions, filters = _sessions(connection, filters)
        rows: list[dict[str, Any]] = []
        has_more = is_over = False
        for span in spans:
            if has_more or len(rows) == limit:
                has_more = True
                break
            begun = span if span.origin in after else _skipped(connection, span, filters)
            found, reached[span.origin], has_more, is_over = _part(
                connection, begun, filters, sessions, limit - len(rows)
            )
            rows += found
    entries = [entry_of(row, is_genuine=macs.is_genuine(row)) for row in rows]
    return LogPage(entries, reached, has_more, is_over and not has_more)


def _spans(connection: Connection[Any], after: Positions) -> list[_Span]:
    origin, horizon = read_horizon(connection)
    if after.get(origin, 0) >= horizon:
        raise wrong_fields({"after": ["This log has not reached this position: start again without it."]})
    others = [_Span(**row, after=after.get(row["origin"], 0)) for row in connection.execute(_ORIGINS)]
    own = _Span(origin, after.get(origin, 0), horizon)
    return [*(span for span in others if span.origin != origin), own]


def _sessions(connection: Connection[Any], filters: LogFilters) -> tuple[list[UUID] | None, LogFilters]:
    """Return the sessions whose events are wanted, None where the log has to be walked, and what is left to check."""
    found: list[set[UUID]] = []
    if filters.receipt is not None:
        found.append(sessions_of_receipt(connection, filters.receipt))
    if filters.user_id is not None:
        rows = connection.execute(SESSIONS_OF_USER, (filters.user_id, MAX_SESSIONS + 1)).fetchall()
        if len(rows) <= MAX_SESSIONS:
            found.append({row["session_id"] for row in rows})
            filters = replace(filters, user_id=None)
    return sorted(set.intersection(*found)) if found else None, filters


def position_before(connection: Connection[Any], origin: int, moment: datetime) -> int:
    """Return a position of an origin behind which is every event that was recorded from a moment on, few others too."""
    _, horizon = read_horizon(connection)
    after = _behind_all_before(connection, _Span(origin, 0, horizon), moment)
    row = connection.execute(FIRST_SINCE, (origin, after, horizon, moment)).fetchone()
    return int(row["position"] if row else horizon) - 1


def _skipped(connection: Connection[Any], span: _Span, filters: LogFilters) -> _Span:
    """Return the span without events that were all recorded before `since`."""
    if filters.since is None:
        return span
    return replace(span, after=_behind_all_before(connection, span, filters.since))


def _behind_all_before(connection: Connection[Any], span: _Span, moment: datetime) -> int:
    """Return the position of the last event that is found before which all were recorded before a moment."""
    low, high = span.after, span.end
    while high - low > 1:
        middle = (low + high) // 2
        row = connection.execute(NEXT_EVENT, (span.origin, middle)).fetchone()
        if row is None or row["position"] >= high or row["recorded_at"] >= moment - TAKES_AT_MOST:
            high = middle
        else:
            low = row["position"]
    return low


def _part(
    connection: Connection[Any],
    span: _Span,
    filters: LogFilters,
    sessions: list[UUID] | None,
    limit: int,
) -> tuple[list[dict[str, Any]], int, bool, bool]:
    """Return the events of a span, how far it was read, and whether it has more, or is over for these filters."""
    given = {name: getattr(filters, name) for name in CONDITIONS}
    values = {name: value for name, value in given.items() if value is not None}
    wanted = " ".join(CONDITIONS[name] for name in values)
    values |= {"origin": span.origin, "after": span.after, "end": span.end, "walk": MAX_WALKED}
    statement = (WALK if sessions is None else OF_SESSIONS).format(wanted=wanted)
    more = {"session_ids": sessions, "limit": limit + 1}
    rows = connection.execute(statement.encode(), values | more).fetchall()
    if len(rows) > limit:
        return rows[:limit], rows[limit - 1]["position"], True, False
    end = connection.execute(WALKED_TO, values).fetchone()
    assert end is not None
    is_over = filters.until is not None and _is_behind(end["recorded_at"], filters.until)
    if sessions is None and not is_over and end["walked"] == MAX_WALKED:
        return rows, end["position"], True, False
    return rows, span.end - 1, False, is_over


def _is_behind(recorded_at: datetime | None, until: datetime) -> bool:
    return recorded_at is not None and recorded_at > until + TAKES_AT_MOST
