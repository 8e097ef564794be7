"""Projections that another version of the code has made: rebuilt after an upgrade, in a process of its own."""

import logging
import os
from collections.abc import Callable

import structlog

from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.key_ring import KeyRing
from payments.child_process import NICENESS, RetriedProcess
from projections.rebuilds import outdated, rebuild

_log = structlog.get_logger(__name__)


class RebuildsAfterUpgrade:
    """Starts a process that rebuilds what is outdated, and sees to its end. `rebuild_apart` is what it runs.

    The old rows are read meanwhile, and a rebuild that failed goes on where it was.

    What is outdated is asked once, and again after a rebuild: it changes with the code alone.
    """

    def __init__(self, database: Database, rebuild_apart: Callable[[], None]) -> None:
        self._database = database
        self._process = RetriedProcess(rebuild_apart, "rebuild_failed")
        self._is_done = False

    def run(self) -> int:
        """Look after the rebuild under way, or start one; return how many ended well. Raises Unavailable."""
        if not self._process.run(self._is_due):
            return 0
        _log.info("projections_rebuilt")
        return 1

    def wait(self) -> int:
        """Wait for the end of the rebuild under way, if there is one; return how many ended well."""
        self._process.join()
        return self.run() if self._process.is_started else 0

    def _is_due(self) -> bool:
        if self._is_done:
            return False
        names = outdated(self._database)
        self._is_done = not names
        if names:
            _log.info("projections_outdated", names=names)
        return not self._is_done


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
