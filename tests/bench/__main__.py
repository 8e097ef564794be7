"""`python -m tests.bench`: measure Daftari in turns with plain rows, a bare view and PostgreSQL itself."""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import click

from tests.bench import machine
from tests.bench.closed_load import buy, measure_lifecycles, measure_polls
from tests.bench.floor import measure_floor
from tests.bench.open_load import run_open_load
from tests.bench.overload import measure_overload
from tests.bench.page import tables
from tests.bench.processes import API
from tests.bench.results import BARE, Results
from tests.bench.starting import measure_commands, measure_starts
from tests.bench.subjects import POLL_SECONDS, Subjects, running_subjects

PARTS = ("lifecycles", "one", "polls", "open", "floor", "starts", "overload")
MANY_CLIENTS = 32
POLLED_SESSIONS = 32
FAST_POLL_SECONDS = 0.002
"""The pause between two polls where it must not hide how soon an order is there."""

OPEN_CLIENTS = 128


def _numbers(_context: click.Context, _parameter: click.Parameter, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise click.BadParameter("give whole numbers from 1 on, separated by commas, such as 1,8,32")
    return numbers


def _chosen(_context: click.Context, _parameter: click.Parameter, text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(PARTS):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: choose from {','.join(PARTS)}")
    return chosen


@click.command()
@click.option(
    "--parts",
    default=",".join(PARTS),
    show_default=True,
    callback=_chosen,
    help="What to measure, by commas.",
)
@click.option(
    "--clients", "levels", default="1,8,32", show_default=True, callback=_numbers, help="Concurrent clients."
)
@click.option(
    "--pairs", type=click.IntRange(1), default=3, show_default=True, help="How many turns each gets."
)
@click.option(
    "--lifecycles", type=click.IntRange(8), default=600, show_default=True, help="Lifecycles in a turn."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=10,
    show_default=True,
    help="How long other turns last.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/bench.json"),
    show_default=True,
    help="Where to write the figures as JSON.",
)
def bench(
    parts: list[str], levels: list[int], pairs: int, lifecycles: int, seconds: float, output: Path
) -> None:
    """Measure whole lifecycles and single requests of Daftari, in turns with plain rows on the same machine.

    Everything runs on this machine: PostgreSQL with fsync on, the simulator, the API, the worker and the clients.
    After each turn `daftari verify` has to find nothing. A turn with an error or a violation gives no figure, and then
    the exit code is 1.

    \b
    Example: a short look at the rates
      python -m tests.bench --parts lifecycles,polls --clients 32 --pairs 1 --lifecycles 200 --seconds 3
    """
    results = Results(machine.describe())
    with running_subjects() as subjects:
        run = _Run(subjects, results, levels, pairs, lifecycles, seconds)
        for part in PARTS:
            if part in parts:
                getattr(run, part)()
    results.end()
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(results.as_json(), indent=1), "utf-8")
    click.echo("\n".join(tables(results.as_json())))
    if results.refused:
        click.echo("\n".join(["", "Refused, because of errors or violations:", *results.refused]))
        sys.exit(1)


class _Run:
    """One run of the bench, a method for each part."""

    def __init__(
        self,
        subjects: Subjects,
        results: Results,
        levels: list[int],
        pairs: int,
        lifecycles: int,
        seconds: float,
    ) -> None:
        self._subjects = subjects
        self._results = results
        self._levels = levels
        self._pairs = pairs
        self._lifecycles = lifecycles
        self._seconds = seconds

    def lifecycles(self) -> None:
        """Whole lifecycles at each number of clients; fewer where one client takes them one by one."""
        for pair in range(self._pairs):
            for clients in self._levels:
                count = self._lifecycles if clients > 1 else max(1, self._lifecycles // 4)
                for subject in self._subjects.in_turns:
                    self._add("lifecycles", subject.name, pair, measure_lifecycles(subject, clients, count))
        self._results.add_memory(self._subjects.daftari.processors.memory_megabytes(API))

    def one(self) -> None:
        """One client that looks again at once, so that its pauses hide nothing."""
        for pair in range(self._pairs):
            for subject in self._subjects.in_turns:
                count = max(8, self._lifecycles // 8)
                self._add("one", subject.name, pair, measure_lifecycles(subject, 1, count, FAST_POLL_SECONDS))

    def polls(self) -> None:
        """Status polls of sessions with an order, and the bare view of rows of the same kind, on our server."""
        daftari, plain = self._subjects.daftari, self._subjects.plain_on_our_server
        ours, rows = buy(daftari, POLLED_SESSIONS), buy(plain, POLLED_SESSIONS)
        for pair in range(self._pairs):
            for name, subject, polled, path_of in (
                (daftari.name, daftari, ours, _status_path),
                (plain.name, plain, rows, _status_path),
                (BARE, plain, rows, _bare_path),
            ):
                found = measure_polls(subject, polled, MANY_CLIENTS, self._seconds, path_of)
                self._add("polls", name, pair, found)

    def open(self) -> None:
        """Buyers who come at half of the peak's rate."""
        for pair in range(self._pairs):
            for subject in (self._subjects.daftari, self._subjects.plain):
                rate = self._peak(subject.name) / 2
                reads = subject is self._subjects.daftari
                load = run_open_load(
                    subject.port,
                    subject.take(round(rate * self._seconds)),
                    rate,
                    clients=OPEN_CLIENTS,
                    poll_seconds=POLL_SECONDS,
                    reads=reads,
                )
                problems = [f"{times} times {why}" for why, times in load.failures.items()]
                found = load.figures() | {"arrivals_per_second": round(rate, 1)}
                self._add("open", subject.name, pair, found | {"problems": problems + subject.check()})

    def floor(self) -> None:
        """PostgreSQL alone."""
        for pair in range(self._pairs):
            for found in measure_floor(self._subjects, max(1, round(self._seconds / 2))):
                self._add("floor", found.pop("statements"), pair, found)

    def starts(self) -> None:
        """Starting, and commands."""
        [(_, path)] = buy(self._subjects.daftari, 1)
        session_id = path.rstrip("/").rsplit("/", 1)[1]
        found = {"commands": measure_commands(self._subjects, session_id), "ready": measure_starts()}
        self._add("starts", self._subjects.daftari.name, 0, found | {"problems": []})

    def overload(self) -> None:
        """Three times as many buyers as are served at the peak."""
        daftari = self._subjects.daftari
        self._add(
            "overload", daftari.name, 0, measure_overload(daftari, self._peak(daftari.name), self._seconds)
        )

    def _peak(self, name: str) -> float:
        """Return the lifecycles a second with many clients, measured now if this run has not."""
        known = self._results.values("lifecycles", name, "lifecycles_per_second", clients=MANY_CLIENTS)
        if not known:
            subject = next(subject for subject in self._subjects.in_turns if subject.name == name)
            found = measure_lifecycles(subject, MANY_CLIENTS, self._lifecycles)
            self._add("lifecycles", name, 0, found)
            known = [found["lifecycles_per_second"]]
        return median(known)

    def _add(self, part: str, subject: str, pair: int, found: dict[str, Any]) -> None:
        self._results.add(part, subject, pair, found)
        figures = {
            name: found[name] for name in ("clients", "lifecycles_per_second", "per_second") if name in found
        }
        click.echo(f"{part} {pair + 1}, {subject}: {figures} {found['problems'] or ''}", err=True)


def _status_path(session: str) -> str:
    return f"{session}status/"


def _bare_path(session: str) -> str:
    return f"/bare/{session.rstrip('/').rsplit('/', 1)[1]}/"


if __name__ == "__main__":
    bench()
