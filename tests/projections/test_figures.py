"""Figures by time and group, as they stand and as they were reported."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from ledger.application import Ledger
from ledger.store.database import Database
from projections.figure_sums import PaymentFigures, rebuild
from projections.figures import FiguresQuery, FiguresRow, figures
from projections.follower import Follower
from projections.metrics import FROM_SESSIONS
from tests.support.checkouts import HALF_PAST_TEN, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs

DAY = timedelta(days=1)
REFUNDED = "SELECT count(*) FROM payment_sessions WHERE paid_at IS NOT NULL AND refunded_cents > 0"
ALL_ROWS = "SELECT * FROM payment_figures ORDER BY grain, dimension, start, value, position"


def rows(database: Database, statement: str) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(statement.encode()).fetchall()


@pytest.fixture
def follow(database: Database) -> Callable[[], int]:
    follower = Follower(database, event_macs(database), PaymentFigures(), batch_size=5)

    def catch_up() -> int:
        until_readable(database)
        return follower.catch_up()

    return catch_up


def ask(database: Database, since: datetime = HALF_PAST_TEN - DAY, **query: Any) -> list[FiguresRow]:
    until = query.pop("until", HALF_PAST_TEN + 2 * DAY)
    return figures(database, FiguresQuery(since, until, **query), event_macs(database))


def test_hours_are_those_of_the_status_rows(
    ledger: Ledger, database: Database, follow: Callable[[], int]
) -> None:
    one_of_every_kind(ledger)
    follow()
    by_hour = {row.start: row.counts for row in ask(database, by="hour") if row.counts["sessions_created"]}
    expected = {row.pop("hour"): row for row in rows(database, FROM_SESSIONS)}
    assert {
        start: {name: counts[name] for name in expected[start]} for start, counts in by_hour.items()
    } == expected
    [whole] = ask(database)
    assert whole.counts["sessions_created"] == sum(row["sessions_created"] for row in expected.values())
    [refunded] = rows(database, REFUNDED)
    assert whole.counts["refunds"] == refunded["count"] > 0


def test_a_rebuild_comes_to_the_same_rows(
    ledger: Ledger, database: Database, follow: Callable[[], int]
) -> None:
    one_of_every_kind(ledger)
    follow()
    before = rows(database, ALL_ROWS)
    assert rebuild(database, event_macs(database), batch_size=97).wrong_rows == 0
    assert rows(database, ALL_ROWS) == before
