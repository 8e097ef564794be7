"""The figures of a run, each with its turn; those of a turn with an error or a violation are left out."""

from dataclasses import asdict
from statistics import median
from typing import Any

from tests.bench import machine
from tests.performance.bounds import MOST

Figures = dict[str, Any]

DAFTARI, WITH_KEYS = "Daftari", "Daftari, with keys"
PLAIN, PLAIN_ON_OUR_SERVER = "plain rows", "plain rows, our server"
BARE = "bare view"


class Results:
    """Collects the turns of a run. `refused` has a sentence for each turn whose figures do not count."""

    def __init__(self, described: Figures) -> None:
        self.refused: list[str] = []
        self._described = described | {"load_before": machine.load()}
        self._ticks = machine.Ticks.now()
        self._turns: list[Figures] = []
        self._memory: list[float] = []

    def add(self, part: str, subject: str, pair: int, found: Figures) -> None:
        """Keep the figures of a turn, unless it had problems."""
        if found["problems"]:
            self.refused.append(f"{part}, {subject}, turn {pair + 1}: {'; '.join(found['problems'][:5])}")
            return
        figures = {name: value for name, value in found.items() if name != "problems"}
        self._turns.append({"part": part, "subject": subject, "pair": pair, **figures})

    def add_memory(self, megabytes: list[float]) -> None:
        """Keep the resident memory of each API process, after its load."""
        self._memory = [round(size, 1) for size in megabytes]

    def end(self) -> None:
        """Note what else the machine did in the meantime."""
        self._described |= {
            "load_after": machine.load(),
            "steal_percent": machine.Ticks.now().steal_since(self._ticks),
        }

    def values(self, part: str, subject: str, *path: str, clients: int | None = None) -> list[float]:
        """Return a figure of each turn."""
        return values(self.as_json(), part, subject, *path, clients=clients)

    def as_json(self) -> Figures:
        """Return everything."""
        return {
            "machine": self._described,
            "api_process_megabytes": self._memory,
            "bounds": {step: asdict(most) for step, most in MOST.items()},
            "refused": self.refused,
            "turns": self._turns,
        }


def by_pair(
    results: Figures, part: str, subject: str, *path: str, clients: int | None = None
) -> dict[int, float]:
    """Return a figure of each turn of a part by the number of its turn; `path` names it from the outside in."""
    found = {}
    for turn in results["turns"]:
        wanted = clients is None or turn.get("clients") == clients
        if turn["part"] == part and turn["subject"] == subject and wanted:
            value: Any = turn
            for name in path:
                value = value[name]
            found[turn["pair"]] = value
    return found


def values(results: Figures, part: str, subject: str, *path: str, clients: int | None = None) -> list[float]:
    """Return a figure of each turn of a part."""
    return list(by_pair(results, part, subject, *path, clients=clients).values())


def ratios(
    results: Figures, part: str, ours: str, theirs: str, *path: str, clients: int | None = None
) -> list[float]:
    """Return the ratio of a figure of two subjects in each pair of turns that has both."""
    of_ours = by_pair(results, part, ours, *path, clients=clients)
    of_theirs = by_pair(results, part, theirs, *path, clients=clients)
    return [of_ours[pair] / of_theirs[pair] for pair in sorted(of_ours.keys() & of_theirs.keys())]


NOTHING = "-"


def middle(figures: list[float], form: str = "{:.1f}") -> str:
    """Return "median (min to max)"; NOTHING where nothing was measured."""
    if not figures:
        return NOTHING
    low, high = min(figures), max(figures)
    shown = form.format(median(figures))
    return shown if len(figures) == 1 else f"{shown} ({form.format(low)} to {form.format(high)})"
