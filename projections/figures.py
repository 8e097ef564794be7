"""Figures of a period by hour, day or week and by county, product or result code, as they stand or were reported.

Sums are kept by the hour, the day and the month in which sessions were created. An event that is recorded more than
LATE_AFTER after the end of its session's hour restates the past: what it changes is kept in a row of its own too, so
that what was reported at an earlier time is the sums less what came after it. ADR 35 says why.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection

from ledger.clock import NAIROBI
from ledger.errors import InvalidValue
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from ledger.store.listing import Key
from projections.figure_sums import TABLE, day_of, month_of, rows_by_hour
from projections.follower import genuine, recorded
from projections.metrics import Rate, rates_of, start_of_hour
from projections.session_figures import HOUR, LATE_AFTER, NAMES, TOPICS, percentile

BYS = ("hour", "day", "week")
GROUPS = ("county", "result_code", "product")
EACH_IN_ONE = "result_code"
"""Every session is in one group of it: late events of all have a row each, and a row together by moment and group."""
OTHERS = "others"
NONE = "none"
"""Names of groups: all beyond the largest, and sessions to which the group does not apply."""

MAX_DAYS = 366
MAX_DAYS_BY_HOUR = 31
MAX_BUCKETS_OF_GROUPS = 100
MAX_OPEN_SESSIONS = 20_000
"""So many are folded anew for what was reported at a time, of the two hours before it."""
MAX_GROUPS = 50
MAX_GROUPS_OF_BUCKETS = 10
MIN_BUYERS = 5
"""Figures of a month and place with fewer buyers are suppressed, as in the analysts' view by county."""

DAY = timedelta(days=1)
_BUCKETS = {
    None: "%(since)s::timestamptz",
    "hour": "start",
    "day": "date_trunc('day', start, 'Africa/Nairobi')",
    "week": "date_trunc('week', start, 'Africa/Nairobi')",
}
_GRAINS = {None: ("month", "day", "hour"), "hour": ("hour",), "day": ("day", "hour"), "week": ("day", "hour")}
_SUMS = ", ".join(f"sum(sign * {name})::bigint AS {name}" for name in NAMES)
_COLUMNS = f"start, value, payments, {', '.join(NAMES)}"
# OFFSET 0 has each part read from the index: a join would read the whole table.
_OF_TIMES = f"""
SELECT {_COLUMNS} FROM unnest(%(grains)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS part (grain, since, until)
CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM {TABLE} AS sums
    WHERE sums.grain = part.grain AND dimension = %(dimension)s AND start >= part.since AND start < part.until
    OFFSET 0
) AS of_part
"""  # noqa: S608 - made of names of our own
_CELLS = f"""
WITH cell AS (
    SELECT start, split_part(value, '/', 1) AS value, payments, buyers, {", ".join(NAMES)},
           value LIKE '%%/' OR cardinality(buyers) < {MIN_BUYERS} AS is_rest
    FROM {TABLE} WHERE grain = 'month' AND dimension = 'county' AND start >= %(since)s AND start < %(until)s
), rest AS (
    SELECT start, value, count(DISTINCT buyer) >= {MIN_BUYERS} AS has_enough
    FROM cell CROSS JOIN LATERAL unnest(buyers) AS buyer WHERE is_rest GROUP BY 1, 2
)
"""  # noqa: S608 - as above
# As in the analysts' view: a subcounty with few buyers is of the rest of its county, which is shown if it has enough.
_OF_COUNTIES = f"""
{_CELLS} SELECT {_COLUMNS} FROM cell LEFT JOIN rest USING (start, value) WHERE NOT is_rest OR has_enough
"""  # noqa: S608 - as above
IS_ANY_SUPPRESSED = f"{_CELLS} SELECT EXISTS (SELECT FROM rest WHERE NOT has_enough) AS suppressed"  # noqa: S608 - as above
READ = f"""
WITH found AS MATERIALIZED (
    SELECT 1 AS sign, {_COLUMNS} FROM ({{sums}}) AS sums
    UNION ALL
    SELECT -1, start, CASE WHEN dimension = %(dimension)s THEN value ELSE '' END, payments, {", ".join(NAMES)}
    FROM {TABLE}
    WHERE grain = 'late' AND dimension = %(late_dimension)s AND recorded_at > %(reported_at)s
      AND start >= %(since)s AND start < %(closed)s
    UNION ALL
    SELECT 1, {_COLUMNS} FROM jsonb_populate_recordset(NULL::{TABLE}, %(open)s::jsonb)
    WHERE dimension = %(dimension)s AND start < %(until)s
), largest AS (
    SELECT value FROM found GROUP BY value ORDER BY sum(sign * sessions_created) DESC, value LIMIT %(groups)s
), sorted AS MATERIALIZED (
    SELECT {{bucket}} AS bucket, CASE WHEN value IN (TABLE largest) THEN value END AS value, sign, payments,
           {", ".join(NAMES)}
    FROM found
), times AS (
    SELECT bucket, value, jsonb_object_agg(interval, count) AS payments FROM (
        SELECT bucket, value, interval - 1 AS interval, sum(sign * count) AS count
        FROM sorted CROSS JOIN LATERAL unnest(payments) WITH ORDINALITY AS payment (count, interval)
        WHERE count <> 0 AND value IS NOT NULL GROUP BY 1, 2, 3
    ) AS payment GROUP BY 1, 2
)
SELECT bucket, value, counts.*, times.payments
FROM (SELECT bucket, value, {_SUMS} FROM sorted GROUP BY 1, 2) AS counts LEFT JOIN times USING (bucket, value)
WHERE sessions_created <> 0 ORDER BY bucket, value IS NULL, sessions_created DESC, value
"""  # noqa: S608 - as above
_FIRST: Key = ("infinity", UUID(int=0), 0)
OPEN_EVENTS = f"""
SELECT session_id, version, topic, state::text AS state, recorded_at, {COLUMNS} FROM payment_events
WHERE session_id = ANY(%s) AND topic = ANY(%s) AND recorded_at <= %s ORDER BY session_id, version
"""  # noqa: S608 - as above
OPEN_SESSIONS = """
SELECT session_id FROM payment_sessions WHERE created_at >= %s AND created_at < %s LIMIT %s
"""
RESTATEMENTS = f"""
SELECT recorded_at, session_id, version, position, topic, start AS hour, {", ".join(NAMES)} FROM {TABLE}
WHERE grain = 'late' AND dimension = 'all' AND (recorded_at, session_id, version) < (%s::timestamptz, %s::uuid, %s)
ORDER BY recorded_at DESC, session_id DESC, version DESC LIMIT %s
"""  # noqa: S608 - as above


