"""After an upgrade the worker rebuilds what older code made, in a process of its own, while the old rows are read."""

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
from payments.child_process import RETRY_SCHEDULE
from payments.worker.rebuilds import RebuildsAfterUpgrade, rebuild_outdated
from projections.cases import PaymentCases
from projections.follower import Follower
from projections.rebuild_runs import built_versions
from tests.support.checkouts import one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs

MADE_BY_OLDER_CODE = "INSERT INTO projection_rebuilds VALUES ('payment_cases', '0', now(), 0, 0, 0)"


@pytest.fixture
def of_older_code(ledger: Ledger, database: Database) -> list[tuple[str, int]]:
    """Make cases as code of an older version would have, and return them as they should be."""
    one_of_every_kind(ledger)
    until_readable(database)
    Follower(database, event_macs(database), PaymentCases()).catch_up()
    made = cases(database)
    with database.connection() as connection:
        connection.execute("UPDATE payment_cases SET detail = 'as older code said it'")
        connection.execute(MADE_BY_OLDER_CODE)
    return made


@pytest.fixture
def rebuild_apart(database: Database) -> Callable[[], None]:
    return partial(rebuild_outdated, database.url, "", MASTER_KEY)


def cases(database: Database) -> list[tuple[str, int]]:
    with database.connection() as connection:
        rows = connection.execute("SELECT * FROM payment_cases ORDER BY session_id, subject, number")
        return [tuple(row.values()) for row in rows]


def test_nothing_is_started_where_all_is_of_this_version(database: Database) -> None:
    rebuilds = RebuildsAfterUpgrade(database, partial(sys.exit, 1))
    assert (rebuilds.run(), rebuilds.wait(), rebuilds.run()) == (0, 0, 0)


def test_what_older_code_made_is_taken_over(
    database: Database, of_older_code: list[tuple[str, int]], rebuild_apart: Callable[[], None]
) -> None:
    rebuilds = RebuildsAfterUpgrade(database, rebuild_apart)
    worker = ActiveLock(LockConnection(database.url), "rebuilding")
    assert worker.try_acquire()
    assert rebuilds.run() == 0
    assert rebuilds.wait() == 1
    assert (cases(database), built_versions(database)["payment_cases"]) == (of_older_code, 1)
    assert (rebuilds.run(), rebuilds.wait()) == (0, 0)
    worker.release()


@pytest.mark.usefixtures("of_older_code")
def test_one_that_failed_is_tried_again_later(database: Database) -> None:
    rebuilds = RebuildsAfterUpgrade(database, partial(sys.exit, 1))
    assert (rebuilds.run(), rebuilds.wait()) == (0, 0)
    assert (rebuilds.run(), rebuilds.wait()) == (0, 0)  # Not started: there is nothing to wait for.
    assert built_versions(database)["payment_cases"] == 0
    with freeze_time(clock.now() + RETRY_SCHEDULE.pause_after(1) + timedelta(seconds=1)):
        rebuilds._process._child._work = partial(sys.exit, 0)
        assert (rebuilds.run(), rebuilds.wait()) == (0, 1)
