"""The worker's loops: one thread a job, each at its own pace, all stopped by one event."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import Protocol

import structlog

from ledger import clock
from ledger.errors import Unavailable
from ledger.store.counters import JOB_FAILURES
from ledger.store.locks import ActiveLock
from payments.retry_schedule import RetrySchedule

RETRY_SCHEDULE = RetrySchedule.doubling(timedelta(seconds=1), timedelta(seconds=30))
STAND_BY_SECONDS = 1.0
"""A worker that was killed is replaced within two seconds: by then its connection is gone, and another has asked."""
ROUNDS_TO_DOUBLE = 50
"""After this many rounds without work the rest has doubled, unless the job says otherwise."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Job:
    """Work to do again and again: `work` returns how much it did.

    After a round that did less than a `full_round` there is no more to do now: it rests `rest_seconds`, and ever longer
    up to `max_rest_seconds` while there is nothing. Where another worker holds `lock`, this one stands by. It
    rests as long as its rounds take if that is `usual_seconds`, and as many times longer as they are longer: the
    busier the machine, the less it asks of it.
    """

    name: str
    work: Callable[[], int]
    rest_seconds: float
    max_rest_seconds: float
    lock: ActiveLock | None = None
    full_round: int = 1
    rounds_to_double: int = ROUNDS_TO_DOUBLE
    usual_seconds: float = math.inf

    def rest(self, idle_rounds: int, took: timedelta) -> float:
        """Return how many seconds to rest after so many rounds without work, where a round takes so long."""
        if self.lock is not None and not self.lock.was_held:
            return STAND_BY_SECONDS
        longer = self.rest_seconds * (1 + idle_rounds / self.rounds_to_double)
        yielded = max(0.0, took.total_seconds()) ** 2 / self.usual_seconds
        return min(max(longer, yielded), self.max_rest_seconds)


class Stop(Protocol):
    """Tells a job when to end, and lets it rest until then: a `threading.Event`."""

    def is_set(self) -> bool:
        """Whether to end."""

    def wait(self, timeout: float) -> bool:
        """Rest for so many seconds, or until the end; return whether to end."""


def run_jobs(all_jobs: list[Job], stop: Event) -> None:
    """Run each job in a thread of its own until `stop` is set, then wait for the rounds under way."""
    threads = [Thread(target=run_job, args=(job, stop), name=job.name) for job in all_jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_job(job: Job, stop: Stop) -> None:
    """Do one job until `stop` is set."""
    idle_rounds = failures = 0
    said: str | None = None
    rounds = deque[timedelta](maxlen=3)
    while not stop.is_set():
        began_at = clock.now()
        try:
            done = job.work()
        except Exception as error:  # noqa: BLE001 - an error of one job must not stop the others; it is logged and retried
            JOB_FAILURES.add(job.name)
            said = _report(job, error, said)
            failures += 1
            stop.wait(_pause_after(error, failures).total_seconds())
            continue
        if said is not None:
            _log.info("job_goes_on", job=job.name, failures=failures)
        said, failures = None, 0
        idle_rounds = 0 if done else idle_rounds + 1
        if done < job.full_round:
            took = clock.now() - began_at
            if done:  # One that had to wait once is no sign of a busy machine: two of three are.
                rounds.append(took)
                took = sorted(rounds)[len(rounds) // 2]
            stop.wait(job.rest(idle_rounds, took))
    if job.lock is not None:
        job.lock.release()


def _pause_after(error: Exception, failures: int) -> timedelta:
    """Return how long a failed job waits: ever longer, but one second where the database does not answer."""
    return RETRY_SCHEDULE.pause_after(1 if isinstance(error, Unavailable) else failures)


def _report(job: Job, error: Exception, said: str | None) -> str:
    """Log why a job fails, once for each reason in a row; return the reason."""
    reason = str(error) if isinstance(error, Unavailable) else type(error).__qualname__
    if reason == said:
        return reason
    if isinstance(error, Unavailable):
        _log.warning("job_waits_for_database", job=job.name, reason=reason)
    else:
        _log.error("job_failed", job=job.name, exc_info=error)
    return reason
