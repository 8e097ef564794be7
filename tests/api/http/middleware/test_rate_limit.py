from api.http.middleware.rate_limit import RateLimit


def test_a_caller_is_refused_beyond_the_limit_until_the_minute_is_over() -> None:
    limit = RateLimit(2)
    assert [limit.count("user 7", second) for second in (100, 101, 102, 159.9)] == [True, True, False, False]
    assert limit.count("user 7", 160)


def test_callers_are_counted_apart() -> None:
    limit = RateLimit(1)
    assert limit.count("user 7", 100)
    assert limit.count("user 8", 100)
    assert not limit.count("user 7", 101)


def test_a_minute_begins_with_the_first_request_after_the_last_one() -> None:
    limit = RateLimit(1)
    assert limit.count("user 7", 0)
    assert limit.count("user 7", 1_000)
    assert not limit.count("user 7", 1_059)
