"""Verification on a schedule, in a process of its own: the worker's threads go on while a large log is folded."""

import os
from collections.abc import Callable
from datetime import timedelta

import structlog

from ledger.store.locks import ActiveLock, LockConnection
from payments.child_process import NICENESS, RetriedProcess
from payments.verification.verifier import Verifier, be_silent, open_store

LOCK_NAME = "verification run"
"""Another name than the job's: the worker that starts the run holds that one."""

_log = structlog.get_logger(__name__)


class ScheduledVerification:
    """Starts a run where one is due, and sees to its end. `run_apart` makes it, as `ChildProcess` calls it."""

    def __init__(self, verifier: Verifier, run_apart: Callable[[], None]) -> None:
        self._verifier = verifier
        self._process = RetriedProcess(run_apart, "verification_failed")

    def run(self) -> int:
        """Look after the run under way, or start one; return how many ended without a failure. Raises Unavailable."""
        return self._succeeded() if self._process.run(lambda: self._verifier.due() is not None) else 0

    @property
    def is_running(self) -> bool:
        """Whether a run was started whose end was not seen to yet."""
        return self._process.is_started

    def wait(self) -> int:
        """Wait for the end of the run under way, if there is one; return how many have ended without a failure."""
        self._process.join()
        return self.run() if self._process.is_started else 0

    def _succeeded(self) -> int:
        last = self._verifier.last()
        if last is not None:  # Another worker may be at it, and has not ended yet.
            log = _log.error if last.violations else _log.info
            violations = len(last.violations)
            log(
                "verified", run_id=str(last.run_id), form=last.form, events=last.events, violations=violations
            )
        return 1


def run_if_due(
    database_url: str,
    role: str,
    master_key: bytes,
    prompt_seconds: int,
    every: timedelta,
    configure_logging: Callable[[], object] = be_silent,
) -> None:
    """Make the run that is due in this process, unless another is doing so, or has just done it. Raises Unavailable."""
    os.nice(NICENESS)
    database, vault = open_store(database_url, role, master_key, configure_logging)
    lock = ActiveLock(LockConnection(database_url), LOCK_NAME)
    try:
        verifier = Verifier(database, vault, prompt_seconds=prompt_seconds, every=every)
        if lock.try_acquire() and (form := verifier.due()):
            verifier.run(form=form)
    finally:
        lock.release()
        database.close()
