"""`python -m tests.support.lengths`: no Python file is longer than 400 lines."""

import subprocess
import sys
from pathlib import Path

MAX_LINES = 400


def too_long() -> list[str]:
    """Return a sentence for each file under version control that is longer than allowed."""
    listed = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True).stdout
    lengths = {name: len(Path(name).read_text("utf-8").splitlines()) for name in listed.splitlines()}
    over = {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
    return [f"{name} has {lines} lines; {MAX_LINES} is the most." for name, lines in over.items()]


if __name__ == "__main__":
    sys.exit("\n".join(too_long()) or 0)
