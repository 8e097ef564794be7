"""The stack under test: `daftari up` on free ports in a fresh data folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from api.local import children
from api.local.instances import running_instance
from tests.bench.lifecycles import Buyer
from tests.support.ports import free_port
from tests.support.waiting import wait_until

READY_WITHIN_SECONDS = 120
STOP_WITHIN_SECONDS = 60
LOG_FILE = "bench.log"
DISK = Path("/var/tmp")
TUNING = (
    "DAFTARI_WEB_WORKERS",
    "DAFTARI_WEB_THREADS",
    "DAFTARI_DATABASE_CONNECTIONS",
    "DAFTARI_MAX_WAITING_PUSHES",
    "DAFTARI_POSTGRES_BIN",
)
"""The settings taken from the environment; all others have their defaults."""

OF_TESTS_ALONE = ("greenlet", "rich", "yaml")
"""Packages that libraries of ours import where they find them: only the tests' packages bring them, 7 MB a process."""

_HIDDEN = f"import sys\n\nsys.modules.update(dict.fromkeys({OF_TESTS_ALONE!r}))\n"
DAFTARI = (sys.executable, "-m", "api.cli")
_DATA_WITHIN_SECONDS = 300


@dataclass
class BenchStack:
    """A ready Daftari: the process id of its `daftari up`, the API's port, and its environment."""

    pid: int
    port: int
    environ: dict[str, str]
    folder: Path
    buyers_made: int = 0

    def make_buyers(self, count: int) -> list[Buyer]:
        """Return new buyers, each with a filled cart and a token."""
        tokens = self.folder / "buyers.jsonl"
        command = [
            *DAFTARI,
            "demo-data",
            "--users",
            str(self.buyers_made + count),
            "--tokens-file",
            str(tokens),
        ]
        subprocess.run(
            command, env=self.environ, check=True, stderr=subprocess.DEVNULL, timeout=_DATA_WITHIN_SECONDS
        )
        with tokens.open(encoding="utf-8") as lines:
            made = [Buyer(**json.loads(line)) for line in islice(lines, self.buyers_made, None)]
        self.buyers_made += count
        return made


@contextmanager
def running_daftari() -> Iterator[BenchStack]:
    """Run a Daftari whose simulated buyers pay at once; stop it and remove its data in the end.

    It logs to a file as in production, and PostgreSQL has fsync on.
    """
    folder = folder_on_disk()
    try:
        with started_daftari(folder, environment(folder)) as stack:
            yield stack
    finally:
        shutil.rmtree(folder)


@contextmanager
def started_daftari(folder: Path, environ: dict[str, str]) -> Iterator[BenchStack]:
    """Run a Daftari on a data folder, new or used, until the end."""
    with (folder / LOG_FILE).open("wb") as log:
        command = [*DAFTARI, "up", "--auto-approve", "0"]
        up = children.spawn(command, death_signal=signal.SIGTERM, environ=environ, output=log)
        try:
            yield _when_ready(up, folder, environ)
        finally:
            children.stop(up, signal.SIGTERM, STOP_WITHIN_SECONDS)


def folder_on_disk() -> Path:
    """Make a folder that PostgreSQL's account may enter; not in memory, where fsync costs nothing."""
    folder = Path(tempfile.mkdtemp(prefix="daftari-bench-", dir=DISK))
    folder.chmod(0o711)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Return our environment with no setting in it but those of TUNING and the ones of this instance.

    As in production, its processes do not find what is OF_TESTS_ALONE.
    """
    settings = ("DAFTARI_", "MPESA_", "DATABASE_URL")
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(settings) or name in TUNING
    }
    (folder / "sitecustomize.py").write_text(_HIDDEN, "utf-8")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return kept | {
        "PYTHONPATH": path,
        "DAFTARI_DATA_DIR": str(folder),
        "DAFTARI_PORT": str(free_port()),
        "DAFTARI_SIMULATOR_PORT": str(free_port()),
        "DAFTARI_LOG_FORMAT": "json",
        "DAFTARI_WEBHOOK_ALLOW_PRIVATE": "1",
    }


def _when_ready(up: subprocess.Popen[bytes], folder: Path, environ: dict[str, str]) -> BenchStack:
    def is_ready() -> bool:
        if up.poll() is not None:
            raise RuntimeError(
                f"`daftari up` ended while it was starting:\n{(folder / LOG_FILE).read_text('utf-8')}"
            )
        return bool(running_instance(folder))

    wait_until(is_ready, "`daftari up` is ready", READY_WITHIN_SECONDS)
    return BenchStack(up.pid, int(environ["DAFTARI_PORT"]), environ, folder)
