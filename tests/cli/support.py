"""Run `daftari` as people do: as a process, with an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_WITHIN_SECONDS = 60


def daftari(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it said."""
    return subprocess.run(
        [sys.executable, "-m", "api.cli", *arguments],
        cwd=CHECKOUT,
        env=environment(**environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_WITHIN_SECONDS,
        check=False,
    )


def environment(**environ: str) -> dict[str, str]:
    """Return this process's environment with some variables more."""
    return {**os.environ, **environ}
