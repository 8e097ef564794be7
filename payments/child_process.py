"""Work in a process of its own, so that the worker's threads go on meanwhile: started, seen to, and tried again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess

import structlog

from ledger import clock
from payments.retry_schedule import RetrySchedule

RETRY_SCHEDULE = RetrySchedule.doubling(timedelta(minutes=1), timedelta(hours=6))
"""How long work that failed is not started again: it may have read for an hour before."""

NICENESS = 10
"""Such work gives way to payments."""

_log = structlog.get_logger(__name__)


class ChildProcess:
    """Runs `work` in a process, one at a time. A worker that stops ends it.

    `work` is called in the new process, and has to be a function of a module or a partial of one.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._process: SpawnProcess | None = None

    @property
    def is_started(self) -> bool:
        """Whether there is one whose end was not seen to yet."""
        return self._process is not None

    def start(self) -> None:
        """Start it."""
        self._process = get_context("spawn").Process(target=self._work, daemon=True)
        self._process.start()

    def take_exit_code(self) -> int | None:
        """Return the exit code of one that has ended, and forget it; None while there is none, or it is at work."""
        if self._process is None or self._process.is_alive():
            return None
        exit_code, self._process = self._process.exitcode, None
        return exit_code

    def join(self) -> None:
        """Wait for the end of the one at work, if there is one."""
        if self._process is not None:
            self._process.join()


class RetriedProcess:
    """A ChildProcess that is started when its work is due, and ever later after a failure: `failed` is then logged."""

    def __init__(self, work: Callable[[], None], failed: str) -> None:
        self._child = ChildProcess(work)
        self._failed = failed
        self._failures = 0
        self._not_before = datetime.min.replace(tzinfo=UTC)

    @property
    def is_started(self) -> bool:
        """Whether one was started whose end was not seen to yet."""
        return self._child.is_started

    def run(self, is_due: Callable[[], bool]) -> bool:
        """Look after the process under way, or start one if it is due; return whether one has ended well."""
        if not self._child.is_started:
            if clock.now() >= self._not_before and is_due():
                self._child.start()
            return False
        exit_code = self._child.take_exit_code()
        if exit_code:
            self._failures += 1
            self._not_before = clock.now() + RETRY_SCHEDULE.pause_after(self._failures)
            _log.error(
                self._failed,
                exit_code=exit_code,
                failures=self._failures,
                tried_again_at=self._not_before.isoformat(),
            )
        elif exit_code == 0:
            self._failures = 0
        return exit_code == 0

    def join(self) -> None:
        """Wait for the end of the one at work, if there is one."""
        self._child.join()