@dataclass(frozen=True, slots=True)
class FiguresQuery:
    """Which figures: of sessions created from the hour of `since` to before `until`, or the end of its hour.

    `by` is one of BYS, `group` one of GROUPS. `as_reported_at` asks for what was reported then. Of counties there are
    figures of whole months in Nairobi only, as they stand: the period is that of the months in which it lies.
    """

    since: datetime
    until: datetime
    by: str | None = None
    group: str | None = None
    as_reported_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FiguresRow:
    """The figures of one bucket and one value of the group.

    `start` is None without `by`; the first and the last bucket count what of them lies in the period. `group` is
    None without a group, else a county or listing id or a result code, NONE or OTHERS. `counts` are by the names of
    NAMES. Percentiles are None where nothing was paid, and in OTHERS. A row that is `suppressed` stands for counties
    with too few buyers, and has no figures.
    """

    start: datetime | None
    group: str | None
    counts: dict[str, int]
    rates: tuple[Rate, ...] = ()
    seconds_to_pay_p50: float | None = None
    seconds_to_pay_p95: float | None = None
    suppressed: bool = False


@dataclass(frozen=True, slots=True)
class Restatement:
    """What one late event changed in the figures of an hour, by figure."""

    recorded_at: datetime
    session_id: UUID
    version: int
    position: int
    topic: str
    hour: datetime
    changes: dict[str, int]

    @property
    def key(self) -> Key:
        """Its place in the list."""
        return self.recorded_at, self.session_id, self.version


def period_of(query: FiguresQuery) -> tuple[datetime, datetime]:
    """Return the period that a query is about: whole hours, and by county whole months in Nairobi."""
    since, until = start_of_hour(query.since), _next(query.until, start_of_hour, HOUR)
    if query.group == "county":
        return month_of(since), _next(until, month_of, 32 * DAY)
    return since, until


