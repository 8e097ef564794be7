"""One round for all views that are caught up: one look at the log, and one commit for all their changes.

A view that is behind, or that fails, has rounds of its own until it is caught up, and holds up no other.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from psycopg import Connection

from ledger.store.database import Database
from ledger.store.locks import ActiveLock
from projections.follower import Batch, Follower, LogReader, Place
from projections.stored_positions import MOVE_ON

_log = structlog.get_logger(__name__)

Steps = Mapping[Follower, Batch]


class SharedRounds:
    """The rounds of a worker's views. Of several workers one follows the log with its views: it holds the lock."""

    def __init__(self, database: Database, log: LogReader, lock: ActiveLock) -> None:
        self.lock = lock
        self._database = database
        self._log = log
        self._sharing: set[Follower] = set()

    def run_own(self, follower: Follower) -> int:
        """Have a view apply its next batch unless it shares rounds; return how many events were read.

        It shares them as soon as it is caught up. Raises what its projection raises, and Unavailable.
        """
        if follower in self._sharing or not self.lock.try_acquire():
            return 0
        read = follower.run_once()
        if read < follower.batch_size:
            self._sharing.add(follower)
        return read

    def run_once(self) -> int:
        """Apply what came to all views that share rounds; return how many events were read. Raises Unavailable."""
        if not self.lock.try_acquire():
            return 0
        end = self._log.look(anew=True)
        steps: dict[Follower, Batch] = {}
        # A copy: the jobs of views add theirs in threads of their own.
        for follower in sorted(self._sharing.copy(), key=lambda each: each.name):
            batch = follower.recent(end)
            if batch is None:
                self._sharing.discard(follower)  # It is behind, by more than is in memory.
            elif batch.read:
                steps[follower] = batch
        if any(batch.wanted for batch in steps.values()):
            self._take(steps, end)
        else:
            for follower, batch in steps.items():
                follower.pass_over(batch)
        return max((batch.read for batch in steps.values()), default=0)

    def _take(self, steps: Steps, end: Place) -> None:
        """Apply batches in one commit. A view that fails undoes it, and goes its own way."""
        applying: Follower | None = None
        try:
            with self._database.transaction() as connection:
                moved = _move_on(connection, steps, end)
                for follower, batch in steps.items():
                    if batch.wanted and follower.name in moved:
                        applying = follower
                        follower.projection.apply(connection, batch.wanted)
                applying = None
        except Exception as error:
            if applying is None:
                raise
            self._sharing.discard(applying)
            _log.warning("view_goes_alone", view=applying.name, error=type(error).__qualname__)
            return
        for follower, batch in steps.items():
            if follower.name in moved:
                follower.read_until = batch.until
            else:
                self._sharing.discard(follower)  # Somebody else is at it, or was.
        self._log.saved({each.name: batch.last for each, batch in steps.items() if each.name in moved})


def _move_on(connection: Connection[Any], steps: Steps, end: Place) -> set[str]:
    """Take the locks of views and move their positions; return the names of those that may be changed."""
    names = [follower.name for follower in steps]
    read_until = [follower.read_until.position for follower in steps if follower.read_until is not None]
    last = [batch.last for batch in steps.values()]
    return {row["name"] for row in connection.execute(MOVE_ON, (names, read_until, last, end.origin))}
