"""A service that falls silent is left alone for a while, and one caller finds out when it is back."""

from datetime import UTC, datetime, timedelta

from payments.checkout.circuit_breaker import MAX_FAILURES, MAX_OPEN, MIN_OPEN, CircuitBreaker

NOON = datetime(2026, 11, 16, 9, tzinfo=UTC)


def _silent(times: int = MAX_FAILURES) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for _ in range(times):
        assert breaker.seconds_to_wait(NOON) is None
        breaker.record_failure(NOON)
    return breaker


def test_a_few_silences_keep_nobody_off_and_one_more_does() -> None:
    assert _silent(MAX_FAILURES - 1).seconds_to_wait(NOON) is None
    assert _silent().seconds_to_wait(NOON) == MIN_OPEN.total_seconds()


def test_an_answer_between_them_begins_the_count_anew() -> None:
    breaker = _silent(MAX_FAILURES - 1)
    breaker.record_success()
    breaker.record_failure(NOON)
    assert breaker.seconds_to_wait(NOON) is None


def test_after_the_rest_one_goes_and_the_others_wait_for_what_it_finds() -> None:
    breaker, later = _silent(), NOON + MIN_OPEN
    assert breaker.seconds_to_wait(later) is None
    assert breaker.seconds_to_wait(later) == MIN_OPEN.total_seconds()
    breaker.record_success()
    assert breaker.seconds_to_wait(later) is None


def test_the_rest_grows_with_each_silence_up_to_a_bound() -> None:
    breaker, now, rests = _silent(), NOON, []
    for _ in range(8):
        now += MAX_OPEN
        assert breaker.seconds_to_wait(now) is None
        breaker.record_failure(now)
        rests.append(breaker.seconds_to_wait(now))
    assert rests == [10, 20, 20, 20, 20, 20, 20, 20]
    assert timedelta(seconds=rests[-1] or 0) == MAX_OPEN


def test_calls_that_were_under_way_when_the_rest_began_make_it_no_longer() -> None:
    breaker = _silent()
    for _ in range(100):
        breaker.record_failure(NOON)
    assert breaker.seconds_to_wait(NOON) == MIN_OPEN.total_seconds()
    later = NOON + MIN_OPEN
    assert breaker.seconds_to_wait(later) is None
    for _ in range(100):
        breaker.record_failure(later)
    assert breaker.seconds_to_wait(later) == 2 * MIN_OPEN.total_seconds()
