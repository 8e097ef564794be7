"""The state file: records that must outlive a kill of the simulator, one JSON line each, written before anybody is told."""

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Reader = Callable[[Record], None]
Snapshot = Callable[[], Iterable[Record]]

_KIND = "is"
BEGIN_ANEW_BYTES = 64 << 20

_log = logging.getLogger(__name__)


class StateFileProblem(RuntimeError):
    """The state file cannot be used; the message says what to do."""


class StateFile:
    """A file of records. Without a path it keeps nothing. Not thread-safe: its owners share one lock.

    A line is a list of records that hold together; a line that a kill cut short was told to nobody and is dropped. A
    file that has grown to `begin_anew_bytes`, and to twice what it was when it was begun, is begun anew.
    """

    def __init__(self, path: Path | None, begin_anew_bytes: int = BEGIN_ANEW_BYTES) -> None:
        self._path = path
        self._begin_anew_bytes = begin_anew_bytes
        self._file: int | None = None
        self._lock: int | None = None
        self._was_read = False
        self._too_long_bytes = begin_anew_bytes
        self._readers: dict[str, Reader] = {}
        self._snapshots: list[Snapshot] = []

    def register(self, readers: Mapping[str, Reader], snapshot: Snapshot) -> None:
        """Say who reads which kinds of record, and who writes down anew what of them still matters."""
        self._readers.update(readers)
        self._snapshots.append(snapshot)

    def open(self) -> None:
        """Read what is there, once, then begin a file without what no longer matters; raise StateFileProblem."""
        if self._path is None:
            return
        try:
            self._lock = _lock(self._path)
            if not self._was_read and self._path.exists():
                for record in _records(self._path):
                    self._read(record)
            self._was_read = True
            self._begin_anew(self._path)
        except OSError as error:
            self.close()
            raise StateFileProblem(
                f"The state file {self._path} cannot be used ({error.strerror}). Give --state-file another path."
            ) from error
        except StateFileProblem:
            self.close()
            raise

    def begin_anew(self) -> None:
        """Write the file anew, from what its owners know now; raise StateFileProblem, and leave the old one."""
        if self._path is None or self._file is None:
            return
        try:
            self._begin_anew(self._path)
        except OSError as error:
            raise StateFileProblem(
                f"The state file {self._path} cannot be begun anew ({error.strerror})."
            ) from error

    def _begin_anew(self, path: Path) -> None:
        """Write beside the old file and take its place; the old one is there until the new one is whole."""
        fresh = path.with_name(f"{path.name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for snapshot in self._snapshots:
                file.writelines(_line([record]) for record in snapshot())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        if self._file is not None:
            os.close(self._file)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._too_long_bytes = max(self._begin_anew_bytes, 2 * os.fstat(self._file).st_size)

    def write(self, *records: Record) -> None:
        """Keep records that hold together; raise StateFileProblem, and keep none, where the disk takes no more."""
        if self._file is None:
            return
        if os.fstat(self._file).st_size > self._too_long_bytes:
            self._shorten()
        line = _line(records)
        size = os.fstat(self._file).st_size
        try:
            is_whole = os.write(self._file, line) == len(line)
        except OSError:
            is_whole = False
        if not is_whole:
            os.ftruncate(self._file, size)
            raise StateFileProblem(f"The state file {self._path} takes no more: its disk is full or away.")

    def _shorten(self) -> None:
        try:
            self.begin_anew()
        except StateFileProblem as problem:
            _log.warning("%s It is written on.", problem)
            self._too_long_bytes *= 2

    def close(self) -> None:
        """Let the file go."""
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def _read(self, record: Record) -> None:
        try:
            self._readers[record.pop(_KIND)](record)
        except (LookupError, ValueError, TypeError, AssertionError) as error:
            raise StateFileProblem(
                f"The state file {self._path} holds something that is not understood ({error!r}). Move it away "
                "to begin anew."
            ) from error


def record(kind: str, /, **members: Any) -> Record:
    """Return a record of a kind."""
    return {_KIND: kind, **members}


def _line(records: Iterable[Record]) -> bytes:
    return json.dumps(list(records), separators=(",", ":")).encode() + b"\n"


def _records(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                records = json.loads(line)
            except ValueError:
                records = None
            if not isinstance(records, list) or not all(isinstance(read, dict) for read in records):
                raise StateFileProblem(
                    f"Line {number} of the state file {path} is damaged. Move the file away to begin anew."
                )
            yield from records


def _lock(path: Path) -> int:
    """Hold a file beside the state file, so that no other simulator writes to it; raise StateFileProblem."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StateFileProblem(
            f"Another simulator uses the state file {path}. Stop it, or give --state-file another path."
        ) from None
    return descriptor
