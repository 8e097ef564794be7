"""The worker's loops: a thread a job, each with its own pace, all ended by one event."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Protocol

import structlog

from ledger.errors import Unavailable
from ledger.store.locks import ActiveLock

FIRST_PAUSE_AFTER_FAILURE_SECONDS = 1.0
MAX_PAUSE_AFTER_FAILURE_SECONDS = 30.0
STAND_BY_SECONDS = 2.0
PATIENT_ROUNDS = 50
"""After so many rounds without work a rest has doubled."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Job:
    """Something to do again and again: `work` returns how much it did.

    After a round without work it rests `rest_seconds`, and ever longer up to `longest_rest_seconds` while there is
    none. Where another worker holds `lock`, this one stands by.
    """

    name: str
    work: Callable[[], int]
    rest_seconds: float
    max_rest_seconds: float
    lock: ActiveLock | None = None

    def rest(self, idle_rounds: int) -> float:
        """Return for how many seconds to rest after so many rounds without work."""
        if self.lock is not None and not self.lock.was_held:
            return STAND_BY_SECONDS
        longer = self.rest_seconds * (1 + idle_rounds / PATIENT_ROUNDS)
        return min(longer, self.max_rest_seconds)


class Stop(Protocol):
    """Says when to end, and lets a job rest until then: a `threading.Event`."""

    def is_set(self) -> bool:
        """Whether the end has come."""

    def wait(self, timeout: float) -> bool:
        """Rest for so many seconds, or until the end; return whether it has come."""


def run_jobs(all_jobs: list[Job], stop: Event) -> None:
    """Run each job in a thread of its own until `stop` is set, then wait for what is under way."""
    threads = [Thread(target=run_job, args=(job, stop), name=job.name) for job in all_jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_job(job: Job, stop: Stop) -> None:
    """Do one job until `stop` is set."""
    idle_rounds = failures = 0
    while not stop.is_set():
        try:
            done = job.work()
        except Exception as error:  # noqa: BLE001 - a fault of one job must not stop the others; it is said, and tried again
            _report(job, error)
            stop.wait(_pause_after(error, failures))
            failures += 1
            continue
        failures = 0
        idle_rounds = 0 if done else idle_rounds + 1
        if not done:
            stop.wait(job.rest(idle_rounds))
    if job.lock is not None:
        job.lock.release()


def _pause_after(error: Exception, failures: int) -> float:
    """Return for how long a job that failed waits: ever longer for a fault, about a second for a silent database."""
    if isinstance(error, Unavailable):
        return FIRST_PAUSE_AFTER_FAILURE_SECONDS
    return min(FIRST_PAUSE_AFTER_FAILURE_SECONDS * 2.0 ** min(failures, 10), MAX_PAUSE_AFTER_FAILURE_SECONDS)


def _report(job: Job, error: Exception) -> None:
    if isinstance(error, Unavailable):
        _log.warning("job_waits_for_database", job=job.name)
    else:
        _log.error("job_failed", job=job.name, exc_info=error)