def figures(database: Database, query: FiguresQuery, macs: EventMacs | None = None) -> list[FiguresRow]:
    """Return a row for each bucket and value of the group, in the order of time and then of size.

    Without a group there is a row for each bucket, even if nothing happened in it. `macs` are needed for
    `as_reported_at`, by which the sessions of the hours that were not long over then are folded anew.
    Raises InvalidValue if the query is not one that can be answered, or asks for too much.
    """
    since, until = period_of(query)
    _check(query, since, until)
    closed, open_rows = until, list[dict[str, Any]]()
    with database.connection() as connection:
        if query.as_reported_at is not None:
            assert macs is not None
            closed = max(since, min(until, start_of_hour(query.as_reported_at - LATE_AFTER)))
            open_rows = _open_rows(connection, macs, closed, until, query.as_reported_at)
        parts = list(_parts(_GRAINS[query.by], since, closed))
        values = {
            "dimension": query.group or "all",
            "late_dimension": query.group or EACH_IN_ONE,
            "grains": [grain for grain, _, _ in parts],
            "starts": [start for _, start, _ in parts],
            "ends": [end for _, _, end in parts],
            "since": since,
            "until": until,
            "closed": closed,
            "reported_at": query.as_reported_at or "infinity",
            "open": msgspec.json.encode(open_rows).decode(),
            "groups": MAX_GROUPS if query.by is None else MAX_GROUPS_OF_BUCKETS,
        }
        sums = _OF_COUNTIES if query.group == "county" else _OF_TIMES
        rows = connection.execute(
            READ.format(sums=sums, bucket=_BUCKETS[query.by]).encode(), values
        ).fetchall()
        is_suppressed = query.group == "county" and _is_any_suppressed(connection, values)
    shown = [_shown(query, row, since, until) for row in rows]
    if query.group is None:
        shown = _with_empty_buckets(query, shown, since, until)
    return [*shown, FiguresRow(None, OTHERS, {}, suppressed=True)] if is_suppressed else shown


def restatements(database: Database, limit: int, after: Key | None = None) -> list[Restatement]:
    """Return what late events changed, the latest recorded first; with a key, those that come after it in the list."""
    with database.connection() as connection:
        rows = connection.execute(RESTATEMENTS.encode(), (*(after or _FIRST), limit)).fetchall()
    return [
        Restatement(**row, changes={name: change for name, change in moved.items() if change})
        for row, moved in ((row, {name: row.pop(name) for name in NAMES}) for row in rows)
    ]


def _check(query: FiguresQuery, since: datetime, until: datetime) -> None:
    if query.by not in (None, *BYS) or query.group not in (None, *GROUPS):
        raise InvalidValue(f"Choose `by` from {', '.join(BYS)}, and `group` from {', '.join(GROUPS)}.")
    if start_of_hour(query.since) >= query.until:
        raise InvalidValue("The period is empty. Choose a `since` that lies before `until`.")
    days = (query.until - query.since) / DAY
    if days > MAX_DAYS:
        raise InvalidValue(f"Choose a period of at most {MAX_DAYS} days.")
    if query.group == "county":
        if query.by is not None or query.as_reported_at is not None:
            raise _refused(
                "group", "Of counties there are whole months as they stand: leave out the other two."
            )
    elif query.by == "hour" and days > MAX_DAYS_BY_HOUR:
        raise _refused("by", f"By hour, choose a period of at most {MAX_DAYS_BY_HOUR} days.")
    elif query.by and query.group and len(_buckets(query.by, since, until)) > MAX_BUCKETS_OF_GROUPS:
        raise _refused("by", f"Choose a period of at most {MAX_BUCKETS_OF_GROUPS} {query.by}s, or no group.")


def _refused(name: str, why: str) -> InvalidValue:
    return InvalidValue("These figures cannot be shown together.", {name: [why]})


