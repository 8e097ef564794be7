"""A Chromium for the tests of the pages: the system's own, else one installed now, else an error.

`python -m tests.support.browser` does the installing and prints where the browser is.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMED = "DAFTARI_TEST_BROWSER"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--in-process-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MACOS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_APT_WITHIN_SECONDS = 600
_DOWNLOAD_WITHIN_SECONDS = 300


class BrowserMissing(RuntimeError):
    """There is no browser to test the pages with; the message has the line to type."""


def find_browser() -> str:
    """Return the path of a Chromium; raise BrowserMissing."""
    if named := os.environ.get(NAMED):
        return named
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    for place in (*_MACOS, _playwrights_own()):
        if Path(place).is_file():
            return place
    raise BrowserMissing(
        "There is no Chromium for the tests of the pages: type `sudo apt-get install -y chromium`, "
        f"or `.venv/bin/playwright install chromium`, or set {NAMED} to the path of one."
    )


def install_browser() -> str:
    """Return the path of a Chromium, and install one first where there is none; raise BrowserMissing."""
    try:
        return find_browser()
    except BrowserMissing:
        _install()
        return find_browser()


def _install() -> None:
    if os.geteuid() == 0 and _is_debian():
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(
                ["apt-get", "-qq", *command],
                env=environ,
                timeout=_APT_WITHIN_SECONDS,
                check=False,
                stdout=sys.stderr,
            )
    else:
        command = [sys.executable, "-m", "playwright", "install", "chromium"]
        subprocess.run(command, timeout=_DOWNLOAD_WITHIN_SECONDS, check=False, stdout=sys.stderr)


def _is_debian() -> bool:
    """Say whether apt has a Chromium of its own; Ubuntu's is an empty shell around a snap."""
    release = Path("/etc/os-release")
    return release.is_file() and "ID=debian" in release.read_text(encoding="utf-8").splitlines()


def _playwrights_own() -> str:
    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


if __name__ == "__main__":
    try:
        print(install_browser())  # noqa: T201 - the answer of a command
    except BrowserMissing as missing:
        sys.exit(f"Error: {missing}")
