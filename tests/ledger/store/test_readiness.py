from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from ledger.errors import Unavailable
from ledger.store.database import Database
from ledger.store.readiness import Readiness
from tests.support.waiting import wait_until

_ASKING = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


@pytest.fixture
def readiness(database_url: str) -> Iterator[Readiness]:
    with closing(Database(database_url)) as database, closing(Readiness(database)) as readiness:
        yield readiness


def test_many_who_ask_at_once_ask_the_database_once_and_are_answered_in_time(
    database_url: str, readiness: Readiness
) -> None:
    with (
        psycopg.connect(database_url) as holder,
        psycopg.connect(database_url, autocommit=True) as watcher,
        ThreadPoolExecutor(16) as askers,
    ):
        holder.execute("LOCK TABLE payment_sessions IN ACCESS EXCLUSIVE MODE")
        asked = [askers.submit(readiness.check, 2.0) for _ in range(16)]

        def waiting() -> int:
            row = watcher.execute(_ASKING).fetchone()
            assert row is not None
            return int(row[0])

        wait_until(lambda: waiting() > 0, "the database is asked")
        assert waiting() == 1
        for answer in asked:
            assert isinstance(answer.exception(10), Unavailable)
