"""The real Prometheus and its promtool: the system's own, else Debian's package unpacked here, else an error.

The package is not installed, so that no service of it starts. `python -m tests.support.prometheus` does the unpacking
and prints where the programs are.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.support.ports import LOCALHOST, free_port
from tests.support.waiting import wait_until

UNPACKED = Path(__file__).resolve().parents[2] / "build" / "prometheus"
CALM_SECONDS = 8
"""The time of some scrapes, and of more evaluations of each rule."""

_SCRAPED = f"sum_over_time(up[{CALM_SECONDS}s]) >= 3 and min_over_time(up[{CALM_SECONDS}s]) == 1"
_APT_WITHIN_SECONDS = 600


class PrometheusMissing(RuntimeError):
    """There is no Prometheus; the message has the line to type."""


def prometheus_programs() -> tuple[str, str]:
    """Return the paths of prometheus and promtool, and unpack Debian's package first where there are none.

    Raises PrometheusMissing.
    """
    if (found := _found()) is None and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        _unpack()
        found = _found()
    if found is None:
        raise PrometheusMissing(
            "There is no prometheus or promtool: type `sudo apt-get install -y prometheus`."
        )
    return found


def _found() -> tuple[str, str] | None:
    where = f"{UNPACKED / 'usr' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    programs = shutil.which("prometheus", path=where), shutil.which("promtool", path=where)
    return programs if None not in programs else None  # type: ignore[return-value]  # neither is None


def _unpack() -> None:
    UNPACKED.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        _run("apt-get", "-qq", "update")
    _run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "prometheus")
    for package in UNPACKED.glob("prometheus_*.deb"):
        _run("dpkg-deb", "-x", package.name, ".")


def _run(*command: str) -> None:
    subprocess.run(command, cwd=UNPACKED, timeout=_APT_WITHIN_SECONDS, check=False, stdout=sys.stderr)


class Prometheus:
    """A Prometheus that runs, and what it says of its alerts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = requests.Session()
        self._http.trust_env = False

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._http.get(f"{self._url}/-/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        alerts = self._data("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def is_calm(self, alerts: set[str]) -> bool:
        """Whether every scrape of the last seconds succeeded, and none of these alerts was pending or fired meanwhile.

        A scrape that fails takes the figures away: for a moment nothing fires then, whatever there is to tell.
        """
        names = "|".join(sorted(alerts))
        stirred = self.value(f'count(count_over_time(ALERTS{{alertname=~"{names}"}}[{CALM_SECONDS}s]))')
        return self.value(_SCRAPED) is not None and stirred is None

    def value(self, expression: str) -> float | None:
        """Return the one value of an expression, None if it has none."""
        found = self._data("query", query=expression)["result"]
        return float(found[0]["value"][1]) if found else None

    def wrong_rules(self) -> list[str]:
        """Return the names of the rules that could not be evaluated."""
        groups = self._data("rules")["groups"]
        return [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"]

    def _data(self, what: str, **values: str) -> Any:
        answer = self._http.get(f"{self._url}/api/v1/{what}", params=values, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


@contextmanager
def running_prometheus(configuration: Path) -> Iterator[Prometheus]:
    """Run a Prometheus of a configuration; its data are kept beside that."""
    port, folder = free_port(), configuration.parent
    command = [
        prometheus_programs()[0],
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOCALHOST}:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        running = Prometheus(f"http://{LOCALHOST}:{port}")
        wait_until(running.is_ready, "Prometheus answers", 60)
        yield running
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    try:
        print(*prometheus_programs(), sep="\n")  # noqa: T201 - the answer of a command
    except PrometheusMissing as missing:
        sys.exit(f"Error: {missing}")