def _open_rows(
    connection: Connection[Any], macs: EventMacs, since: datetime, until: datetime, moment: datetime
) -> list[dict[str, Any]]:
    """Return the sums of the hours of which an event after the moment is no late one, by what was recorded until it."""
    ends = min(until, moment + LATE_AFTER)
    if since >= ends:
        return []
    found = connection.execute(OPEN_SESSIONS, (since, ends, MAX_OPEN_SESSIONS + 1)).fetchall()
    if len(found) > MAX_OPEN_SESSIONS:
        raise _refused(
            "as_reported_at", "Too many sessions were under way then. Let the period end two hours before."
        )
    ids = [row["session_id"] for row in found]
    rows = connection.execute(OPEN_EVENTS, (ids, list(TOPICS), moment))
    return rows_by_hour(map(recorded, genuine(rows, macs)))


def _is_any_suppressed(connection: Connection[Any], values: dict[str, Any]) -> bool:
    row = connection.execute(IS_ANY_SUPPRESSED.encode(), values).fetchone()
    return row is not None and bool(row["suppressed"])


def _week_of(moment: datetime) -> datetime:
    day = day_of(moment)
    return day - day.astimezone(NAIROBI).weekday() * DAY


def _next(moment: datetime, begin: Callable[[datetime], datetime], step: timedelta) -> datetime:
    """Return the first beginning from a moment on; `step` leads from one into the next."""
    return moment if begin(moment) == moment else begin(begin(moment) + step)


_STEPS: dict[str, tuple[Callable[[datetime], datetime], timedelta]] = {
    "hour": (start_of_hour, HOUR),
    "day": (day_of, DAY),
    "week": (_week_of, 7 * DAY),
    "month": (month_of, 32 * DAY),
}


def _buckets(by: str, since: datetime, until: datetime) -> list[datetime]:
    begin, step = _STEPS[by]
    buckets = [begin(since)]
    while (start := begin(buckets[-1] + step)) < until:
        buckets.append(start)
    return buckets


def _parts(
    grains: Sequence[str], since: datetime, until: datetime
) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield (grain, since, until) of sums that cover a period, each part by the longest of the grains that fits."""
    if since >= until:
        return
    (begin, step), shorter = _STEPS[grains[0]], grains[1:]
    first, last = _next(since, begin, step), begin(until)
    if first >= last:
        yield from _parts(shorter, since, until)
        return
    if shorter:
        yield from _parts(shorter, since, first)
        yield from _parts(shorter, last, until)
    yield grains[0], first, last


def _shown(query: FiguresQuery, row: dict[str, Any], since: datetime, until: datetime) -> FiguresRow:
    start = row["bucket"].astimezone(UTC)
    counts = {name: row[name] for name in NAMES}
    payments = {int(interval): count for interval, count in (row["payments"] or {}).items()}
    group = None if query.group is None else OTHERS if row["value"] is None else row["value"] or NONE
    return FiguresRow(
        None if query.by is None else start,
        group,
        counts,
        _rates(query, counts, start, since, until),
        percentile(payments, 0.5),
        percentile(payments, 0.95),
    )


def _with_empty_buckets(
    query: FiguresQuery, shown: list[FiguresRow], since: datetime, until: datetime
) -> list[FiguresRow]:
    found = {row.start: row for row in shown}
    nothing = dict.fromkeys(NAMES, 0)
    starts = [None] if query.by is None else _buckets(query.by, since, until)
    return [
        found.get(start)
        or FiguresRow(start, None, nothing, _rates(query, nothing, start or since, since, until))
        for start in starts
    ]


def _rates(
    query: FiguresQuery, counts: dict[str, int], start: datetime, since: datetime, until: datetime
) -> tuple[Rate, ...]:
    if query.by is not None:
        begin, step = _STEPS[query.by]
        since, until = max(since, start), min(until, begin(start + step))
    is_open = counts["pending"] + counts["payment_initiated"]
    return (
        *rates_of(counts, (until - since) // HOUR),
        Rate(
            "payment_success_of_created_rate",
            counts["payments_received"],
            "sessions that were paid, whatever came of it",
            counts["sessions_created"] - is_open,
            "sessions created, without those that are still open",
        ),
        Rate(
            "refund_rate",
            counts["refunds"],
            "sessions that were paid and of whose money some has gone back",
            counts["payments_received"],
            "sessions that were paid, whatever came of it",
        ),
    )
