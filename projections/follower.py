"""The loop that feeds the read side: batches of events in the order of their positions, each applied exactly once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
import structlog
from eventsourcing.persistence import JSONTranscoder, StoredEvent
from psycopg import Connection

from ledger.session.events import Event
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from ledger.store.locks import LOCK_KEY
from ledger.store.mapper import SessionMapper
from ledger.store.positions import read_horizon

BATCH_SIZE = 500
MAX_COUNTED = 10_000
"""Where the count of a follower's lag stops."""

_log = structlog.get_logger(__name__)
_MAPPER = SessionMapper(JSONTranscoder())  # The transcoder is the library's; ours writes JSON by itself.

TRY_TO_BE_ACTIVE = f"SELECT pg_try_advisory_xact_lock({LOCK_KEY}) AS active"
BE_ACTIVE = f"SELECT pg_advisory_xact_lock({LOCK_KEY})"
READ_POSITION = "SELECT position FROM follower_positions WHERE name = %s AND origin = %s"
STORE_POSITION = """
INSERT INTO follower_positions (name, origin, position) VALUES (%s, %s, %s)
ON CONFLICT (name, origin) DO UPDATE SET position = greatest(follower_positions.position, excluded.position)
"""
READ_BATCH = f"""
SELECT session_id, version, topic, recorded_at, {COLUMNS},
       CASE WHEN %(topics)s::text[] IS NULL OR topic = ANY(%(topics)s) THEN state::text END AS state
FROM payment_events
WHERE origin = %(origin)s AND position > %(after)s AND position < %(horizon)s
ORDER BY position LIMIT %(limit)s
"""  # noqa: S608 - made of names of our own
LAGS = """
SELECT follower.name, behind.below, behind.held,
       coalesce(extract(epoch FROM clock_timestamp() - behind.oldest), 0)::float8 AS seconds
FROM unnest(%(names)s::text[]) AS follower (name)
LEFT JOIN follower_positions AS reached ON reached.name = follower.name AND reached.origin = %(origin)s
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE position < %(horizon)s) AS below,
           count(*) FILTER (WHERE position >= %(horizon)s) AS held, min(recorded_at) AS oldest
    FROM (SELECT position, recorded_at FROM payment_events
          WHERE origin = %(origin)s AND position > coalesce(reached.position, 0)
          ORDER BY position LIMIT %(limit)s) AS event
) AS behind
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event as the log holds it; `state` is its decoded JSON, `position` its place in the log of its origin."""

    session_id: UUID
    version: int
    topic: str
    state: dict[str, Any]
    position: int
    recorded_at: datetime

    @property
    def happened_at(self) -> datetime:
        """The moment that the event itself names."""
        return datetime.fromisoformat(self.state["timestamp"])

    @property
    def event(self) -> Event:
        """The event as an object of its class."""
        return self.event_of(msgspec.json.encode(self.state))

    def event_of(self, state: bytes) -> Event:
        """Return the event as an object of its class, from the JSON of its state."""
        stored = StoredEvent(self.session_id, self.version, self.topic, state)
        event = _MAPPER.to_domain_event(stored)
        assert isinstance(event, Event)
        return event


