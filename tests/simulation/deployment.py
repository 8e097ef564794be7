"""The deployment under test: API and worker processes made of the real services, killed and restarted."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from math import inf
from random import Random
from threading import RLock
from typing import Any
from uuid import UUID

import msgspec
from greenlet import getcurrent, greenlet

from api.daraja_wiring import daraja_client
from api.local.local_settings import local_settings
from api.settings import Settings
from api.wiring import assemble
from daraja.daraja_errors import SubmissionError
from ledger.errors import Unavailable
from ledger.session.events import OrderCreated, Paid
from ledger.store.canonical import chained_hash, event_digest
from ledger.store.locks import ActiveLock, LockConnection
from ledger.store.vault import Vault
from payments.services import Services
from payments.worker.jobs import Job, run_job
from payments.worker.processes import jobs
from tests.simulation.job_schedule import LEFT_OVER_JOBS, VIEWS, JobSchedule
from tests.simulation.memory_database import MemoryDatabase, Tables
from tests.simulation.memory_mpesa import MemoryMpesa
from tests.simulation.memory_shop import MemoryShop, OutsideShop, ShopState
from tests.simulation.mpesa_organisation import SHORTCODE, MpesaOrganisation
from tests.simulation.mpesa_transport import MpesaTransport
from tests.simulation.parts import Effects
from tests.simulation.scheduler import Actor, Crash, Process, Scheduler

MASTER_KEY = b"the simulation's master key 0123"
APIS = ("api 1", "api 2", "api 3")
WORKERS = ("worker 1", "worker 2")
STARTS_WITHIN_SECONDS = (0.5, 20.0)
ROUND_TAKES_SECONDS = 0.02
SOON = (0.02, 0.5)
NOT_SIMULATED = frozenset(
    {"payment_search", "payment_figures", "statement_uploads", "webhook_queue", "webhook_sending"}
)
"""What only auditors and analysts read, what only operators upload, and what others are told."""

REACTS_WITHIN_SECONDS = dict.fromkeys(
    ("views", *VIEWS, "journal_movements"),
    (1.0, 5.0),
)
"""Seconds until a job notices new work; followers read in large batches."""

MAX_CLOCK_OFFSET_SECONDS = 0.9
PULL_TRIES = 5

Work = Callable[[Services], None]


@cache
def _settings() -> Settings:
    return local_settings(
        {
            "DATABASE_URL": "postgresql://memory/",
            "DAFTARI_DATA_DIR": "/nonexistent",
            "DAFTARI_JWT_SECRET": "a-secret-that-the-simulation-never-uses",
            "DAFTARI_MASTER_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "DAFTARI_VERIFY_HOURS": "0",
            "MPESA_BASE_URL": "https://mpesa.example",
            "MPESA_CONSUMER_KEY": "key",
            "MPESA_CONSUMER_SECRET": "secret",
            "MPESA_BUSINESS_SHORTCODE": SHORTCODE,
            "MPESA_PASSKEY": "passkey",
            "MPESA_CALLBACK_URL": "https://shop.example/api/payments/callbacks/",
            "MPESA_INITIATOR_NAME": "initiator",
            "MPESA_SECURITY_CREDENTIAL": "A" * 344,
        }
    )


class MemoryLocks(LockConnection):
    """The locks of one worker; with their connection it may lose them all at any time, and only `is_alive` shows it."""

    def __init__(self, process: Process, deployment: "Deployment") -> None:
        self.process = process
        self.guard = RLock()
        self._deployment = deployment
        self._session = object()

    def acquire(self, name: str) -> Any:
        """Take a lock; return its connection, None if another worker holds it."""
        holder, _ = self._deployment.holders.setdefault(name, (self._session, self.process))
        if holder is not self._session:
            return None
        self._deployment.may_lose_locks(self)
        return self._session

    def is_alive(self, connection: object) -> bool:
        """Say whether the connection of a lock is still alive."""
        return connection is self._session

    def release(self, name: str, connection: object) -> None:
        """Release a lock."""
        if connection is self._session:
            self._deployment.free(name)

    def close_if_idle(self) -> None:
        """Nothing is open."""

    def lose_all(self) -> None:
        """Lose every lock; work under them continues."""
        lost, self._session = self._session, object()
        for name, (holder, _) in list(self._deployment.holders.items()):
            if holder is lost:
                self._deployment.free(name)


@dataclass(eq=False)
class _IdleJob:
    """A waiting job, and until when."""

    task: greenlet
    process: Process
    lock: ActiveLock | None
    due: float


class _Stop:
    """The stop event of a job: never set, and waiting on it costs virtual time."""

    def __init__(self, deployment: "Deployment", job: Job) -> None:
        self._deployment = deployment
        self._job = job

    def is_set(self) -> bool:
        """Return False; a round takes a moment."""
        self._deployment.scheduler.wait(ROUND_TAKES_SECONDS)
        return False

    def wait(self, timeout: float) -> bool:
        """Wait, and longer than `timeout` if there is nothing to do."""
        self._deployment.idle(self._job, timeout)
        return False


class Deployment:
    """All API and worker processes on one database, one shop and one M-Pesa."""

    def __init__(
        self, scheduler: Scheduler, mpesa: MemoryMpesa, organisation: MpesaOrganisation, random: Random
    ) -> None:
        self.scheduler = scheduler
        self.shop = ShopState()
        self.tables = Tables(self.shop.part_doubles())
        self._shop_class = OutsideShop if random.random() < scheduler.odds.outside_shop else MemoryShop
        self.holders: dict[str, tuple[object, Process]] = {}
        self.acknowledged: Counter[str] = Counter()
        self.forged: set[UUID] = set()
        self.errors: list[str] = []
        self.on_order: Callable[[UUID], object] = lambda _: None
        self.schedule = JobSchedule(self.tables, self.wake)
        self.settings = replace(
            _settings(),
            daftari_refund_policy=random.choice(("auto", "auto", "manual")),
            daftari_pull=random.choice(("off", "off", "on")),
        )
        self._mpesa = mpesa
        self._organisation = organisation
        self._random = random
        self.slowness = random.choice((1.0, 3.0, 10.0))
        self._idle_jobs: dict[str, list[_IdleJob]] = {}
        self._services: dict[str, Services] = {}
        self._apis = [Process(name) for name in APIS]
        self._workers = [Process(name) for name in WORKERS]
        scheduler.on_kill = self._restart_later
        self.tables.ledger.on_append = self._appended
        mpesa.deliver = self.deliver
        for process in (*self._apis, *self._workers):
            if random.random() < scheduler.odds.clock_jump:
                process.clock_offset = timedelta(seconds=random.uniform(-1, 1) * MAX_CLOCK_OFFSET_SECONDS)
            self._start(process)
        organisation.confirmation_url = self._services[APIS[0]].c2b.urls[0]

    def services(self) -> Services:
        """Return the services of one process, for checks from outside."""
        return self._services[APIS[0]]

    def request(self, work: Work, on_lost: Callable[[], None]) -> None:
        """Let an API process do `work`; call `on_lost` if it is down or is killed meanwhile."""
        process = self._random.choice(self._apis)
        if not process.is_up:
            self.scheduler.note("process is down", process.name)
            on_lost()
            return
        services = self._services[process.name]

        def serve() -> None:
            try:
                work(services)
            except Crash:
                on_lost()
                raise
            except Exception as error:  # noqa: BLE001 - the API would answer 500; here it is a violation
                self.errors.append(f"a request ended in {error!r}")

        self.scheduler.run_as(Actor(process, Random(self._random.getrandbits(64))), serve)

    def deliver(self, url: str, body: bytes, seconds: float, then: Callable[[], None]) -> None:
        """Post a body of M-Pesa's to its endpoint after some seconds, once; call `then` when it is acknowledged."""
        *_, endpoint, token = url.rstrip("/").rsplit("/", 2)
        is_c2b = url.endswith("/confirmation/")

        def take(services: Services) -> None:
            try:
                if is_c2b:
                    services.c2b.confirm(
                        body, body_bytes=len(body), is_authenticated=services.c2b.proves(endpoint)
                    )
                elif endpoint in ("results", "timeouts"):
                    services.reversal_results.receive(
                        body, body_bytes=len(body), token=token, is_timeout=endpoint == "timeouts"
                    )
                else:
                    attempt_token = token if endpoint == "callbacks" else None
                    services.stk_callbacks.receive(body, body_bytes=len(body), token=attempt_token)
            except Unavailable:
                self.scheduler.note("not acknowledged", endpoint)
                return
            self.acknowledged[hashlib.sha256(body).hexdigest()] += 1
            then()

        def lost() -> None:
            self.scheduler.count_fault("callback not delivered", endpoint)

        self.scheduler.call_later(seconds, lambda: self.request(take, lost))

    def may_lose_locks(self, locks: MemoryLocks) -> None:
        """Draw whether a worker loses its locks soon after it has taken one."""
        actor = self.scheduler.actor
        if actor is not None and actor.random.random() < self.scheduler.step_odds.lock_lost:
            self.scheduler.count_fault("locks lost", locks.process.name)
            self.scheduler.call_later(actor.random.uniform(0.0, 60.0), locks.lose_all)

    def free(self, lock: str) -> None:
        """Free a lock and wake the jobs that wait for it."""
        del self.holders[lock]
        for job, idle in self._idle_jobs.items():
            if any(each.lock is not None and each.lock.name == lock for each in idle):
                self.wake(job, self.scheduler.elapsed)

    def idle(self, job: Job, seconds: float) -> None:
        """Suspend a job until it may have something to do."""
        scheduler, lock = self.scheduler, job.lock
        assert scheduler.actor is not None
        self.schedule.done(job.name, scheduler.elapsed)
        next_round = scheduler.elapsed + seconds * self.slowness * scheduler.actor.random.uniform(0.5, 1.5)
        idle = _IdleJob(getcurrent(), scheduler.actor.process, lock, inf)
        idle_jobs = self._idle_jobs.setdefault(job.name, [])
        idle_jobs.append(idle)
        self._wake_at(job.name, idle, max(next_round, self._due(job.name, idle)))
        try:
            scheduler.suspend()
        finally:
            idle_jobs.remove(idle)

    def wake(self, job: str, at: float) -> None:
        """Wake idle jobs of a name from virtual second `at` on."""
        for idle in self._idle_jobs.get(job, ()):
            if at < idle.due and idle.due == inf:
                seconds = self._random.uniform(*REACTS_WITHIN_SECONDS.get(job, SOON)) * self.slowness
                self._wake_at(job, idle, max(at, self.scheduler.elapsed) + seconds)
            elif at < idle.due and at > self.scheduler.elapsed:
                self._wake_at(job, idle, at)

    def _due(self, job: str, idle: _IdleJob) -> float:
        holder = self.holders.get(idle.lock.name) if idle.lock is not None else None
        is_standby = holder is not None and holder[1] is not idle.process
        return inf if is_standby else self.schedule.next(job)

    def _wake_at(self, job: str, idle: _IdleJob, due: float) -> None:
        idle.due = due
        if due < inf:
            self.scheduler.call_later(due - self.scheduler.elapsed, lambda: self._wake(job, idle, due))

    def _wake(self, job: str, idle: _IdleJob, due: float) -> None:
        if idle.due != due:
            return
        later = self._due(job, idle)
        if later > self.scheduler.elapsed:
            self._wake_at(job, idle, later)
        else:
            self.scheduler.resume(idle.task)

    def _start(self, process: Process) -> None:
        self.scheduler.note("started", process.name)
        process.is_up = True
        scheduler = self.scheduler
        database = MemoryDatabase(self.tables, scheduler)
        vault = Vault(database, MASTER_KEY)
        daraja = daraja_client(
            self.settings, database, vault, MpesaTransport(scheduler, self._mpesa, self._organisation)
        )
        shop = self._shop_class(self.shop, scheduler)
        services = assemble(self.settings, database, vault, shop, daraja, max_workers=1, max_queries=1)
        self._services[process.name] = services
        if process in self._workers:
            locks = MemoryLocks(process, self)
            made = jobs(services.worker, locks=locks, max_workers=1)
            for job in (each for each in made if each.name not in NOT_SIMULATED):
                self._start_job(process, job)

    def _start_job(self, process: Process, job: Job) -> None:
        actor = Actor(process, Random(self._random.getrandbits(64)))
        stop = _Stop(self, job)
        self.scheduler.call_later(
            self._random.random(), lambda: self.scheduler.run_as(actor, lambda: run_job(job, stop))
        )

    def _appended(self, session_id: UUID, batch: list[dict[str, Any]]) -> None:
        self.scheduler.note(
            "appended", str(session_id), batch[0]["version"], *(event["topic"][16:-3] for event in batch)
        )
        self.schedule.appended(session_id, batch)
        if any(event["topic"] == OrderCreated.TOPIC for event in batch):
            self.on_order(session_id)

    def _restart_later(self, process: Process) -> None:
        self.scheduler.call_later(0.0, lambda: self._end_idle_jobs(process))
        for lock, (_, holder) in list(self.holders.items()):
            if holder is process:
                self.free(lock)
        self.scheduler.call_later(self._random.uniform(*STARTS_WITHIN_SECONDS), lambda: self._start(process))

    def _end_idle_jobs(self, process: Process) -> None:
        """End the waiting jobs of a process that was killed."""
        for idle_jobs in self._idle_jobs.values():
            for idle in [each for each in idle_jobs if each.process is process]:
                self.scheduler.resume(idle.task)

    def hold_horizon(self, since: float, until: float) -> None:
        """Let an open transaction hold the log's horizon between two virtual seconds."""

        def hold() -> None:
            self.scheduler.count_fault("horizon held")
            self.tables.ledger.hold_horizon()
            for job in LEFT_OVER_JOBS:
                self.wake(job, since + 1.0)

        def release() -> None:
            self.scheduler.note("horizon released")
            self.tables.ledger.held_at = None

        self.scheduler.call_later(since, hold)
        self.scheduler.call_later(until, release)

    def forge_payment(self) -> None:
        """Append another session's Paid, with its MAC, to a session that waits for its payment.

        As a login of the database can, which has no key for a MAC of its own.
        """
        ledger = self.tables.ledger
        paid = [event for event in ledger.log if event["topic"] == Paid.TOPIC]
        waiting = [
            session_id for session_id, row in ledger.rows.items() if row["session_status"] == "pending"
        ]
        if not paid or not waiting:
            return
        copied, session_id = self._random.choice(paid), self._random.choice(waiting)
        row = msgspec.json.encode(ledger.rows[session_id] | {"session_status": "paid"})
        state, metadata = (msgspec.json.decode(copied[name]) for name in ("state", "metadata"))
        last = ledger.events[session_id][-1]
        digest = event_digest(session_id, last["version"] + 1, copied["topic"], state, metadata)
        content = copied["topic"], copied["state"], copied["metadata"], chained_hash(last["hash"], digest)
        self.forged.add(session_id)
        self.scheduler.count_fault("forged row", str(session_id))
        effects = Effects()
        values = session_id, last["version"] + 1, *content, copied["key_id"], copied["mac"], row
        ledger.append(values, effects)
        effects.tell()

    def pull_all_payments(self) -> None:
        """Pull all payments as an operator does, after which none can be unknown."""
        self.scheduler.call_later(0.0, lambda: self.request(_pull, lambda: None))


def _pull(services: Services) -> None:
    """Pull; again where M-Pesa refuses, as two tokens may be voided during one call."""
    for tries_left in reversed(range(PULL_TRIES)):
        try:
            services.transaction_poller.pull()
        except SubmissionError:
            if not tries_left:
                raise
        else:
            return
