"""Leases of requests never pass the limit, however many processes ask at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from ledger.store.database import Database
from payments.request_leases import RequestLeases

MINUTE = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


def test_leases_of_a_minute_never_pass_the_limit(database: Database) -> None:
    leases = RequestLeases(database)
    with ThreadPoolExecutor(8) as threads:
        granted = list(threads.map(lambda _: leases.lease(7, MINUTE, 30, 100), range(16)))
    assert granted.count(True) == 3
    assert leases.lease(7, MINUTE, 10, 100)
    assert not leases.lease(7, MINUTE, 1, 100)
    assert not leases.lease(8, MINUTE, 101, 100)
    assert leases.lease(8, MINUTE, 100, 100)
    assert leases.lease(7, MINUTE + timedelta(minutes=1), 100, 100)
