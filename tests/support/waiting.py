"""Bounded waits for real processes."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def wait_until(
    condition: Callable[[], bool], what: str, within_seconds: float = 20, every_seconds: float = 0.02
) -> None:
    """Poll until `condition` holds; fail with `what` if it does not within the time."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {within_seconds} s: {what}.")
        time.sleep(every_seconds)


def is_alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"
