"""The circuit opens after failures in a row, and one caller finds out when the service is back."""

from datetime import UTC, datetime, timedelta

from payments.checkout.circuit_breaker import MAX_FAILURES, MAX_OPEN, MIN_OPEN, CircuitBreaker

NOON = datetime(2026, 11, 16, 9, tzinfo=UTC)


def _opened(times: int = MAX_FAILURES) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for _ in range(times):
        assert breaker.seconds_to_wait(NOON) is None
        breaker.record_failure(NOON)
    return breaker


def test_the_circuit_opens_after_the_last_allowed_failure() -> None:
    assert _opened(MAX_FAILURES - 1).seconds_to_wait(NOON) is None
    assert _opened().seconds_to_wait(NOON) == MIN_OPEN.total_seconds()


def test_a_success_resets_the_count() -> None:
    breaker = _opened(MAX_FAILURES - 1)
    breaker.record_success()
    breaker.record_failure(NOON)
    assert breaker.seconds_to_wait(NOON) is None


def test_one_caller_tries_the_half_open_circuit_and_the_others_wait() -> None:
    breaker, later = _opened(), NOON + MIN_OPEN
    assert breaker.seconds_to_wait(later) is None
    assert breaker.seconds_to_wait(later) == MIN_OPEN.total_seconds()
    breaker.record_success()
    assert breaker.seconds_to_wait(later) is None


def test_the_circuit_stays_open_longer_after_each_failure_up_to_a_bound() -> None:
    breaker, now, waits = _opened(), NOON, []
    for _ in range(8):
        now += MAX_OPEN
        assert breaker.seconds_to_wait(now) is None
        breaker.record_failure(now)
        waits.append(breaker.seconds_to_wait(now))
    assert waits == [10, 20, 20, 20, 20, 20, 20, 20]
    assert timedelta(seconds=waits[-1] or 0) == MAX_OPEN


def test_calls_under_way_when_the_circuit_opened_do_not_count() -> None:
    breaker = _opened()
    for _ in range(100):
        breaker.record_failure(NOON)
    assert breaker.seconds_to_wait(NOON) == MIN_OPEN.total_seconds()
    later = NOON + MIN_OPEN
    assert breaker.seconds_to_wait(later) is None
    for _ in range(100):
        breaker.record_failure(later)
    assert breaker.seconds_to_wait(later) == 2 * MIN_OPEN.total_seconds()
