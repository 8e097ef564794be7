from datetime import UTC, datetime, timedelta

from api.http.middleware.rate_limit import RateLimit

NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class Leases:
    """Requests leased in a minute, as the table keeps them."""

    def __init__(self, most: int) -> None:
        self.most, self.granted, self.asked = most, 0, 0

    def lease(self, _minute: datetime, wanted: int) -> bool:
        self.asked += 1
        fits = self.granted + wanted <= self.most
        self.granted += wanted if fits else 0
        return fits


def test_a_caller_is_refused_beyond_the_limit_until_the_minute_is_over() -> None:
    limit = RateLimit(2)
    assert [limit.count("user 7", at(second)) for second in (1, 2, 3, 59.9)] == [True, True, False, False]
    assert limit.count("user 7", at(60))


def test_callers_are_counted_apart() -> None:
    limit = RateLimit(1)
    assert limit.count("user 7", NOON)
    assert limit.count("user 8", NOON)
    assert not limit.count("user 7", at(1))


def test_few_requests_lease_nothing_and_one_process_allows_the_limit() -> None:
    limit, leases = RateLimit(100), Leases(100)
    assert all(limit.count("user 7", NOON, leases.lease) for _ in range(5))
    assert leases.asked == 0
    assert [limit.count("user 7", NOON, leases.lease) for _ in range(100)].count(True) == 95
    assert leases.granted == 100


def test_processes_share_the_limit_but_for_a_block_each() -> None:
    limits, leases = [RateLimit(100) for _ in range(4)], Leases(100)
    allowed = sum(limit.count("user 7", NOON, leases.lease) for _ in range(100) for limit in limits)
    assert 100 <= allowed <= 100 + 4 * 5
    assert leases.granted <= 100


def test_a_new_minute_leases_anew() -> None:
    limit, leases = RateLimit(20), Leases(20)
    assert [limit.count("user 7", NOON, leases.lease) for _ in range(25)].count(True) == 20
    again = Leases(20)
    assert [limit.count("user 7", at(60), again.lease) for _ in range(25)].count(True) == 20
