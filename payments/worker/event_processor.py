"""Event processors hand events to handlers that act on the world: each at least once, and a failure blocks no other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import structlog

from ledger import clock
from ledger.errors import Conflict, DatabaseUnavailable, LedgerError, Unavailable
from ledger.store.database import Database
from ledger.store.event_macs import EventForged
from ledger.store.locks import ActiveLock, LockConnection
from ledger.store.metadata import Cause, caused_by
from payments.retry_schedule import RetrySchedule
from payments.thread_groups import act_in_groups
from payments.worker.left_over import LEFT_OVER_AFTER
from projections.follower import CATCH_UP, Batch, LogReader, Place, Recorded, position_of, read_end, recorded

BATCH_SIZE = 100
MAX_WORKERS = 4
"""How many sessions are handled at once: a handler mostly waits for PostgreSQL."""
MAX_TRIES = 12
RETRY_SCHEDULE = RetrySchedule.doubling(timedelta(seconds=1), timedelta(minutes=5))
OUTAGE_PAUSE = timedelta(seconds=15)
"""Before the retry of what an outage or a deadlock stopped; such a try does not count."""

KEEP_FAILURE = """
INSERT INTO follower_failures (name, session_id, version, topic, error, tries, next_try_at, first_failed_at, state)
VALUES (%(name)s, %(session_id)s, %(version)s, %(topic)s, %(error)s, 1, %(next_try_at)s, %(now)s, %(state)s)
ON CONFLICT (name, session_id, version) DO NOTHING
"""
DUE = """
SELECT e.session_id, e.version, e.topic, e.state::text AS state, e.position, e.recorded_at, f.tries
FROM follower_failures AS f JOIN payment_events AS e USING (session_id, version)
WHERE f.name = %s AND f.state = 'retrying' AND f.next_try_at <= %s
ORDER BY f.next_try_at LIMIT %s
"""
FORGET_FAILURE = "DELETE FROM follower_failures WHERE name = %s AND session_id = %s AND version = %s"
COUNT_FAILURE = """
UPDATE follower_failures SET error = %(error)s, tries = %(tries)s, next_try_at = %(next_try_at)s, state = %(state)s
WHERE name = %(name)s AND session_id = %(session_id)s AND version = %(version)s
"""
LIST_DEAD_LETTERED = """
SELECT name, session_id, version, topic, error, tries, first_failed_at FROM follower_failures
WHERE state = 'set_aside' ORDER BY first_failed_at, session_id, version LIMIT %s OFFSET %s
"""
CLOSE = """
UPDATE follower_failures SET state = 'closed', closed_at = %s, closed_by = %s, note = %s
WHERE name = %s AND session_id = %s AND version = %s AND state = 'set_aside'
"""
TRY_AGAIN = """
UPDATE follower_failures SET state = 'retrying', tries = 0, next_try_at = %s
WHERE name = %s AND session_id = %s AND version = %s AND state = 'set_aside'
"""

_log = structlog.get_logger(__name__)


class EventHandler(Protocol):
    """Acts on events.

    `handle` may be called again for an event it has handled, so it does nothing the second time. It runs outside the
    processor's transactions. An exception is recorded and the event is retried later; it is dead-lettered after
    MAX_TRIES, unless what failed was an outage (Unavailable) or a deadlock (Conflict), which pass. An
    outage of the database ends the round.
    """

    @property
    def name(self) -> str:
        """The key of its position and its failures."""

    @property
    def topics(self) -> Sequence[str]:
        """The topics it acts on; none means all."""

    def handle(self, recorded: Recorded) -> None:
        """Act on one event."""


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """An event that its handler failed on in every try. It is a case for an operator."""

    name: str
    session_id: UUID
    version: int
    topic: str
    error: str
    tries: int
    first_failed_at: datetime


class EventProcessor:
    """Feeds one handler. Of several workers one is active: it holds a lock for as long as its connection lives.

    The lock is one of `locks`, by default on a connection of its own. `max_workers` is how many sessions are handled
    at once: with one, nothing runs in another thread. What came lately is in `log`, which the followers of a process
    share. After an event of the topics `settled_by` there is nothing left to do about earlier ones of its session.
    """

    def __init__(
        self,
        database: Database,
        handler: EventHandler,
        batch_size: int = BATCH_SIZE,
        *,
        locks: LockConnection | None = None,
        max_workers: int = MAX_WORKERS,
        log: LogReader | None = None,
        settled_by: Sequence[str] = (),
    ) -> None:
        self.handler = handler
        self.lock = ActiveLock(locks or LockConnection(database.url), handler.name)
        self._database = database
        self.batch_size = batch_size
        self._max_workers = max_workers
        self._log = log or LogReader(database, None)
        self._settled_by = settled_by
        self._limit = batch_size
        self._read_until: Place | None = None
        self._left_over_after = 0

    def run_once(self) -> int:
        """Handle the next batch; return how many events were read: 0 when caught up, or on standby.

        Raises Unavailable where PostgreSQL does not answer; then the batch is handled again.
        """
        if not self.lock.held():
            self._read_until = None  # Another may have been active since.
        if not self.lock.try_acquire():
            return 0
        end = self._log.look()
        if end == self._read_until:
            return 0  # Nothing new can have appeared below it.
        batch = self._next_batch(end).first(self.batch_size)
        events = self._open_events(batch.wanted)
        self._process_all(events)
        if events:
            with self._database.connection() as connection:
                self._log.saved(self._log.store(connection, end, {self.handler.name: batch.last}))
        else:
            self._log.pass_over(self.handler.name, batch)
        self._read_until = batch.until
        return batch.read

    def _next_batch(self, end: Place) -> Batch:
        topics = (*self.handler.topics, *self._settled_by)
        batch = self._log.recent(self._read_until, end, topics, self._settled_by)
        if batch is None:
            with self._database.connection() as connection:
                after = self._read_until
                if after is None or after[:2] != end[:2]:
                    after = end._replace(position=position_of(connection, self.handler.name, end.origin))
                batch = self._log.read(connection, after, end, topics, self._limit, self._settled_by)
            self._limit = self.batch_size * (CATCH_UP if batch.read == self._limit else 1)
        return batch

    def _open_events(self, events: Sequence[Recorded]) -> list[Recorded]:
        """Return those for the handler, without those that a later one of the batch has settled."""
        settled = {event.session_id: event.version for event in events if event.topic in self._settled_by}
        return [
            event
            for event in events
            if event.topic not in self._settled_by and event.version > settled.get(event.session_id, 0)
        ]

    def retry_due(self, now: datetime) -> int:
        """Retry the failed events that are due; return how many."""
        if not self.lock.try_acquire():
            return 0
        with self._database.connection() as connection:
            rows = connection.execute(DUE, (self.handler.name, now, self.batch_size)).fetchall()
        for row in rows:
            self._retry(recorded(row), row["tries"] + 1, now)
        return len(rows)

    def handle_left_over(self, statement: str, now: datetime) -> int:
        """Handle the next batch of events that a statement of `payments.worker.left_over` finds by status rows.

        What fails is kept and retried as ever. What is found again, because its handler does nothing about it, has its
        turn after the others. Returns 0: how much was done shows only in the next look.
        """
        if not self.lock.try_acquire():
            return 0
        with self._database.connection() as connection:
            end = read_end(connection)
            values = {
                "name": self.handler.name,
                "topics": list(self.handler.topics),
                "before": now - LEFT_OVER_AFTER,
                "origin": end.origin,
                "horizon": end.position + 1,
                "followed": position_of(connection, self.handler.name, end.origin),
                "after": self._left_over_after,
                "limit": self.batch_size,
            }
            batch = [recorded(row) for row in connection.execute(statement.encode(), values).fetchall()]
        self._process_all(batch)
        self._left_over_after = batch[-1].position if len(batch) == self.batch_size else 0
        return 0

    def _process_all(self, batch: Sequence[Recorded]) -> None:
        """Handle several sessions at once, and the events of one session in order."""
        act_in_groups(self._process, batch, lambda event: event.session_id, self._max_workers)

    def _process(self, event: Recorded) -> None:
        error = self._error_of(event)
        if error is not None:
            now = clock.now()
            values = self._failure(event, error, 1, now + RETRY_SCHEDULE.pause_after(1)) | {
                "topic": event.topic,
                "now": now,
            }
            with self._database.connection() as connection:
                connection.execute(KEEP_FAILURE, values)

    def _retry(self, event: Recorded, tries: int, now: datetime) -> None:
        error = self._error_of(event)
        with self._database.connection() as connection:
            if error is None:
                connection.execute(FORGET_FAILURE, (self.handler.name, event.session_id, event.version))
                return
            pause = RETRY_SCHEDULE.pause_after(tries)
            if isinstance(error, (Unavailable, Conflict)):
                tries, pause = tries - 1, OUTAGE_PAUSE
            connection.execute(COUNT_FAILURE, self._failure(event, error, tries, now + pause))

    def _failure(
        self, event: Recorded, error: Exception, tries: int, next_try_at: datetime
    ) -> dict[str, Any]:
        """Return the columns of a failure: dead-lettered after the last try, and at once for a forged event."""
        is_last = tries >= MAX_TRIES or isinstance(error, EventForged)
        return {
            "name": self.handler.name,
            "session_id": event.session_id,
            "version": event.version,
            "error": describe(error),
            "tries": tries,
            "next_try_at": None if is_last else next_try_at,
            "state": "set_aside" if is_last else "retrying",
        }

    def _error_of(self, event: Recorded) -> Exception | None:
        try:
            with caused_by(Cause.EVENT, process=self.handler.name, source=str(event.version), actor="system"):
                self.handler.handle(event)
        except DatabaseUnavailable:
            raise  # It says nothing about the event, which is tried again as soon as the database is well.
        except Exception as error:  # noqa: BLE001 - it is recorded, retried, and shown to an operator in the end
            _log.warning(
                "event_not_handled",
                processor=self.handler.name,
                session_id=str(event.session_id),
                version=event.version,
                topic=event.topic,
                error=describe(error),
            )
            return error
        return None


def describe(error: Exception) -> str:
    """Describe an error without its data: the message of a foreign exception may hold personal data."""
    return str(error) if isinstance(error, LedgerError) else type(error).__qualname__


def list_dead_lettered(database: Database, *, limit: int = 100, offset: int = 0) -> list[DeadLettered]:
    """Return the dead-lettered events, the oldest first."""
    with database.connection() as connection:
        rows = connection.execute(LIST_DEAD_LETTERED, (limit, offset)).fetchall()
    return [DeadLettered(**row) for row in rows]


def retry_dead_lettered(database: Database, name: str, session_id: UUID, version: int) -> bool:
    """Let a dead-lettered event be tried again from now; return whether there was one."""
    with database.connection() as connection:
        return connection.execute(TRY_AGAIN, (clock.now(), name, session_id, version)).rowcount == 1


def close_dead_lettered(
    database: Database, name: str, session_id: UUID, version: int, *, closed_by: str, note: str
) -> bool:
    """Close a dead-lettered event for an operator; return whether there was one."""
    values = (clock.now(), closed_by, note, name, session_id, version)
    with database.connection() as connection:
        return connection.execute(CLOSE, values).rowcount == 1
