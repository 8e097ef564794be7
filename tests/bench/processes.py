"""The processor time of each part of a running Daftari."""

import os
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it comes without types

API, WORKER, POSTGRES, SIMULATOR, CLIENT, SUPERVISOR = (
    "API",
    "worker",
    "PostgreSQL",
    "simulator",
    "client",
    "supervisor",
)
PARTS = (API, WORKER, POSTGRES, SIMULATOR, CLIENT, SUPERVISOR)

_BY_COMMAND = {"serve": API, "work": WORKER, "simulator": SIMULATOR}


class ProcessorTimes:
    """The parts of the Daftari whose `daftari up` has this process id, and ourselves as the client."""

    def __init__(self, supervisor_pid: int) -> None:
        self._supervisor = psutil.Process(supervisor_pid)
        self._roots = {_part_of(child): child for child in self._supervisor.children()}
        missing = {API, WORKER, POSTGRES, SIMULATOR} - self._roots.keys()
        assert not missing, f"No process of {', '.join(sorted(missing))} was found below `daftari up`."

    def seconds(self) -> dict[str, float]:
        """Return the seconds of processor time that each part has used since it started.

        Ended children are included on Linux.
        """
        used = {part: _seconds_of_tree(root) for part, root in self._roots.items()}
        used[SUPERVISOR] = _own_seconds(self._supervisor)
        used[CLIENT] = _own_seconds(psutil.Process(os.getpid()))
        return used


def _part_of(process: psutil.Process) -> str:
    command = process.cmdline()
    if Path(command[0]).name.startswith("postgres"):
        return POSTGRES
    return next(part for word, part in _BY_COMMAND.items() if word in command)


def _seconds_of_tree(root: psutil.Process) -> float:
    return sum(
        _own_seconds(process) + _seconds_of_ended_children(process)
        for process in [root, *root.children(recursive=True)]
    )


def _own_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0  # It has just ended: its parent reports its time.
    return float(times.user + times.system)


def _seconds_of_ended_children(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.children_user + times.children_system)
