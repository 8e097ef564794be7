"""The goals of speed that one run of the bench can answer, and how each is read from its figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tests.bench.results import BARE, DAFTARI, PLAIN, WITH_KEYS, Figures, middle, ratios, values

MANY = 32
PROCESSOR = ("processor_milliseconds_per_lifecycle", "own")


@dataclass(frozen=True)
class Goal:
    """What is measured, what is wanted, and how to read the figures of it, one for each turn."""

    what: str
    goal: str
    read: Callable[[Figures], list[float]]
    form: str = "{:.1f}"

    def reached(self, results: Figures) -> str:
        """Return what was reached, as text."""
        return middle(self.read(results), self.form)


def _of_plain(subject: str, path: Sequence[str], results: Figures) -> list[float]:
    return ratios(results, "lifecycles", subject, PLAIN, *path, clients=MANY)


def _step(part: str, step: str, rank: str, results: Figures) -> list[float]:
    turns = [turn for turn in results["turns"] if turn["part"] == part and turn["subject"] == DAFTARI]
    return [turn["milliseconds"][step][rank] for turn in turns if step in turn["milliseconds"]]


def _start(kind: str, name: str, results: Figures) -> list[float]:
    return values(results, "starts", DAFTARI, kind, name)


_RATE = ("lifecycles_per_second",)
_OPEN = ("create", 25), ("initiate", 30), ("status", 10), ("list", 15), ("session", 15), ("events", 15)
_ONE = ("create", 4), ("initiate", 8), ("order", 20), ("status", 1.5)
_STARTS = (
    ("`daftari up` until ready, warm", 2, "ready", "warm"),
    ("`daftari up` until ready, fresh", 4, "ready", "fresh"),
    ("`daftari --help`", 0.25, "commands", "daftari --help"),
    ("`daftari token`", 0.25, "commands", "daftari token"),
    ("`daftari replay`", 0.5, "commands", "daftari replay"),
)

GOALS = (
    Goal("lifecycles over plain rows, 32 clients", "≥ 1.6", partial(_of_plain, DAFTARI, _RATE), "{:.2f}"),
    Goal("processor time over plain rows", "≤ 0.65", partial(_of_plain, DAFTARI, PROCESSOR), "{:.2f}"),
    Goal("lifecycles, with keys", "≥ 1.4", partial(_of_plain, WITH_KEYS, _RATE), "{:.2f}"),
    Goal("processor time, with keys", "≤ 0.75", partial(_of_plain, WITH_KEYS, PROCESSOR), "{:.2f}"),
    Goal(
        "status polls over a bare view, 32 clients",
        "≥ 2",
        lambda results: ratios(results, "polls", DAFTARI, BARE, "per_second"),
        "{:.2f}",
    ),
    Goal(
        "status polls a second",
        "≥ 2,500",
        lambda results: values(results, "polls", DAFTARI, "per_second"),
        "{:.0f}",
    ),
    *(
        Goal(f"one client, p50 of {step}, ms", f"≤ {most}", partial(_step, "one", step, "p50"))
        for step, most in _ONE
    ),
    *(
        Goal(f"half of the peak, p99 of {step}, ms", f"≤ {most}", partial(_step, "open", step, "p99"))
        for step, most in _OPEN
    ),
    *(
        Goal(f"{what}, s", f"≤ {most}", partial(_start, kind, name), "{:.2f}")
        for what, most, kind, name in _STARTS
    ),
    Goal("memory of an API process, MB", "≤ 90", lambda results: results["api_process_megabytes"], "{:.0f}"),
)
