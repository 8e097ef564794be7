"""Publishes signed heads outside of the database: in a file, by a command, at an address.

A head that is known outside shows later that the log up to it is the same: `daftari verify --published`. Each head
commits to all before it, so the last one is published, also after an outage; what was published is never taken back.
"""

import errno
import os
import shlex
import subprocess
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.store.blocks import newest_genuine
from ledger.store.database import Database
from ledger.store.positions import read_horizon
from ledger.store.published_heads import line_of
from payments.destinations import TIMEOUT_SECONDS, Destination, post

COMMAND = "command:"
"""What the text of a destination that is a command begins with."""

_ENVIRONMENT = ("PATH", "HOME", "LANG", "TZ")
"""What a command is told of ours: no settings, and so no keys."""


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
        self._published = [0] * len(self._destinations)

    def run(self) -> int:
        """Publish the last head; return how many destinations took it. Raises Unavailable."""
        own = {key.public_bytes_raw() for key in self._own_keys()}
        with self._database.connection() as connection:
            origin, _ = read_horizon(connection)
            head = newest_genuine(connection, origin, own)
        if head is None:
            return 0
        line = line_of(head)
        took = 0
        for index, destination in enumerate(self._destinations):
            if head.number > self._published[index] and destination.take(
                line, "head_not_published", number=head.number
            ):
                self._published[index] = head.number
                took += 1
        return took


def destination_of(text: str) -> Destination:
    """Return the destination that a setting names: command:PROGRAM, an http(s) address, or the path of a file."""
    if text.startswith(COMMAND):
        return Destination("command", partial(_run_command, shlex.split(text.removeprefix(COMMAND))))
    if text.startswith(("https://", "http://")):
        return Destination("address", partial(post, text))
    return Destination("file", partial(_append, Path(text)))


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
