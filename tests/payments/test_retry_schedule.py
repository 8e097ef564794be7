from datetime import timedelta

from payments.retry_schedule import RetrySchedule


def test_the_last_pause_repeats() -> None:
    schedule = RetrySchedule.of_seconds(5, 10, 60)
    assert [schedule.pause_after(tries).total_seconds() for tries in range(1, 6)] == [5, 10, 60, 60, 60]
    assert schedule.max_tries == 4


def test_a_doubling_schedule_ends_with_its_longest_pause() -> None:
    schedule = RetrySchedule.doubling(timedelta(seconds=30), timedelta(minutes=15))
    assert [pause.total_seconds() for pause in schedule.pauses] == [30, 60, 120, 240, 480, 900]


def test_a_schedule_without_pauses_never_waits() -> None:
    assert RetrySchedule.doubling(timedelta(0), timedelta(seconds=5)).pause_after(9) == timedelta(0)
