"""The state file: records that survive a kill of the simulator, one JSON line each, written before any answer."""

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
COMPACT_AT_BYTES = 64 << 20

_log = logging.getLogger(__name__)


class StateFileProblem(RuntimeError):
    """The state file cannot be used; the message says what to do."""


class StateFile:
    """A file of records. Without a path it keeps nothing. Not thread-safe: its owners share one lock.

    A line is a list of records that are kept together or not at all. A line that a kill cut short was never
    acknowledged, so it is dropped. A file that has grown to `compact_at_bytes`, and to twice its size after the last
    compaction, is compacted.
    """

    def __init__(self, path: Path | None, compact_at_bytes: int = COMPACT_AT_BYTES) -> None:
        self._path = path
        self._compact_at_bytes = compact_at_bytes
        self._file: int | None = None
        self._lock: int | None = None
        self._was_read = False
        self._max_bytes = compact_at_bytes
        self._readers: dict[str, Reader] = {}
        self._snapshots: list[Snapshot] = []

    def register(self, readers: Mapping[str, Reader], snapshot: Snapshot) -> None:
        """Register who reads which kinds of record, and who lists those that a compacted file must hold."""
        self._readers.update(readers)
        self._snapshots.append(snapshot)

    def open(self) -> None:
        """Read the file, the first time only, then compact it; raise StateFileProblem."""
        if self._path is None:
            return
        try:
            self._lock = _lock(self._path)
            if not self._was_read and self._path.exists():
                for record in _records(self._path):
                    self._read(record)
            self._was_read = True
            self._compact(self._path)
        except OSError as error:
            self.close()
            raise StateFileProblem(
                f"The state file {self._path} cannot be used ({error.strerror}). Give --state-file another path."
            ) from error
        except StateFileProblem:
            self.close()
            raise

    def compact(self) -> None:
        """Write the file again from its owners' snapshots; raise StateFileProblem and leave the old file."""
        if self._path is None or self._file is None:
            return
        try:
            self._compact(self._path)
        except OSError as error:
            raise StateFileProblem(
                f"The state file {self._path} cannot be compacted ({error.strerror})."
            ) from error

    def _compact(self, path: Path) -> None:
        """Write a new file beside the old one, then replace it: a kill leaves one of the two, whole."""
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
        self._max_bytes = max(self._compact_at_bytes, 2 * os.fstat(self._file).st_size)

    def write(self, *records: Record) -> None:
        """Append records, all or none; raise StateFileProblem, with none appended, if the disk is full."""
        if self._file is None:
            return
        if os.fstat(self._file).st_size > self._max_bytes:
            self._compact_if_possible()
        line = _line(records)
        size = os.fstat(self._file).st_size
        try:
            is_whole = os.write(self._file, line) == len(line)
        except OSError:
            is_whole = False
        if not is_whole:
            os.ftruncate(self._file, size)
            raise StateFileProblem(
                f"The state file {self._path} cannot be written: its disk is full or not there."
            )

    def _compact_if_possible(self) -> None:
        try:
            self.compact()
        except StateFileProblem as problem:
            _log.warning("%s Writing goes on in the old file.", problem)
            self._max_bytes *= 2

    def close(self) -> None:
        """Close the file and release its lock."""
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def _read(self, record: Record) -> None:
        try:
            self._readers[record.pop(_KIND)](record)
        except (LookupError, ValueError, TypeError, AssertionError) as error:
            raise StateFileProblem(
                f"The state file {self._path} holds a record that cannot be read ({error!r}). Move it away "
                "to start over."
            ) from error


def record(kind: str, /, **members: Any) -> Record:
    """Return a record of a kind with its members."""
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
            if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
                raise StateFileProblem(
                    f"Line {number} of the state file {path} is damaged. Move the file away to start over."
                )
            yield from records


def _lock(path: Path) -> int:
    """Lock a file beside the state file, so that no other simulator writes to it; raise StateFileProblem."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StateFileProblem(
            f"Another simulator uses the state file {path}. Stop it, or give --state-file another path."
        ) from None
    return descriptor
