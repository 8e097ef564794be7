"""Imports of statements are stored and listed."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from ledger.store.database import Database
from ledger.store.listing import Place
from payments.reconciliation.import_log import Reconciliation, Reconciliations
from tests.support.keys import key_ring

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _import(number: int) -> Reconciliation:
    return Reconciliation(
        UUID(int=number),
        NOW + number * MINUTE,
        NOW + (number + 1) * MINUTE,
        f"{number:064x}",
        {"counts": {"posted": number}, "differences": []},
    )


def test_an_import_is_stored_and_found_by_its_id(database: Database) -> None:
    reconciliations = Reconciliations(database, key_ring(database))
    for number in (1, 2):
        reconciliations.add(_import(number))
    assert reconciliations.find(UUID(int=2)) == _import(2)
    assert reconciliations.find(UUID(int=3)) is None


def test_imports_are_listed_the_latest_first_by_pages(database: Database) -> None:
    reconciliations = Reconciliations(database, key_ring(database))
    for number in (2, 1, 3):
        reconciliations.add(_import(number))
    now = _import(3).finished_at
    assert reconciliations.page(Place(now, 2)) == (3, [_import(3), _import(2)])
    assert reconciliations.page(Place(now, 2, 2)) == (3, [_import(1)])


def test_pages_do_not_shift_while_imports_are_added(database: Database) -> None:
    reconciliations = Reconciliations(database, key_ring(database))
    for number in (1, 2):
        reconciliations.add(_import(number))
    assert reconciliations.page(Place(_import(1).finished_at, 2)) == (1, [_import(1)])
