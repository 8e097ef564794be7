"""A stale PostgreSQL that outlived its parent: stop it, and remove its pid file, before the folder is used."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from api.local.problems import DatabaseProblem

_STOP_WITHIN_SECONDS = 60
_POLL_SECONDS = 0.05
_PS_WITHIN_SECONDS = 5


def clear(cluster: Path) -> None:
    """Stop a server that still runs on `cluster`, and remove its postmaster.pid; the caller holds the folder's lock.

    PostgreSQL refuses to start if another program has the recorded process id by now, so a file without a server of
    this folder is removed. Raises DatabaseProblem if the server does not stop.
    """
    pid = _recorded_pid(cluster)
    if pid is None:
        return
    deadline = time.monotonic() + _STOP_WITHIN_SECONDS
    if _serves(pid, cluster):
        _signal(pid)
    while _serves(pid, cluster):
        if time.monotonic() > deadline:
            raise DatabaseProblem(
                f"A PostgreSQL left over from before (process {pid}) still runs on {cluster} and does not stop: "
                f"type `kill -QUIT {pid}`, then start again."
            )
        time.sleep(_POLL_SECONDS)
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _recorded_pid(cluster: Path) -> int | None:
    try:
        first_line = (cluster / "postmaster.pid").read_text(encoding="utf-8").partition("\n")[0]
    except FileNotFoundError:
        return None
    return int(first_line) if first_line.isdigit() and int(first_line) > 1 else 0


def _serves(pid: int, cluster: Path) -> bool:
    """Return whether `pid` is a live server of `cluster`: a postmaster's working folder is its cluster."""
    if pid == 0:
        return False
    if sys.platform != "linux":
        return f"-D {cluster}" in _command_line(pid)
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == cluster.resolve()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _command_line(pid: int) -> str:
    answer = subprocess.run(
        ["ps", "-p", str(pid), "-o", "command="],
        capture_output=True,
        text=True,
        timeout=_PS_WITHIN_SECONDS,
        check=False,
    )
    return answer.stdout


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGINT)
    except ProcessLookupError:
        return
