"""Projections that another version of the code has made: rebuilt after an upgrade, in a process of its own."""

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess

import structlog

from ledger import clock
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.key_ring import KeyRing
from payments.retry_schedule import RetrySchedule
from projections.rebuilds import outdated, rebuild

RETRY_SCHEDULE = RetrySchedule.doubling(timedelta(minutes=1), timedelta(hours=6))
"""How long a rebuild that failed is not started again; it goes on where it was."""

NICENESS = 10
"""It gives way to payments."""

_log = structlog.get_logger(__name__)


class RebuildsAfterUpgrade:
    """Starts a process that rebuilds what is outdated, and sees to its end. It ends with the process that started it.

    The old rows are read meanwhile. `rebuild_apart` is called in the new process, and has to be a function of a module
    or a partial of one. What is outdated is asked once, and again after a rebuild: it changes with the code alone.
    """

    def __init__(self, database: Database, rebuild_apart: Callable[[], None]) -> None:
        self._database = database
        self._rebuild_apart = rebuild_apart
        self._process: SpawnProcess | None = None
        self._is_done = False
        self._failures = 0
        self._not_before = datetime.min.replace(tzinfo=UTC)

    def run(self) -> int:
        """Look after the rebuild under way, or start one; return how many ended well. Raises Unavailable."""
        if self._process is not None:
            return 0 if self._process.is_alive() else self._ended(self._process.exitcode)
        if self._is_done or clock.now() < self._not_before:
            return 0
        names = outdated(self._database)
        self._is_done = not names
        if names:
            _log.info("projections_outdated", names=names)
            self._process = get_context("spawn").Process(target=self._rebuild_apart, daemon=True)
            self._process.start()
        return 0

    def wait(self) -> int:
        """Wait for the end of the rebuild under way, if there is one; return how many ended well."""
        if self._process is None:
            return 0
        self._process.join()
        return self.run()

    def _ended(self, exit_code: int | None) -> int:
        self._process = None
        if exit_code == 0:
            self._failures = 0
            _log.info("projections_rebuilt")
            return 1
        self._failures += 1
        self._not_before = clock.now() + RETRY_SCHEDULE.pause_after(self._failures)
        _log.error(
            "rebuild_failed",
            exit_code=exit_code,
            failures=self._failures,
            tried_again_at=self._not_before.isoformat(),
        )
        return 0


def rebuild_outdated(database_url: str, role: str, master_key: bytes) -> None:
    """Rebuild what is outdated in this process. Raises Unavailable, also where somebody else is rebuilding it."""
    os.nice(NICENESS)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    database = Database(database_url, max_connections=4, name="daftari rebuild", role=role)
    macs = EventMacs(database, KeyRing(database, master_key))
    try:
        for name in outdated(database):
            rebuild(database, macs, name)
    finally:
        database.close()
