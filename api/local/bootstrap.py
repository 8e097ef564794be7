"""Create the virtual environment from a lock: `python3 -I api/local/bootstrap.py VENV LOCK`, by any python3.

It runs before anything is installed, so it needs the standard library alone; and on whatever python3 there is, so it
keeps to the syntax of Python 3.6, which can then say that it is too old.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
NEWEST_TO_LOOK_FOR = 19
CHECKOUT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Create what is missing of the environment, and install the lock and the project into it."""
    venv, lock = CHECKOUT / sys.argv[1], CHECKOUT / sys.argv[2]
    if not (venv / "bin" / "pip").exists():
        say(f"Creating {sys.argv[1]} ...")
        create_environment(find_python(), venv)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--no-deps", "--disable-pip-version-check"]
    install_lock([*pip, "--no-compile", "--require-hashes", "--requirement", str(lock)], lock)
    run([*pip, "--quiet", "--no-build-isolation", "--editable", str(CHECKOUT)])


def find_python() -> str:
    """Return a Python that is new enough: this one, else the newest on the PATH that runs."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for minor in range(NEWEST_TO_LOOK_FOR, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # A shim of pyenv is on the PATH whether or not its version is active.
        if found and subprocess.call([found, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            return found
    version = ".".join(str(number) for number in sys.version_info[:3])
    sys.exit(
        f"Error: Daftari needs Python 3.11 or newer, and python3 is {version}: install a newer one "
        "(`apt install python3.11`, `brew install python3`), or type `make PYTHON=/path/to/python3.11 ...`."
    )


def create_environment(python: str, venv: Path) -> None:
    """Create the environment; if Debian's venv package is missing, install that first."""
    if subprocess.call([python, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL) != 0:
        install_venv_package(python)
    shutil.rmtree(str(venv), ignore_errors=True)
    run([python, "-m", "venv", str(venv)])


def install_venv_package(python: str) -> None:
    """Install Debian's venv package as root; tell other users what to type."""
    minor = subprocess.check_output([python, "-c", "import sys; print(sys.version_info[1])"]).decode().strip()
    package = "python3-venv" if Path(python).name == "python3" else f"python3.{minor}-venv"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(
            f"Error: python3 lacks its venv module: type `sudo apt-get install -y {package}`, then try again."
        )
    say(f"Installing {package} ...")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], environ)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], environ)


def install_lock(command: "list[str]", lock: Path) -> None:
    """Install the packages of a lock, counting them as they arrive."""
    total = sum(line[:1].isalpha() for line in lock.read_text().splitlines())
    say(f"Installing the {total} packages of {lock.name}. This takes a minute or two, and happens once.")
    with subprocess.Popen(command, stdout=subprocess.PIPE, universal_newlines=True) as pip:
        assert pip.stdout is not None
        count = 0
        for line in pip.stdout:
            if line.startswith(("Collecting", "Ignoring", "Requirement already")):
                count += 1
                sys.stderr.write(f"\r  {count} of {total}")
            elif line.startswith("Installing"):
                sys.stderr.write(", unpacking ...")
            sys.stderr.flush()
    say("")
    if pip.returncode != 0:
        sys.exit(
            "Error: the packages could not be installed; pip says why above. If it found no versions, check that "
            "this machine has a network connection, then try again."
        )


def run(command: "list[str]", environ: "dict[str, str] | None" = None) -> None:
    """Run a command to its end; exit if it fails."""
    code = subprocess.call(command, env=environ)
    if code != 0:
        sys.exit(f"Error: `{' '.join(command)}` has failed; it says why above.")


def say(message: str) -> None:
    """Print what is being done."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
