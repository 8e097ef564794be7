"""Where the hourly pull stands, and which periods it has missed."""

from datetime import UTC, datetime, timedelta

import pytest

from ledger.store.database import Database
from payments.reconciliation.pull_progress import Pulling, PullProgress

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
PAYBILL = "174379"


@pytest.fixture
def pulling(database: Database) -> Pulling:
    return Pulling(database)


def test_before_the_first_time_nothing_is_known(pulling: Pulling) -> None:
    assert pulling.progress(PAYBILL) == PullProgress(None, None)


def test_it_stands_where_the_last_good_pull_ended_for_each_shortcode(pulling: Pulling) -> None:
    pulling.done(PAYBILL, NOW, NOW + HOUR)
    pulling.done("600100", NOW - HOUR, NOW)
    assert pulling.progress(PAYBILL) == PullProgress(NOW, NOW + HOUR)
    assert pulling.progress("600100") == PullProgress(NOW - HOUR, NOW)


def test_one_that_ended_earlier_does_not_put_it_back(pulling: Pulling) -> None:
    pulling.done(PAYBILL, NOW, NOW + HOUR)
    pulling.done(PAYBILL, NOW - HOUR, NOW + 2 * HOUR)
    assert pulling.progress(PAYBILL) == PullProgress(NOW, NOW + 2 * HOUR)


def test_one_that_came_to_nothing_is_tried_again_later_and_leaves_the_place(pulling: Pulling) -> None:
    pulling.put_off(PAYBILL, NOW)
    assert pulling.progress(PAYBILL) == PullProgress(None, NOW)
    pulling.done(PAYBILL, NOW, NOW + HOUR)
    pulling.put_off(PAYBILL, NOW + 3 * HOUR)
    assert pulling.progress(PAYBILL) == PullProgress(NOW, NOW + 3 * HOUR)


def test_a_gap_stays_until_something_covers_the_whole_of_it(pulling: Pulling, database: Database) -> None:
    early, late = (NOW - 9 * HOUR, NOW - 7 * HOUR), (NOW - 5 * HOUR, NOW - 3 * HOUR)
    pulling.done(PAYBILL, NOW, NOW + HOUR, gap=late)
    pulling.done(PAYBILL, NOW, NOW + HOUR, gap=early)
    assert [(gap.since, gap.until, gap.found_at) for gap in pulling.gaps()] == [(*early, NOW), (*late, NOW)]

    second = timedelta(seconds=1)
    assert pulling.close_gaps_within(late[0] + second, NOW, closed_by="statement", now=NOW) == 0
    assert pulling.close_gaps_within(early[0], late[1] - second, closed_by="statement", now=NOW) == 1
    assert [gap.since for gap in pulling.gaps()] == [late[0]]
    assert pulling.close_gaps_within(*late, closed_by="operator 9", now=NOW + HOUR) == 1
    assert pulling.gaps() == []
    with database.connection() as connection:
        closed = connection.execute("SELECT closed_at, closed_by FROM pull_gaps ORDER BY since").fetchall()
    assert [tuple(row.values()) for row in closed] == [(NOW, "statement"), (NOW + HOUR, "operator 9")]
    assert pulling.close_gaps_within(early[0], NOW, closed_by="operator 8", now=NOW) == 0


def test_a_person_closes_one_gap_once(pulling: Pulling) -> None:
    pulling.done(PAYBILL, NOW, NOW + HOUR, gap=(NOW - 9 * HOUR, NOW - 7 * HOUR))
    pulling.done(PAYBILL, NOW, NOW + HOUR, gap=(NOW - 5 * HOUR, NOW - 3 * HOUR))
    first, second = pulling.gaps()
    assert pulling.close_gap(first.gap_id, closed_by="operator 9", now=NOW)
    assert not pulling.close_gap(first.gap_id, closed_by="operator 8", now=NOW)
    assert pulling.gaps() == [second]
