"""The processor time of each part of a running Daftari."""

import os
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]  # it comes without types

API, WORKER, POSTGRES, SIMULATOR, CLIENT, SUPERVISOR = (
    "API",
    "worker",
    "PostgreSQL",
    "simulator",
    "client",
    "supervisor",
)
OWN_PARTS = (API, WORKER, POSTGRES, SUPERVISOR)
"""The parts that a service consists of: the simulator and the client belong to the measuring."""

PARTS = (API, WORKER, POSTGRES, SIMULATOR, CLIENT, SUPERVISOR)

_BY_COMMAND = {"serve": API, "work": WORKER, "simulator": SIMULATOR}


class ProcessorTimes:
    """The processes of each part, of which `roots` names the first, and ourselves as the client.

    Of PostgreSQL's processes those that serve `other_database` are left out.
    """

    def __init__(
        self,
        roots: dict[str, psutil.Process],
        supervisor: psutil.Process | None = None,
        other_database: str = "",
    ) -> None:
        self._roots = roots
        self._supervisor = supervisor
        self._other_database = other_database

    @classmethod
    def of_daftari(cls, supervisor_pid: int, other_database: str = "") -> Self:
        """Return those of the Daftari whose `daftari up` has this process id."""
        supervisor = psutil.Process(supervisor_pid)
        roots = {_part_of(child): child for child in supervisor.children()}
        missing = {API, WORKER, POSTGRES, SIMULATOR} - roots.keys()
        assert not missing, f"No process of {', '.join(sorted(missing))} was found below `daftari up`."
        return cls(roots, supervisor, other_database)

    def root(self, part: str) -> psutil.Process:
        """Return the first process of a part."""
        return self._roots[part]

    def seconds(self) -> dict[str, float]:
        """Return the seconds of processor time that each part has used since it started.

        Ended children are included on Linux.
        """
        used = dict.fromkeys(PARTS, 0.0)
        for part, root in self._roots.items():
            used[part] = _seconds_of_tree(root, self._other_database)
        if self._supervisor is not None:
            used[SUPERVISOR] = _own_seconds(self._supervisor)
        used[CLIENT] = _own_seconds(psutil.Process(os.getpid()))
        return used

    def memory_megabytes(self, part: str) -> list[float]:
        """Return the resident memory of each process below the first one of a part."""
        return [child.memory_info().rss / 1e6 for child in self._roots[part].children()]


def _part_of(process: psutil.Process) -> str:
    command = process.cmdline()
    if Path(command[0]).name.startswith("postgres"):
        return POSTGRES
    return next(part for word, part in _BY_COMMAND.items() if word in command)


def _seconds_of_tree(root: psutil.Process, other_database: str) -> float:
    return sum(
        _own_seconds(process) + _seconds_of_ended_children(process)
        for process in [root, *root.children(recursive=True)]
        if not (other_database and _database_of(process) == other_database)
    )


def _database_of(process: psutil.Process) -> str | None:
    """Return the database that a process of PostgreSQL serves, by its title: `postgres: user database [local] idle`."""
    try:
        words = " ".join(process.cmdline()).split()
    except psutil.NoSuchProcess:
        return None
    return words[2] if words[:1] == ["postgres:"] and "[local]" in words else None


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
