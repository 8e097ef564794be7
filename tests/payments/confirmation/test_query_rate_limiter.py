from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from ledger.store.database import Database
from payments.confirmation.query_rate_limiter import PAUSE_WHEN_LIMITED_SECONDS, QueryRateLimiter

NOON = datetime(2026, 11, 16, 9, tzinfo=UTC)


def _allowed(limiter: QueryRateLimiter, now: datetime, most: int = 1_000) -> int:
    """Return how many queries are allowed in a row."""
    return next(count for count in range(most) if not limiter.take(now))


def test_a_full_bucket_is_a_small_burst_and_refills_with_time(database: Database) -> None:
    limiter = QueryRateLimiter(database, "queries", 60)
    assert _allowed(limiter, NOON) == 10
    assert _allowed(limiter, NOON + timedelta(seconds=3)) == 3
    assert _allowed(limiter, NOON + timedelta(hours=1)) == 10


def test_a_bucket_holds_whole_queries(database: Database) -> None:
    limiter = QueryRateLimiter(database, "queries", 11)
    assert [_allowed(limiter, NOON + timedelta(seconds=seconds)) for seconds in (0, 60)] == [1, 1]


def test_queries_that_are_not_urgent_leave_half_of_the_bucket(database: Database) -> None:
    limiter = QueryRateLimiter(database, "queries", 60)
    limiter.take(NOON)
    later = NOON + timedelta(seconds=1)
    assert sum(limiter.take(later, is_urgent=False) for _ in range(10)) == 5
    assert _allowed(limiter, later) == 5
    assert not limiter.take(later + timedelta(seconds=5), is_urgent=False)


def test_a_minute_refills_the_agreed_number(database: Database) -> None:
    limiter = QueryRateLimiter(database, "queries", 60)
    _allowed(limiter, NOON)
    assert sum(_allowed(limiter, NOON + timedelta(seconds=second)) for second in range(1, 61)) == 60


def test_a_limit_of_five_a_minute_allows_one_at_a_time(database: Database) -> None:
    limiter = QueryRateLimiter(database, "queries", 5)
    assert [_allowed(limiter, NOON + timedelta(seconds=seconds)) for seconds in (0, 11, 12, 23, 24)] == [
        1,
        0,
        1,
        0,
        1,
    ]


def test_no_query_is_allowed_while_mpesa_limits_the_rate(database: Database) -> None:
    limiter, other = (QueryRateLimiter(database, "queries", 60) for _ in range(2))
    limiter.pause(NOON, 90)
    limiter.pause(NOON, None)
    assert not other.take(NOON + timedelta(seconds=89))
    assert other.take(NOON + timedelta(seconds=90))


def test_a_pause_without_a_length_takes_the_default(database: Database) -> None:
    limiter = QueryRateLimiter(database, "queries", 60)
    limiter.take(NOON)
    limiter.pause(NOON, None)
    assert not limiter.take(NOON + timedelta(seconds=PAUSE_WHEN_LIMITED_SECONDS - 1))
    assert limiter.take(NOON + timedelta(seconds=PAUSE_WHEN_LIMITED_SECONDS))


def test_a_pause_empties_the_bucket(database: Database) -> None:
    limiter = QueryRateLimiter(database, "queries", 60)
    limiter.take(NOON)
    limiter.pause(NOON, 60)
    assert [_allowed(limiter, NOON + timedelta(seconds=seconds)) for seconds in (59, 60, 63)] == [0, 1, 3]


def test_a_clock_that_is_behind_neither_refills_nor_empties_the_bucket(database: Database) -> None:
    limiter = QueryRateLimiter(database, "queries", 60)
    assert _allowed(limiter, NOON) == 10
    assert not limiter.take(NOON - timedelta(minutes=5))
    assert _allowed(limiter, NOON + timedelta(seconds=2)) == 2


def test_names_do_not_share_a_bucket(database: Database) -> None:
    assert _allowed(QueryRateLimiter(database, "one app", 6), NOON) == 1
    assert QueryRateLimiter(database, "another app", 6).take(NOON)


def test_several_processes_share_one_bucket(database_url: str) -> None:
    databases = [Database(database_url, max_connections=4) for _ in range(2)]
    try:
        budgets = [QueryRateLimiter(database, "queries", 120) for database in databases] * 4
        with ThreadPoolExecutor(len(budgets)) as pool:
            taken = pool.map(lambda limiter: sum(limiter.take(NOON) for _ in range(20)), budgets)
        assert sum(taken) == 20
    finally:
        for database in databases:
            database.close()
