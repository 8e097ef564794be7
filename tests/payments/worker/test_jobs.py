"""A job that has done all there is rests; only a full round is followed by the next at once."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

import pytest
from freezegun import freeze_time

from ledger import clock
from payments.worker.jobs import Job, run_job


class Rests:
    """A stop that notes each rest, and ends the job when its rounds are used up."""

    def __init__(self, done: Iterable[int]) -> None:
        self._done: Iterator[int] = iter(done)
        self._next: int | None = next(self._done)
        self.log: list[str] = []

    def is_set(self) -> bool:
        """End after the last round."""
        return self._next is None

    def wait(self, timeout: float) -> bool:
        """Note a rest of so many seconds."""
        self.log.append(f"rested {timeout:.2f}")
        return self.is_set()

    def work(self) -> int:
        """Do one round."""
        done, self._next = self._next, next(self._done, None)
        assert done is not None
        self.log.append(f"did {done}")
        return done


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([10, 10, 3], ["did 10", "did 10", "did 3", "rested 0.10"]),
        ([3, 10, 0], ["did 3", "rested 0.10", "did 10", "did 0", "rested 0.10"]),
        ([0, 0, 9, 0], [*2 * ["did 0", "rested 0.10"], "did 9", "rested 0.10", "did 0", "rested 0.10"]),
    ],
)
def test_a_job_rests_unless_its_round_was_full(rounds: list[int], expected: list[str]) -> None:
    rests = Rests(rounds)
    run_job(Job("followed", rests.work, 0.1, 0.1, full_round=10), rests)
    assert rests.log == expected


@pytest.mark.parametrize(
    ("idle_rounds", "took", "expected"),
    [
        (0, 0.05, 0.1),
        (0, 0.1, 0.2),
        (0, 0.15, 0.45),
        (10, 0.07, 0.2),
        (100, 0.07, 0.5),
        (0, 7.0, 0.5),
        (0, -3600.0, 0.1),
    ],
)
def test_a_job_rests_ever_longer_after_rounds_that_are_longer_than_usual(
    idle_rounds: int, took: float, expected: float
) -> None:
    job = Job("followed", lambda: 0, 0.1, 0.5, rounds_to_double=10, usual_seconds=0.05)
    assert job.rest(idle_rounds, timedelta(seconds=took)) == pytest.approx(expected)


def test_one_long_round_among_short_ones_makes_no_rest_longer() -> None:
    took = [0.01, 0.01, 0.15, 0.01, 0.15, 0.15, 0.01, 0.01]
    rests = Rests([1] * len(took))
    rounds = iter(took)
    with freeze_time(clock.now()) as frozen:

        def work() -> int:
            frozen.tick(next(rounds))
            return rests.work()

        run_job(Job("followed", work, 0.1, 0.5, full_round=10, usual_seconds=0.05), rests)
    assert rests.log[1::2] == [*4 * ["rested 0.10"], *3 * ["rested 0.45"], "rested 0.10"]
