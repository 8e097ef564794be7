"""How soon everything is ready, how long commands take, and how much memory an API process has."""

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

from tests.bench.bench_stack import DAFTARI, environment, folder_on_disk, started_daftari
from tests.bench.subjects import Subjects

REPEATS = 5
COMMAND_WITHIN_SECONDS = 60


def measure_starts() -> dict[str, float]:
    """Return the seconds until `daftari up` is ready, on a new data folder and on that of before."""
    folder = folder_on_disk()
    seconds: list[float] = []
    try:
        for _ in range(3):
            started = perf_counter()
            with started_daftari(folder, environment(folder)):
                seconds.append(perf_counter() - started)
    finally:
        shutil.rmtree(folder)
    return {"fresh": round(seconds[0], 2), "warm": round(min(seconds[1:]), 2)}


def measure_commands(subjects: Subjects, session_id: str) -> dict[str, float]:
    """Return the median seconds of some commands."""
    commands = {
        "daftari --help": ("--help",),
        "daftari token": ("token", "--user", "1"),
        "daftari replay": ("replay", session_id),
    }
    return {name: round(_median(partial(_command, subjects, words)), 2) for name, words in commands.items()}


def _command(subjects: Subjects, words: tuple[str, ...]) -> None:
    subprocess.run(
        [*DAFTARI, *words],
        env=subjects.stack.environ,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=COMMAND_WITHIN_SECONDS,
    )


def _median(run: Callable[[], None]) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = perf_counter()
        run()
        seconds.append(perf_counter() - started)
    return median(seconds)
