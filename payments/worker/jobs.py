"""The worker's loops: a thread a job, each with its own pace, all ended by one event."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Protocol

import structlog

from api.settings import Settings
from api.wiring import Services, build_services
from ledger import clock
from ledger.errors import Unavailable
from ledger.store.locks import ActiveLock, LockConnection
from payments.confirmation.status_poller import StatusPoller
from payments.fulfilment.order_process import OrderMaker
from payments.refunds.approval_policy import RefundPolicy, approve_again
from payments.worker.event_processor import MAX_WORKERS, EventProcessor, Handler
from payments.worker.sweeps import act_on_messages, expire_sessions, purge
from projections.cases import PaymentCases
from projections.follower import Follower
from projections.metrics import PaymentMetrics
from projections.refunds import PaymentRefunds

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


def run(settings: Settings, stop: Event) -> None:
    """Do all jobs until `stop` is set. Several workers may run: for each job one is active, the others stand by."""
    services = build_services(settings)
    try:
        run_jobs(jobs(services), stop)
    finally:
        services.close()


def jobs(
    services: Services, *, locks: LockConnection | None = None, max_workers: int = MAX_WORKERS
) -> list[Job]:
    """Return every job of the worker.

    Their locks live on `locks`, by default a connection of their own. Each reaction handles `hands` sessions at once.
    """
    maker = _JobMaker(services, locks or LockConnection(services.database.url), max_workers)
    return maker.following() + maker.refunding() + maker.by_the_clock()


@dataclass(frozen=True)
class _JobMaker:
    services: Services
    locks: LockConnection
    max_workers: int

    def following(self) -> list[Job]:
        """What follows the log."""
        ours = self.services
        is_automatic = ours.settings.daftari_refund_policy == "auto"
        orders = self._process(OrderMaker(ours.ledger, ours.vault, ours.shop))
        policy = self._process(RefundPolicy(ours.ledger, is_automatic=is_automatic))
        metrics = Follower(ours.database, PaymentMetrics())
        refunds = Follower(ours.database, PaymentRefunds())
        cases = Follower(ours.database, PaymentCases())
        return [
            Job("orders", orders.run_once, 0.02, 0.2, orders.lock),
            Job("orders_again", lambda: orders.retry_due(clock.now()), 1, 1, orders.lock),
            Job("payment_metrics", metrics.run_once, 0.1, 0.5),
            Job("payment_refunds", refunds.run_once, 0.1, 0.5),
            Job("payment_cases", cases.run_once, 0.1, 0.5),
            Job("refund_policy", policy.run_once, 0.2, 1, policy.lock),
            Job("refund_policy_again", lambda: policy.retry_due(clock.now()), 1, 1, policy.lock),
        ]

    def refunding(self) -> list[Job]:
        """What is done about money on its way back."""
        ours = self.services
        return [
            self._alone("refund_sending", ours.refund_sender.run, 0.5, 1),
            self._alone("refund_retries", lambda: approve_again(ours.ledger), 5, 5),
            self._alone("refund_doubts", ours.refund_status_checks.put_in_doubt, 5, 5),
            self._alone("refund_questions", ours.refund_status_checks.ask, 5, 5),
        ]

    def by_the_clock(self) -> list[Job]:
        """What is done now and again."""
        ours, settings, matcher = self.services, self.services.settings, self.services.matcher
        status_poller = StatusPoller(settings, ours.ledger, ours.settlement, ours.checks)
        seal_seconds = settings.daftari_seal_seconds
        found = [
            self._alone("letters", lambda: act_on_messages(ours), 0.2, 0.5),
            self._alone("expiry", lambda: expire_sessions(ours), 2, 2),
            self._alone("ladder", status_poller.run, 1, 1),
            self._alone(
                "money_left_over", lambda: matcher.act_on_unprocessed() + matcher.act_on_claimed(), 10, 10
            ),
            self._alone("signing_blocks", ours.block_signer.run, seal_seconds, seal_seconds),
            self._alone("tidying", lambda: purge(ours), 60, 60),
            self._alone("unproven_letters", ours.inbox.purge_unauthenticated, 10, 10),
        ]
        if settings.daftari_pull == "on":
            found.append(self._alone("pull", ours.transaction_poller.pull_if_due, 30, 30))
        if settings.daftari_verify_hours > 0:
            found.append(self._alone("verifying", ours.verifier.run_if_due, 60, 60))
        return found

    def _process(self, handler: Handler) -> EventProcessor:
        return EventProcessor(self.services.database, handler, locks=self.locks, max_workers=self.max_workers)

    def _alone(self, name: str, work: Callable[[], int], rest: float, max_rest: float) -> Job:
        """Return a job that only one of several workers does."""
        lock = ActiveLock(self.locks, name)
        return Job(name, lambda: work() if lock.try_acquire() else 0, rest, max_rest, lock)


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