class Projection(Protocol):
    """A view that follows the log.

    `apply` works in the transaction that also stores the position,
    from the batch alone: no clock, no network, and no reading but of its own table.
    """

    @property
    def name(self) -> str:
        """The name that its position is stored under."""

    @property
    def topics(self) -> Sequence[str]:
        """The topics it wants, none meaning all."""

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Change the view by these events, in their order."""


class Follower:
    """Feeds one projection. Several may run for a name; one is active in each round, the others stand by.

    An event without our MAC is passed over: a forgery must neither change a view nor stop it.
    """

    def __init__(
        self, database: Database, macs: EventMacs, projection: Projection, batch_size: int = BATCH_SIZE
    ) -> None:
        self.projection = projection
        self._database = database
        self._macs = macs
        self.batch_size = batch_size
        self._caught_up_at: tuple[int, int] | None = None

    def run_once(self) -> int:
        """Apply the next batch; return how many events were read: 0 when caught up, or standing by.

        Raises what the projection raises, after which nothing has happened, and Unavailable.
        """
        with self._database.connection() as connection:
            horizon = read_horizon(connection)
        if horizon == self._caught_up_at:
            return 0  # Nothing new can have appeared below it.
        with self._database.transaction() as connection:
            if not connection.execute(TRY_TO_BE_ACTIVE, (self.projection.name,)).fetchone()["active"]:
                return 0
            read = self.advance(connection, *horizon)
        if not read:
            self._caught_up_at = horizon
        return read

    def catch_up(self) -> int:
        """Apply batches until none is left below the horizon; return how many events were read."""
        total = 0
        while read := self.run_once():
            total += read
        return total

    def advance(self, connection: Connection[Any], origin: int, horizon: int) -> int:
        """Apply the next batch below a horizon, inside a transaction that holds the lock of this name."""
        name = self.projection.name
        after = position_of(connection, name, origin)
        batch, read, last = read_batch(
            connection, origin, after, horizon, self.projection.topics, self.batch_size, self._macs
        )
        if batch:
            self.projection.apply(connection, batch)
        if read:
            connection.execute(STORE_POSITION, (name, origin, last))
        return read


def position_of(connection: Connection[Any], name: str, origin: int) -> int:
    """Return the position of the last event that this follower has applied, 0 before the first."""
    row = connection.execute(READ_POSITION, (name, origin)).fetchone()
    return int(row["position"]) if row else 0


def read_batch(
    connection: Connection[Any],
    origin: int,
    after: int,
    horizon: int,
    topics: Sequence[str],
    limit: int,
    macs: EventMacs | None = None,
) -> tuple[list[Recorded], int, int]:
    """Return the events of these topics among the next `limit` ones, how many there were, and the last's position.

    With `macs`, those without our MAC are left out. `horizon` must have been read in an earlier statement: see
    `ledger.store.positions`.
    """
    values = {
        "origin": origin,
        "after": after,
        "horizon": horizon,
        "topics": list(topics) or None,
        "limit": limit,
    }
    rows = connection.execute(READ_BATCH, values).fetchall()
    wanted = [recorded(row) for row in genuine((row for row in rows if row["state"] is not None), macs)]
    return wanted, len(rows), rows[-1]["position"] if rows else after


def genuine(rows: Iterable[dict[str, Any]], macs: EventMacs | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of the log whose events carry our MAC, and log the others; all of them without `macs`."""
    for row in rows:
        if macs is None or macs.is_genuine(row):
            yield row
        else:
            _log.error("event_forged", session_id=str(row["session_id"]), version=row["version"])


def recorded(row: dict[str, Any]) -> Recorded:
    """Return the event of one row of the log, whose `state` is JSON text."""
    return Recorded(
        row["session_id"],
        row["version"],
        row["topic"],
        msgspec.json.decode(row["state"]),
        row["position"],
        row["recorded_at"],
    )


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a follower is behind.

    `below` events wait below the horizon, `held` ones above it, behind a transaction that is still running (both stop
    counting at MAX_COUNTED together); `seconds` is the age of the oldest of them, by the clock of the database.
    """

    below: int
    held: int
    seconds: float

    @property
    def events(self) -> int:
        """How many events it has not read."""
        return self.below + self.held


def lags(database: Database, names: Iterable[str]) -> dict[str, Lag]:
    """Return how far the followers of these names are behind the log now."""
    with database.connection() as connection:
        origin, horizon = read_horizon(connection)
        values = {"origin": origin, "horizon": horizon, "names": list(names), "limit": MAX_COUNTED}
        rows = connection.execute(LAGS, values).fetchall()
    return {row.pop("name"): Lag(**row) for row in rows}
