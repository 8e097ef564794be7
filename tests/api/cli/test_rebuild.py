"""`daftari rebuild`, as an operator types it."""

from collections.abc import Iterator

import pytest

from api.cli.rebuild import NAMES
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.locks import ActiveLock, LockConnection
from projections.rebuilds import REBUILDABLE
from tests.api.cli.support import daftari
from tests.projections.integrity.test_invariants import tamper
from tests.support.checkouts import Checkout
from tests.support.keys import key_ring


@pytest.fixture
def ledger_of(database_url: str) -> Iterator[Ledger]:
    database = Database(database_url)
    yield Ledger(database, key_ring(database))
    database.close()


def test_the_names_are_those_of_the_projections() -> None:
    assert tuple(REBUILDABLE) == NAMES


def test_what_differs_is_named_then_mended(ledger_of: Ledger, database_url: str) -> None:
    checkout = Checkout(ledger_of).prompt()
    tamper(ledger_of.database, "UPDATE payment_sessions SET session_status = 'paid'")
    dry = daftari("rebuild", "all", "--dry-run", DATABASE_URL=database_url)
    assert (dry.returncode, dry.stderr) == (1, "")
    lines = dry.stdout.splitlines()
    assert lines[:2] == ["payment_sessions: 3 events read, 1 row differs.", f"  {checkout.session_id}"]
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == list(NAMES)
    mended = daftari("rebuild", "payment_sessions", DATABASE_URL=database_url)
    assert (mended.returncode, mended.stdout.splitlines()) == (
        0,
        ["payment_sessions: 3 events read, 1 row differs: mended.", f"  {checkout.session_id}"],
    )
    again = daftari("rebuild", "payment_sessions", "--dry-run", DATABASE_URL=database_url)
    assert (again.returncode, again.stdout) == (0, "payment_sessions: 3 events read, no row differs.\n")


def test_one_beside_another_is_refused(database_url: str) -> None:
    other = ActiveLock(LockConnection(database_url), "rebuild payment_cases")
    assert other.try_acquire()
    refused = daftari("rebuild", "payment_cases", DATABASE_URL=database_url)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert (
        refused.stderr
        == "Error: payment_cases is being rebuilt by another process. Wait until that has ended.\n"
    )
    other.release()
