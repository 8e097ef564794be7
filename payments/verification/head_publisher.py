"""Publishes signed heads outside of the database: in a file, by a command, at an address.

A head that is known outside shows later that the log up to it is the same: `daftari verify --published`. Each head
commits to all before it, so the last one is published, also after an outage; what was published is never taken back.
"""

import errno
import os
import shlex
import subprocess
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import requests
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import clock
from ledger.store.blocks import newest_genuine
from ledger.store.database import Database
from ledger.store.positions import read_horizon
from ledger.store.published_heads import line_of
from payments.retry_schedule import RetrySchedule

TIMEOUT_SECONDS = 10
RETRY_SCHEDULE = RetrySchedule.doubling(timedelta(seconds=1), timedelta(minutes=5))
"""How long a destination that failed is left alone; then it gets the head that is the last one by then."""

COMMAND = "command:"
"""What the text of a destination that is a command begins with."""

_ENVIRONMENT = ("PATH", "HOME", "LANG", "TZ")
"""What a command is told of ours: no settings, and so no keys."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_log = structlog.get_logger(__name__)


class NotTaken(Exception):
    """A destination did not take a head."""


@dataclass
class Destination:
    """Where heads go: what kind it is, what sends a line there, and how that went. `published` is the last number."""

    kind: str
    send: Callable[[bytes], None]
    published: int = 0
    failures: int = 0
    not_before: datetime = _NEVER


class HeadPublisher:
    """Sends the last head of ours to each destination that does not have it."""

    def __init__(
        self,
        database: Database,
        own_keys: Callable[[], Collection[Ed25519PublicKey]],
        destinations: Iterable[Destination],
    ) -> None:
        self._database = database
        self._own_keys = own_keys
        self._destinations = tuple(destinations)

    def run(self) -> int:
        """Publish the last head; return how many destinations took it. Raises Unavailable."""
        own = {key.public_bytes_raw() for key in self._own_keys()}
        with self._database.connection() as connection:
            origin, _ = read_horizon(connection)
            head = newest_genuine(connection, origin, own)
        if head is None:
            return 0
        line = line_of(head)
        return sum(_publish(each, head.number, line) for each in self._destinations)


def destination_of(text: str) -> Destination:
    """Return the destination that a setting names: command:PROGRAM, an http(s) address, or the path of a file."""
    if text.startswith(COMMAND):
        return Destination("command", partial(_run_command, shlex.split(text.removeprefix(COMMAND))))
    if text.startswith(("https://", "http://")):
        return Destination("address", partial(_post, text))
    return Destination("file", partial(_append, Path(text)))


def _publish(destination: Destination, number: int, line: bytes) -> bool:
    if number <= destination.published or clock.now() < destination.not_before:
        return False
    try:
        destination.send(line)
    except (OSError, subprocess.SubprocessError, requests.RequestException, NotTaken) as error:
        destination.failures += 1
        destination.not_before = clock.now() + RETRY_SCHEDULE.pause_after(destination.failures)
        _log.warning(
            "head_not_published",
            destination=destination.kind,
            number=number,
            error=type(error).__name__,
            failures=destination.failures,
            tried_again_at=destination.not_before.isoformat(),
        )
        return False
    destination.published, destination.failures = number, 0
    return True


def _append(path: Path, line: bytes) -> None:
    """Append the line as a whole or not at all: the next one would join what a full disk took of it."""
    with path.open("ab", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        if file.write(line) < len(line):
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())


def _run_command(command: list[str], line: bytes) -> None:
    environ = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    quiet = subprocess.DEVNULL
    subprocess.run(
        command, input=line, env=environ, timeout=TIMEOUT_SECONDS, check=True, stdout=quiet, stderr=quiet
    )


def _post(address: str, line: bytes) -> None:
    """The body of the answer is not read: only its status counts, and 2xx alone is a receipt."""
    headers = {"Content-Type": "application/json"}
    with requests.post(
        address, line, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
    ) as answer:
        if not 200 <= answer.status_code < 300:
            raise NotTaken
