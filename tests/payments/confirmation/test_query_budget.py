from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from ledger.store.database import Database
from payments.confirmation.query_budget import PAUSE_WHEN_LIMITED_SECONDS, QueryRateLimiter

NOON = datetime(2026, 11, 16, 9, tzinfo=UTC)


def _taken(budget: QueryRateLimiter, now: datetime, most: int = 1_000) -> int:
    """How many questions may be asked in a row."""
    return next(count for count in range(most) if not budget.take(now))


def test_a_full_bucket_is_a_small_burst_and_refills_with_time(database: Database) -> None:
    budget = QueryRateLimiter(database, "queries", 60)
    assert _taken(budget, NOON) == 10
    assert _taken(budget, NOON + timedelta(seconds=3)) == 3
    assert _taken(budget, NOON + timedelta(hours=1)) == 10


def test_a_bucket_holds_whole_questions(database: Database) -> None:
    budget = QueryRateLimiter(database, "queries", 11)
    assert [_taken(budget, NOON + timedelta(seconds=seconds)) for seconds in (0, 60)] == [1, 1]


def test_what_is_not_urgent_leaves_half_of_the_bucket(database: Database) -> None:
    budget = QueryRateLimiter(database, "queries", 60)
    budget.take(NOON)
    later = NOON + timedelta(seconds=1)
    assert sum(budget.take(later, is_urgent=False) for _ in range(10)) == 5
    assert _taken(budget, later) == 5
    assert not budget.take(later + timedelta(seconds=5), is_urgent=False)


def test_a_minute_brings_what_was_agreed(database: Database) -> None:
    budget = QueryRateLimiter(database, "queries", 60)
    _taken(budget, NOON)
    assert sum(_taken(budget, NOON + timedelta(seconds=second)) for second in range(1, 61)) == 60


def test_a_limit_of_five_a_minute_lets_one_go_at_a_time(database: Database) -> None:
    budget = QueryRateLimiter(database, "queries", 5)
    assert [_taken(budget, NOON + timedelta(seconds=seconds)) for seconds in (0, 11, 12, 23, 24)] == [
        1,
        0,
        1,
        0,
        1,
    ]


def test_nobody_asks_while_mpesa_says_that_it_is_too_much(database: Database) -> None:
    budget, other = (QueryRateLimiter(database, "queries", 60) for _ in range(2))
    budget.pause(NOON, 90)
    budget.pause(NOON, None)
    assert not other.take(NOON + timedelta(seconds=89))
    assert other.take(NOON + timedelta(seconds=90))


def test_a_pause_without_a_length_has_ours(database: Database) -> None:
    budget = QueryRateLimiter(database, "queries", 60)
    budget.take(NOON)
    budget.pause(NOON, None)
    assert not budget.take(NOON + timedelta(seconds=PAUSE_WHEN_LIMITED_SECONDS - 1))
    assert budget.take(NOON + timedelta(seconds=PAUSE_WHEN_LIMITED_SECONDS))


def test_a_pause_empties_the_bucket(database: Database) -> None:
    budget = QueryRateLimiter(database, "queries", 60)
    budget.take(NOON)
    budget.pause(NOON, 60)
    assert [_taken(budget, NOON + timedelta(seconds=seconds)) for seconds in (59, 60, 63)] == [0, 1, 3]


def test_a_clock_that_is_behind_gives_nothing_and_takes_nothing(database: Database) -> None:
    budget = QueryRateLimiter(database, "queries", 60)
    assert _taken(budget, NOON) == 10
    assert not budget.take(NOON - timedelta(minutes=5))
    assert _taken(budget, NOON + timedelta(seconds=2)) == 2


def test_names_do_not_share_their_questions(database: Database) -> None:
    assert _taken(QueryRateLimiter(database, "one app", 6), NOON) == 1
    assert QueryRateLimiter(database, "another app", 6).take(NOON)


def test_several_processes_share_one_bucket(database_url: str) -> None:
    databases = [Database(database_url, max_connections=4) for _ in range(2)]
    try:
        budgets = [QueryRateLimiter(database, "queries", 120) for database in databases] * 4
        with ThreadPoolExecutor(len(budgets)) as pool:
            taken = pool.map(lambda budget: sum(budget.take(NOON) for _ in range(20)), budgets)
        assert sum(taken) == 20
    finally:
        for database in databases:
            database.close()
