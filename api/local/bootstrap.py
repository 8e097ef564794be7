"""Make the virtual environment from a lock: `python3 -I api/local/bootstrap.py VENV LOCK`, by any python3.

It runs before anything is installed, on whatever python3 there is, so it needs the standard library alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
NEWEST_TO_LOOK_FOR = 19
CHECKOUT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Make what is missing of the environment, and install the lock and the project into it."""
    venv, lock = CHECKOUT / sys.argv[1], CHECKOUT / sys.argv[2]
    if not (venv / "bin" / "pip").exists():
        say(f"Making {sys.argv[1]} ...")
        make_environment(find_python(), venv)
    pip = [
        str(venv / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
    ]
    say(f"Installing {sys.argv[2]} ...")
    run([*pip, "--no-compile", "--require-hashes", "--requirement", str(lock)])
    run([*pip, "--no-build-isolation", "--editable", str(CHECKOUT)])


def find_python() -> str:
    """Return a Python that is new enough: this one, else the newest by name on the PATH."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for minor in range(NEWEST_TO_LOOK_FOR, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    version = ".".join(str(number) for number in sys.version_info[:3])
    sys.exit(
        f"Error: Daftari needs Python 3.11 or newer and python3 is {version}: install a newer one "
        "(`apt install python3.11`, `brew install python3`), or type `make PYTHON=/path/to/python3.11 ...`."
    )


def make_environment(python: str, venv: Path) -> None:
    """Make the environment; where Debian keeps the means for it apart, install them first."""
    if subprocess.call([python, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL) != 0:
        install_venv_package(python)
    shutil.rmtree(venv, ignore_errors=True)
    run([python, "-m", "venv", str(venv)])


def install_venv_package(python: str) -> None:
    """Install Debian's venv package as root; say the one line to type to everyone else."""
    minor = subprocess.check_output(
        [python, "-c", "import sys; print(sys.version_info[1])"], text=True
    ).strip()
    package = "python3-venv" if Path(python).name == "python3" else f"python3.{minor}-venv"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(
            f"Error: python3 lacks its venv module: type `sudo apt-get install -y {package}`, then try again."
        )
    say(f"Installing {package} ...")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], environ)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], environ)


def run(command: list[str], environ: dict[str, str] | None = None) -> None:
    """Run a command to its end, or end with its exit code; it has said why."""
    code = subprocess.call(command, env=environ)
    if code != 0:
        sys.exit(f"Error: `{' '.join(command)}` has failed; it says why above.")


def say(description: str) -> None:
    """Tell whoever waits what is being done."""
    sys.stderr.write(description + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
