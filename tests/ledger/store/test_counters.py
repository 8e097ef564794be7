from collections.abc import Mapping

import pytest

from ledger.errors import Rejected, Unavailable
from ledger.store.counters import REGISTRY, Count, Timing, timed

COMMAND = "a command of the tests"


def value(name: str, labels: Mapping[str, str]) -> float:
    return REGISTRY.get_sample_value(name, dict(labels)) or 0.0


@pytest.fixture(scope="module")
def count() -> Count:
    return Count("tests_counted", "What the tests count.", ("kind",))


def test_each_value_of_a_label_is_counted_apart(count: Count) -> None:
    before = {kind: value("tests_counted_total", {"kind": kind}) for kind in ("one", "other")}
    for kind in ("one", "other", "one"):
        count.add(kind)
    after = {kind: value("tests_counted_total", {"kind": kind}) - before[kind] for kind in before}
    assert after == {"one": 2, "other": 1}


def test_a_timing_counts_and_sums_seconds() -> None:
    timing = Timing("tests_took_seconds", "How long the tests take.", ("step",))
    timing.add(0.25, "one")
    timing.add(0.5, "one")
    assert value("tests_took_seconds_count", {"step": "one"}) == 2
    assert value("tests_took_seconds_sum", {"step": "one"}) == 0.75
    assert value("tests_took_seconds_bucket", {"step": "one", "le": "0.25"}) == 1


class AnswerKept(Exception):
    outcome = "repeated"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "done"),
        (Rejected("NOT_NOW", "Not now."), "refused"),
        (Unavailable(), "unavailable"),
        (AnswerKept(), "repeated"),
        (ZeroDivisionError(), "failed"),
    ],
)
def test_a_command_is_counted_by_what_came_of_it_and_its_error_goes_on(
    error: Exception | None, outcome: str
) -> None:
    def run() -> None:
        with timed(COMMAND):
            if error is not None:
                raise error

    def counted() -> float:
        return value("daftari_command_seconds_count", {"command": COMMAND, "outcome": outcome})

    before = counted()
    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()
    assert counted() == before + 1
