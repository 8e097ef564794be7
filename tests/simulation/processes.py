"""Daftari's processes in a run: API processes and workers made of the real parts, killed and restarted."""

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

from greenlet import getcurrent, greenlet

from api.local.local_settings import local_settings
from api.settings import Settings
from api.wiring import assemble, daraja_client
from ledger.errors import Unavailable
from ledger.store.locks import ActiveLock, LockConnection
from ledger.store.vault import Vault
from payments.services import Services
from payments.worker.jobs import Job, run_job
from payments.worker.processes import jobs
from tests.simulation.database import MemoryDatabase, Tables
from tests.simulation.job_schedule import Agenda
from tests.simulation.mpesa import Mpesa
from tests.simulation.mpesa_organisation import SHORTCODE, Till
from tests.simulation.mpesa_transport import Line
from tests.simulation.shop import MemoryShop, Shelves
from tests.simulation.world import Actor, Crash, Process, World

MASTER_KEY = b"the simulation's master key 0123"
APIS = ("api 1", "api 2", "api 3")
WORKERS = ("worker 1", "worker 2")
STARTS_WITHIN_SECONDS = (0.5, 20.0)
ROUND_TAKES_SECONDS = 0.02
SOON = (0.02, 0.5)
REACTS_WITHIN_SECONDS = dict.fromkeys(("payment_metrics", "payment_refunds", "payment_cases"), (1.0, 5.0))
"""How long a job takes to notice that there is something to do; followers read as much at once as they can."""

CLOCK_IS_OFF_BY_SECONDS = 0.9

Handle = Callable[[Services], None]


@cache
def _settings() -> Settings:
    return local_settings(
        {
            "DATABASE_URL": "postgresql://twin/",
            "DAFTARI_DATA_DIR": "/nonexistent",
            "DAFTARI_JWT_SECRET": "a-secret-that-is-never-checked-here",
            "DAFTARI_MASTER_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "DAFTARI_VERIFY_HOURS": "0",
            "MPESA_BASE_URL": "https://mpesa.example",
            "MPESA_CONSUMER_KEY": "key",
            "MPESA_CONSUMER_SECRET": "secret",
            "MPESA_BUSINESS_SHORTCODE": SHORTCODE,
            "MPESA_PASSKEY": "passkey",
            "MPESA_CALLBACK_URL": "https://shop.example/api/payments/callbacks/",
            "MPESA_INITIATOR_NAME": "operator",
            "MPESA_SECURITY_CREDENTIAL": "A" * 344,
        }
    )


class MemoryLocks(LockConnection):
    """The locks of one worker. It may lose them all at any moment, with their connection, and hears so when it asks."""

    def __init__(self, process: Process, machine: "Machine") -> None:
        self.process = process
        self.guard = RLock()
        self._machine = machine
        self._session = object()

    def acquire(self, name: str) -> Any:
        """Take a lock; return what it lives on, None where another worker holds it."""
        holder, _ = self._machine.holders.setdefault(name, (self._session, self.process))
        if holder is not self._session:
            return None
        self._machine.may_lose_locks(self)
        return self._session

    def is_alive(self, connection: object) -> bool:
        """Say whether a lock that was taken still lives."""
        return connection is self._session

    def release(self, name: str, connection: object) -> None:
        """Free a lock."""
        if connection is self._session:
            self._machine.free(name)

    def close_if_idle(self) -> None:
        """Nothing is open."""

    def lose_all(self) -> None:
        """Lose every lock; what was done under them goes on."""
        lost, self._session = self._session, object()
        for name, (holder, _) in list(self._machine.holders.items()):
            if holder is lost:
                self._machine.free(name)


@dataclass(eq=False)
class _Sleeper:
    """A job at rest, and until when."""

    hand: greenlet
    process: Process
    lock: ActiveLock | None
    due: float


class _Stop:
    """What a job asks whether it should end: never, here; and what lets it rest."""

    def __init__(self, machine: "Machine", job: Job) -> None:
        self._machine = machine
        self._job = job

    def is_set(self) -> bool:
        """Say that the end has not come; a round takes a moment."""
        self._machine.world.wait(ROUND_TAKES_SECONDS)
        return False

    def wait(self, timeout: float) -> bool:
        """Rest, and longer than that where there is nothing to do."""
        self._machine.sleep(self._job, timeout)
        return False


