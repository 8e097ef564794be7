"""What else the machine did meanwhile: a figure is worth as much as the machine was quiet."""

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it comes without types

from ledger import clock


@dataclass(frozen=True)
class Ticks:
    """The processor time of the machine since it started, and how much of it the host took away, in ticks."""

    all: int
    stolen: int

    @classmethod
    def now(cls) -> "Ticks":
        """Read /proc/stat."""
        ticks = [int(word) for word in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:9]]
        return cls(sum(ticks), ticks[7])

    def steal_since(self, before: "Ticks") -> float:
        """Return the share of the time that the host took away, in percent."""
        return round(100 * (self.stolen - before.stolen) / max(1, self.all - before.all), 2)


def describe() -> dict[str, Any]:
    """Return the machine, the commit, and the moment."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "cores": psutil.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "at": clock.now().isoformat(timespec="seconds"),
    }


def load() -> list[float]:
    """Return the mean number of busy processes in the last one, five and fifteen minutes."""
    return [round(mean, 2) for mean in os.getloadavg()]
