"""A service that falls silent is left alone for a while, and one caller finds out when it is back."""

from datetime import UTC, datetime, timedelta

from payments.checkout.circuit_breaker import LONGEST_REST, MOST_SILENCES, SHORTEST_REST, Breaker

NOON = datetime(2026, 11, 16, 9, tzinfo=UTC)


def _silent(times: int = MOST_SILENCES) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        assert breaker.seconds_to_wait(NOON) is None
        breaker.note_silence(NOON)
    return breaker


def test_a_few_silences_keep_nobody_off_and_one_more_does() -> None:
    assert _silent(MOST_SILENCES - 1).seconds_to_wait(NOON) is None
    assert _silent().seconds_to_wait(NOON) == SHORTEST_REST.total_seconds()


def test_an_answer_between_them_begins_the_count_anew() -> None:
    breaker = _silent(MOST_SILENCES - 1)
    breaker.note_answer()
    breaker.note_silence(NOON)
    assert breaker.seconds_to_wait(NOON) is None


def test_after_the_rest_one_goes_and_the_others_wait_for_what_it_finds() -> None:
    breaker, later = _silent(), NOON + SHORTEST_REST
    assert breaker.seconds_to_wait(later) is None
    assert breaker.seconds_to_wait(later) == SHORTEST_REST.total_seconds()
    breaker.note_answer()
    assert breaker.seconds_to_wait(later) is None


def test_the_rest_grows_with_each_silence_up_to_a_bound() -> None:
    breaker, now, rests = _silent(), NOON, []
    for _ in range(8):
        now += LONGEST_REST
        assert breaker.seconds_to_wait(now) is None
        breaker.note_silence(now)
        rests.append(breaker.seconds_to_wait(now))
    assert rests == [10, 20, 20, 20, 20, 20, 20, 20]
    assert timedelta(seconds=rests[-1] or 0) == LONGEST_REST


def test_calls_that_were_under_way_when_the_rest_began_make_it_no_longer() -> None:
    breaker = _silent()
    for _ in range(100):
        breaker.note_silence(NOON)
    assert breaker.seconds_to_wait(NOON) == SHORTEST_REST.total_seconds()
    later = NOON + SHORTEST_REST
    assert breaker.seconds_to_wait(later) is None
    for _ in range(100):
        breaker.note_silence(later)
    assert breaker.seconds_to_wait(later) == 2 * SHORTEST_REST.total_seconds()
