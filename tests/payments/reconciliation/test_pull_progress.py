"""The progress of the hourly pull, and its gaps."""

from datetime import UTC, datetime, timedelta

import pytest

from ledger.store.database import Database
from payments.reconciliation.pull_progress import PullProgress, PullProgressStore

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
PAYBILL = "174379"


@pytest.fixture
def pull_progress(database: Database) -> PullProgressStore:
    return PullProgressStore(database)


def test_before_the_first_pull_there_is_no_progress(pull_progress: PullProgressStore) -> None:
    assert pull_progress.progress(PAYBILL) == PullProgress(None, None)


def test_progress_is_the_end_of_the_last_complete_pull_of_each_shortcode(
    pull_progress: PullProgressStore,
) -> None:
    pull_progress.done(PAYBILL, NOW, NOW + HOUR)
    pull_progress.done("600100", NOW - HOUR, NOW)
    assert pull_progress.progress(PAYBILL) == PullProgress(NOW, NOW + HOUR)
    assert pull_progress.progress("600100") == PullProgress(NOW - HOUR, NOW)


def test_a_pull_that_ended_earlier_does_not_move_progress_back(pull_progress: PullProgressStore) -> None:
    pull_progress.done(PAYBILL, NOW, NOW + HOUR)
    pull_progress.done(PAYBILL, NOW - HOUR, NOW + 2 * HOUR)
    assert pull_progress.progress(PAYBILL) == PullProgress(NOW, NOW + 2 * HOUR)


def test_a_failed_pull_is_retried_later_and_keeps_the_progress(
    pull_progress: PullProgressStore,
) -> None:
    pull_progress.put_off(PAYBILL, NOW)
    assert pull_progress.progress(PAYBILL) == PullProgress(None, NOW)
    pull_progress.done(PAYBILL, NOW, NOW + HOUR)
    pull_progress.put_off(PAYBILL, NOW + 3 * HOUR)
    assert pull_progress.progress(PAYBILL) == PullProgress(NOW, NOW + 3 * HOUR)


def test_a_gap_stays_open_until_a_statement_covers_all_of_it(
    pull_progress: PullProgressStore, database: Database
) -> None:
    early, late = (NOW - 9 * HOUR, NOW - 7 * HOUR), (NOW - 5 * HOUR, NOW - 3 * HOUR)
    pull_progress.done(PAYBILL, NOW, NOW + HOUR, gap=late)
    pull_progress.done(PAYBILL, NOW, NOW + HOUR, gap=early)
    assert [(gap.since, gap.until, gap.found_at) for gap in pull_progress.gaps()] == [
        (*early, NOW),
        (*late, NOW),
    ]

    second = timedelta(seconds=1)
    assert pull_progress.close_gaps_within(late[0] + second, NOW, closed_by="statement", now=NOW) == 0
    assert pull_progress.close_gaps_within(early[0], late[1] - second, closed_by="statement", now=NOW) == 1
    assert [gap.since for gap in pull_progress.gaps()] == [late[0]]
    assert pull_progress.close_gaps_within(*late, closed_by="operator 9", now=NOW + HOUR) == 1
    assert pull_progress.gaps() == []
    with database.connection() as connection:
        closed = connection.execute("SELECT closed_at, closed_by FROM pull_gaps ORDER BY since").fetchall()
    assert [tuple(row.values()) for row in closed] == [(NOW, "statement"), (NOW + HOUR, "operator 9")]
    assert pull_progress.close_gaps_within(early[0], NOW, closed_by="operator 8", now=NOW) == 0


def test_an_operator_closes_a_gap_once(pull_progress: PullProgressStore) -> None:
    pull_progress.done(PAYBILL, NOW, NOW + HOUR, gap=(NOW - 9 * HOUR, NOW - 7 * HOUR))
    pull_progress.done(PAYBILL, NOW, NOW + HOUR, gap=(NOW - 5 * HOUR, NOW - 3 * HOUR))
    first, second = pull_progress.gaps()
    assert pull_progress.close_gap(first.gap_id, closed_by="operator 9", now=NOW)
    assert not pull_progress.close_gap(first.gap_id, closed_by="operator 8", now=NOW)
    assert pull_progress.gaps() == [second]
