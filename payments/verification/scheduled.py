"""Verification on a schedule, in a process of its own: the worker's threads go on while a large log is folded."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess

import structlog

from ledger import clock
from ledger.store.locks import ActiveLock, LockConnection
from payments.retry_schedule import RetrySchedule
from payments.verification.verifier import Verifier, be_silent, open_store

RETRY_SCHEDULE = RetrySchedule.doubling(timedelta(minutes=1), timedelta(hours=6))
"""How long a run that failed is not started again: it may have read for an hour before."""

LOCK_NAME = "verification run"
"""Another name than the job's: the worker that starts the run holds that one."""
NICENESS = 10
"""A run gives way to payments."""

_log = structlog.get_logger(__name__)


class ScheduledVerification:
    """Starts a run where one is due, and sees to its end. A run ends with the process that started it.

    `run_apart` is called in a new process, and has to be a function of a module or a partial of one.
    """

    def __init__(self, verifier: Verifier, run_apart: Callable[[], None]) -> None:
        self._verifier = verifier
        self._run_apart = run_apart
        self._process: SpawnProcess | None = None
        self._failures = 0
        self._not_before = datetime.min.replace(tzinfo=UTC)

    def run(self) -> int:
        """Look after the run under way, or start one; return how many ended without a failure. Raises Unavailable."""
        if self._process is None:
            if clock.now() >= self._not_before and self._verifier.due():
                self._process = get_context("spawn").Process(target=self._run_apart, daemon=True)
                self._process.start()
            return 0
        if self._process.is_alive():
            return 0
        exit_code, self._process = self._process.exitcode, None
        return self._succeeded() if exit_code == 0 else self._failed(exit_code)

    @property
    def is_running(self) -> bool:
        """Whether a run was started whose end was not seen to yet."""
        return self._process is not None

    def wait(self) -> int:
        """Wait for the end of the run under way, if there is one; return how many have ended without a failure."""
        if self._process is None:
            return 0
        self._process.join()
        return self.run()

    def _succeeded(self) -> int:
        self._failures = 0
        last = self._verifier.last()
        if last is not None:  # Another worker may be at it, and has not ended yet.
            log = _log.error if last.violations else _log.info
            violations = len(last.violations)
            log(
                "verified", run_id=str(last.run_id), form=last.form, events=last.events, violations=violations
            )
        return 1

    def _failed(self, exit_code: int | None) -> int:
        self._failures += 1
        self._not_before = clock.now() + RETRY_SCHEDULE.pause_after(self._failures)
        _log.error(
            "verification_failed",
            exit_code=exit_code,
            failures=self._failures,
            tried_again_at=self._not_before.isoformat(),
        )
        return 0


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
