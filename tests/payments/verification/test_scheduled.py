"""Verification on a schedule runs in a process of its own, and a run that failed is not started again at once."""

import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.locks import ActiveLock, LockConnection
from ledger.store.vault import Vault
from payments.child_process import RETRY_SCHEDULE
from payments.verification.scheduled import LOCK_NAME, ScheduledVerification, run_if_due
from payments.verification.verifier import Verifier
from payments.worker.processes import PROCESSES
from projections.integrity.verification_runs import Form
from tests.support.checkouts import Checkout
from tests.support.keys import MASTER_KEY

DAY = timedelta(days=1)


@pytest.fixture
def verifier(database: Database) -> Verifier:
    return Verifier(database, Vault(database, MASTER_KEY), prompt_seconds=60, every=DAY)


@pytest.fixture
def run_apart(database: Database) -> Callable[[], None]:
    return partial(run_if_due, database.url, "", MASTER_KEY, 60, DAY)


def test_a_run_is_due_once_the_log_has_doubled(ledger: Ledger, verifier: Verifier) -> None:
    assert verifier.due() is None  # Of an empty log there is nothing to say.
    for _ in range(2):
        Checkout(ledger)
        assert verifier.due() == Form.WHOLE
        verifier.run()
        assert verifier.due() is None
    Checkout(ledger)
    assert verifier.due() is None  # Three are not twice as many as two.


def test_a_run_is_due_once_a_day(ledger: Ledger, verifier: Verifier) -> None:
    Checkout(ledger)
    verifier.run()
    with freeze_time(clock.now() + DAY):
        assert verifier.due() == Form.WHOLE


def test_a_run_that_is_due_is_made_in_a_process_of_its_own(
    ledger: Ledger, verifier: Verifier, run_apart: Callable[[], None]
) -> None:
    scheduled = ScheduledVerification(verifier, run_apart)
    assert (scheduled.run(), scheduled.wait()) == (0, 0)
    Checkout(ledger)
    assert (scheduled.run(), scheduled.wait()) == (0, 1)
    run = verifier.last()
    assert run is not None
    assert run.events == 1
    assert (scheduled.run(), scheduled.wait()) == (0, 0)


def test_two_workers_do_not_verify_at_once(
    ledger: Ledger, database: Database, verifier: Verifier, run_apart: Callable[[], None]
) -> None:
    Checkout(ledger)
    other = ActiveLock(LockConnection(database.url), LOCK_NAME)
    assert other.try_acquire()
    scheduled = ScheduledVerification(verifier, run_apart)
    assert (scheduled.run(), scheduled.wait()) == (0, 1)
    assert verifier.last() is None
    other.release()


def test_a_run_is_made_while_its_worker_holds_the_lock_of_the_job(
    ledger: Ledger, database: Database, verifier: Verifier, run_apart: Callable[[], None]
) -> None:
    Checkout(ledger)
    [job] = [process.name for process in PROCESSES if process.name == "verifying"]
    worker = ActiveLock(LockConnection(database.url), job)
    assert worker.try_acquire()
    scheduled = ScheduledVerification(verifier, run_apart)
    assert (scheduled.run(), scheduled.wait()) == (0, 1)
    assert verifier.last() is not None
    worker.release()


def test_a_run_that_failed_is_started_again_ever_later(ledger: Ledger, verifier: Verifier) -> None:
    Checkout(ledger)
    scheduled = ScheduledVerification(verifier, partial(sys.exit, 3))
    with freeze_time(clock.now()) as frozen:
        for failures in (1, 2, 3):
            assert (scheduled.run(), scheduled.is_running) == (0, True)
            assert scheduled.wait() == 0
            assert (scheduled.run(), scheduled.is_running) == (0, False)
            frozen.tick(RETRY_SCHEDULE.pause_after(failures))
