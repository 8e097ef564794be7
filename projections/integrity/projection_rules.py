"""Invariants of the read side: every table equals a fold of the log, row for row."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.session.status_row import status_row
from ledger.store.event_macs import COLUMNS, EventMacs
from projections.cases import TABLE as CASES
from projections.cases import PaymentCases
from projections.figure_rows import Sum
from projections.figure_sums import DAYS_UNLIKE_HOURS, READ_HOURS, READ_SUMS, Place, Sums
from projections.figure_sums import TABLE as FIGURE_SUMS
from projections.figure_sums import VERSION as FIGURES_VERSION
from projections.follower import genuine, position_of, recorded
from projections.integrity.session_log import SessionIds, SessionLog
from projections.integrity.violations import Reader, Violation, stream
from projections.metrics import FIGURES, FROM_SESSIONS, READ_ALL, Moves, PaymentMetrics, fold
from projections.metrics import TABLE as METRICS
from projections.payment_search import SEARCHED
from projections.payment_search import TABLE as SEARCH
from projections.refunds import TABLE as REFUNDS
from projections.refunds import PaymentRefunds
from projections.session_figures import NAMES
from projections.session_rows import SessionRows

FOLLOWING: tuple[SessionRows[Any], ...] = (PaymentRefunds(), PaymentCases())
"""The projections with rows of a session, which are named for their tables."""

RULES = {REFUNDS: "refunds", CASES: "cases"}

SEARCHED_OTHERWISE = f"""
SELECT session.session_id FROM payment_sessions AS session LEFT JOIN {SEARCH} AS known USING (session_id)
WHERE session.session_id = ANY(%s)
  AND ({", ".join(f"session.{name}" for name in SEARCHED)})
      IS DISTINCT FROM ({", ".join(f"known.{name}" for name in SEARCHED)})
"""  # noqa: S608 - as below

BUILT = "SELECT coalesce(max(projection_version), 1) AS version FROM projection_rebuilds WHERE name = %s"
METRICS_AHEAD = f"""
SELECT session_id, version, topic, state::text AS state, recorded_at, {COLUMNS} FROM payment_events
WHERE origin = %(origin)s AND position > %(after)s AND topic = ANY(%(topics)s)
"""  # noqa: S608 - made of names of our own


def status_row_is_fold(log: SessionLog) -> Iterator[Violation]:
    """The status row equals a fold of its events, column for column."""
    stored, expected = log.status_row, status_row(log.folded)
    if stored is None:
        yield log.violation("rows", "it has events and no row in payment_sessions")
    elif stored != expected:
        for name in expected.keys() | stored.keys():
            if name not in expected or name not in stored or expected[name] != stored[name]:
                yield log.violation("rows", f"{name} in payment_sessions is not what its events say")


def refunds_and_cases(ids: SessionIds, logs: Sequence[SessionLog], reader: Reader) -> Iterator[Violation]:
    """The rows of refunds and cases equal a fold of the followed events."""
    for projection in FOLLOWING:
        until, stored = reader.terms.followed[projection.name], defaultdict[UUID, list[dict[str, Any]]](list)
        for row in reader.connection.execute(projection.select.encode(), (ids,)):
            stored[row["session_id"]].append(row)
        for log in logs:
            if log.is_readable:
                fault = projection.fault(log.followed(until), stored[log.session_id] if stored else ())
                if fault:
                    yield log.violation(RULES[projection.name], f"{projection.name} {fault}")


def search(ids: SessionIds, logs: Sequence[SessionLog], reader: Reader) -> Iterator[Violation]:
    """What auditors find a session by is what its status row says, once its last event is followed."""
    until = reader.terms.followed[SEARCH]
    others = {row["session_id"] for row in reader.connection.execute(SEARCHED_OTHERWISE.encode(), (ids,))}
    for log in logs if others else ():
        if log.session_id in others and log.recorded and log.recorded[-1].position <= until:
            yield log.violation("search", f"its row in {SEARCH} is not what payment_sessions says")


def metrics(
    connection: Connection[Any], origin: int, macs: EventMacs | None, moves: Moves | None
) -> Iterator[Violation]:
    """The metrics equal a fold of the followed events, and the counted rows of sessions a fold of all events.

    So do the hours of all sessions among the sums of figures. Without `moves`, those of the whole log, they are
    compared with the rows of sessions alone.
    """
    rows = _by_hour(connection, FROM_SESSIONS)
    if moves is not None:
        detail = "the rows of payment_sessions do not count up to what the events come to"
        yield from _differences(detail, rows, moves.figures())
    for table, statement in ((METRICS, READ_ALL), (FIGURE_SUMS, READ_HOURS)):
        followed = {hour: Counter(figures) for hour, figures in (moves.figures() if moves else rows).items()}
        values = {
            "origin": origin,
            "after": position_of(connection, table, origin),
            "topics": list(PaymentMetrics.topics),
        }
        ahead = genuine(stream(connection, f"{table}_ahead", METRICS_AHEAD, values), macs)
        for hour, figures in fold(map(recorded, ahead)).items():
            followed.setdefault(hour, Counter()).subtract(figures)
        detail = f"{table} is not what the events come to"
        yield from _differences(detail, _by_hour(connection, statement), followed)


def figures(connection: Connection[Any], sums: Sums) -> Iterator[Violation]:
    """The sums of figures by day and month, in all and by group, are what the followed events come to, and so by hour.

    Not while a version of the code before has made them: the worker rebuilds them then.
    """
    [built] = connection.execute(BUILT, (FIGURE_SUMS,))
    if built["version"] != FIGURES_VERSION:
        return
    expected = {(grain, place): _compared(total) for grain, place, total in sums.by_grain()}
    for row in stream(connection, f"{FIGURE_SUMS}_sums", READ_SUMS):
        key = row["grain"], (row["dimension"], row["start"], row["value"])
        stored = [*row["payments"]], [row[name] for name in NAMES]
        if expected.pop(key, None) != stored:
            yield _wrong_sum(*key)
    for grain, place in expected:
        yield _wrong_sum(grain, place)
    for row in connection.execute(DAYS_UNLIKE_HOURS.encode()):
        yield _wrong_sum("hours of the day", (row["dimension"], row["day"], row["value"]))


def _compared(total: Sum) -> tuple[list[int], list[int]]:
    return total.intervals(), list(total.figures().values())


def _wrong_sum(grain: str, place: Place) -> Violation:
    dimension, start, value = place
    of_group = f" of {dimension} {value or 'none'}" if dimension != "all" else ""
    detail = f"{FIGURE_SUMS} is not what the events come to in the {grain} of {start.isoformat()}{of_group}"
    return Violation("metrics", detail)


def _by_hour(connection: Connection[Any], statement: str) -> dict[datetime, dict[str, int]]:
    return {row.pop("hour"): row for row in connection.execute(statement.encode()).fetchall()}


def _differences(
    detail: str, stored: Mapping[datetime, Mapping[str, int]], expected: Mapping[datetime, Mapping[str, int]]
) -> Iterator[Violation]:
    for hour in sorted(stored.keys() | expected.keys()):
        of_store, of_log = stored.get(hour, {}), expected.get(hour, {})
        if any(of_store.get(name, 0) != of_log.get(name, 0) for name in FIGURES):
            yield Violation("metrics", f"{detail} in the hour of {hour.isoformat()}")