class Machine:
    """All processes of ours on one store, one shop and one M-Pesa."""

    def __init__(self, world: World, mpesa: Mpesa, till: Till, chance: Random) -> None:
        self.world = world
        self.tables = Tables()
        self.shelves = Shelves()
        self.holders: dict[str, tuple[object, Process]] = {}
        self.acknowledged: Counter[str] = Counter()
        self.faults: list[str] = []
        self.agenda = Agenda(self.tables, self.poke)
        self.settings = replace(
            _settings(),
            daftari_refund_policy=chance.choice(("auto", "auto", "manual")),
            daftari_pull=chance.choice(("off", "off", "on")),
        )
        self._mpesa = mpesa
        self._till = till
        self._chance = chance
        self.slowness = chance.choice((1.0, 3.0, 10.0))
        self._sleepers: dict[str, list[_Sleeper]] = {}
        self._services: dict[str, Services] = {}
        self._apis = [Process(name) for name in APIS]
        self._workers = [Process(name) for name in WORKERS]
        world.when_killed = self._bury
        self.tables.ledger.on_append = self._appended
        mpesa.post = self.post
        for process in (*self._apis, *self._workers):
            if chance.random() < world.odds.clock_jump:
                process.clock_is_off = timedelta(seconds=chance.uniform(-1, 1) * CLOCK_IS_OFF_BY_SECONDS)
            self._start(process)
        till.confirmation_url = self._services[APIS[0]].c2b.urls[0]

    def services(self) -> Services:
        """Return the parts of some process, for an outside observer."""
        return self._services[APIS[0]]

    def ask(self, work: Handle, when_lost: Callable[[], None]) -> None:
        """Let some API process do `work`; call back where it is down, or dies over it."""
        process = self._chance.choice(self._apis)
        if not process.is_up:
            self.world.note("no process answers", process.name)
            when_lost()
            return
        services = self._services[process.name]

        def serve() -> None:
            try:
                work(services)
            except Crash:
                when_lost()
                raise
            except Exception as error:  # noqa: BLE001 - the API would answer 500; here it is a fault to report
                self.faults.append(f"a request ended in {error!r}")

        self.world.act(Actor(process, Random(self._chance.getrandbits(64))), serve)

    def post(self, url: str, body: bytes, seconds: float, then: Callable[[], None]) -> None:
        """Deliver a body of M-Pesa to our endpoints after a while, once, to any running process."""
        *_, endpoint, token = url.rstrip("/").rsplit("/", 2)
        token_of_c2b = url.endswith("/confirmation/")

        def take(services: Services) -> None:
            try:
                if token_of_c2b:
                    services.c2b.confirm(
                        body, body_bytes=len(body), is_authenticated=services.c2b.proves(endpoint)
                    )
                elif endpoint in ("results", "timeouts"):
                    services.reversal_results.receive(
                        body, body_bytes=len(body), token=token, is_timeout=endpoint == "timeouts"
                    )
                else:
                    of_attempt = token if endpoint == "callbacks" else None
                    services.stk_callbacks.receive(body, body_bytes=len(body), token=of_attempt)
            except Unavailable:
                self.world.note("not acknowledged", endpoint)
                return
            self.acknowledged[hashlib.sha256(body).hexdigest()] += 1
            then()

        def lost() -> None:
            self.world.meet("callback found no process", endpoint)

        self.world.later(seconds, lambda: self.ask(take, lost))

    def may_lose_locks(self, locks: MemoryLocks) -> None:
        """Let a worker lose its locks soon after it has taken one, where the dice say so."""
        actor = self.world.actor
        if actor is not None and actor.chance.random() < self.world.trouble.lock_lost:
            self.world.meet("locks lost", locks.process.name)
            self.world.later(actor.chance.uniform(0.0, 60.0), locks.lose_all)

    def free(self, lock: str) -> None:
        """Let somebody else have a lock soon."""
        del self.holders[lock]
        for job in (lock, f"{lock}_again"):
            self.poke(job, self.world.elapsed)

    def sleep(self, job: Job, seconds: float) -> None:
        """Let a job rest until it may have something to do."""
        world, lock = self.world, job.lock
        assert world.actor is not None
        self.agenda.done(job.name, world.elapsed)
        rested = world.elapsed + seconds * self.slowness * world.actor.chance.uniform(0.5, 1.5)
        sleeper = _Sleeper(getcurrent(), world.actor.process, lock, inf)
        sleepers = self._sleepers.setdefault(job.name, [])
        sleepers.append(sleeper)
        self._wake_at(job.name, sleeper, max(rested, self._due(job.name, sleeper)))
        try:
            world.rest()
        finally:
            sleepers.remove(sleeper)

    def poke(self, job: str, at: float) -> None:
        """A job has something to do from some moment on."""
        for sleeper in self._sleepers.get(job, ()):
            if at < sleeper.due and sleeper.due == inf:
                seconds = self._chance.uniform(*REACTS_WITHIN_SECONDS.get(job, SOON)) * self.slowness
                self._wake_at(job, sleeper, max(at, self.world.elapsed) + seconds)
            elif at < sleeper.due and at > self.world.elapsed:
                self._wake_at(job, sleeper, at)

    def _due(self, job: str, sleeper: _Sleeper) -> float:
        holder = self.holders.get(sleeper.lock.name) if sleeper.lock is not None else None
        stands_by = holder is not None and holder[1] is not sleeper.process
        return inf if stands_by else self.agenda.next(job)

    def _wake_at(self, job: str, sleeper: _Sleeper, due: float) -> None:
        sleeper.due = due
        if due < inf:
            self.world.later(due - self.world.elapsed, lambda: self._wake(job, sleeper, due))

    def _wake(self, job: str, sleeper: _Sleeper, due: float) -> None:
        if sleeper.due != due:
            return
        later = self._due(job, sleeper)
        if later > self.world.elapsed:
            self._wake_at(job, sleeper, later)
        else:
            self.world.resume(sleeper.hand)

    def _start(self, process: Process) -> None:
        self.world.note("started", process.name)
        process.is_up = True
        world = self.world
        database = MemoryDatabase(self.tables, world)
        vault = Vault(database, MASTER_KEY)
        daraja = daraja_client(self.settings, database, vault, Line(world, self._mpesa, self._till))
        services = assemble(
            self.settings, database, vault, MemoryShop(self.shelves, world), daraja, max_workers=1
        )
        self._services[process.name] = services
        if process in self._workers:
            locks = MemoryLocks(process, self)
            for job in jobs(services.worker, locks=locks, max_workers=1):
                self._start_job(process, job)

    def _start_job(self, process: Process, job: Job) -> None:
        actor = Actor(process, Random(self._chance.getrandbits(64)))
        stop = _Stop(self, job)
        self.world.later(self._chance.random(), lambda: self.world.act(actor, lambda: run_job(job, stop)))

    def _appended(self, session_id: UUID, batch: list[dict[str, Any]]) -> None:
        self.world.note(
            "appended", str(session_id), batch[0]["version"], *(event["topic"][16:-3] for event in batch)
        )
        self.agenda.appended(session_id, batch)

    def _bury(self, process: Process) -> None:
        self.world.later(0.0, lambda: self._clear_away(process))
        for lock, (_, holder) in list(self.holders.items()):
            if holder is process:
                self.free(lock)
        self.world.later(self._chance.uniform(*STARTS_WITHIN_SECONDS), lambda: self._start(process))

    def _clear_away(self, process: Process) -> None:
        """End the jobs that were at rest in a process that was killed."""
        for sleepers in self._sleepers.values():
            for sleeper in [each for each in sleepers if each.process is process]:
                self.world.resume(sleeper.hand)

    def see_whole_list(self) -> None:
        """Let somebody pull the whole list of payments, after which nothing can be unknown."""
        self.world.later(0.0, lambda: self.ask(_pull, lambda: None))


def _pull(services: Services) -> None:
    services.transaction_poller.pull()
