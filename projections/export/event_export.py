"""An export of the log into a folder: files of so many events each, and a manifest once all are there.

A file is written under another name, flushed to disk, then renamed; after each, `manifest.part.json` says which there
are. So an export that was killed goes on after its last whole file, and what it writes is the same to the byte.
"""

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import file_digest
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from ledger.errors import InvalidValue, Unavailable
from projections.export.event_formats import WRITERS
from projections.export.exported_events import BATCH, EventReader, ExportedEvent, Span

EXPORT_VERSION = 1
MANIFEST, UNFINISHED = "manifest.json", "manifest.part.json"

OnProgress = Callable[[float], None]
"""Is told which part of the log was passed, from 0 to 1."""

Batches = Iterator[list[ExportedEvent]]
Form = TypeVar("Form")


@dataclass(frozen=True)
class Wanted:
    """What is exported: in which form, recorded since a time and before another, with personal data or without."""

    form: str
    since: datetime | None
    before: datetime | None
    has_personal_data: bool
    events_per_file: int


@dataclass(frozen=True)
class ExportedFile:
    """One whole file, of one origin; `kinds` counts its events by "topic class_version"."""

    name: str
    origin: int
    events: int
    first_position: int
    last_position: int
    bytes: int
    sha256: str
    kinds: dict[str, int]


class _Written(msgspec.Struct):
    name: str
    sha256: str


class _Finished(msgspec.Struct):
    """What is asked of a manifest."""

    options: dict[str, Any]
    events: int
    files: list[_Written]


@dataclass
class _Progress:
    wanted: Wanted
    spans: list[Span]
    files: list[ExportedFile] = field(default_factory=list)

    def left(self) -> Iterator[tuple[int, Span, int]]:
        """Yield the spans that are not in the files whole: number, span, and the last position of it that is."""
        last = self.files[-1] if self.files else None
        is_passed = last is not None
        for number, span in enumerate(self.spans):
            if last is not None and span.origin == last.origin:
                is_passed = False
                yield number, span, last.last_position
            elif not is_passed:
                yield number, span, span.after


def export_events(
    reader: EventReader, folder: Path, wanted: Wanted, on_progress: OnProgress = lambda *_: None
) -> dict[str, Any]:
    """Export into a folder, or go on with what an export of the same wishes left there; return the manifest.

    Where that is finished, its files are compared with the manifest. Raises InvalidValue if the folder holds anything
    else or a file was changed, Unavailable if another export writes into it or the database fails, and OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(folder):
        manifest = _finished(folder, wanted)
        if manifest is None:
            progress = _begun(folder, wanted) or _begin(folder, wanted, reader)
            while (exported := _next_file(folder, progress, reader, on_progress)) is not None:
                progress.files.append(exported)
                _store(folder, UNFINISHED, progress)
            manifest = _manifest(progress, reader)
            _store(folder, MANIFEST, manifest)
        (folder / UNFINISHED).unlink(missing_ok=True)
        return manifest


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Unavailable(
            f"Another export writes into {folder}. Wait for it, or choose another folder."
        ) from None
    finally:
        os.close(held)


def _finished(folder: Path, wanted: Wanted) -> dict[str, Any] | None:
    if not (folder / MANIFEST).exists():
        return None
    stored = _decoded(folder / MANIFEST, _Finished)
    if stored.options != msgspec.to_builtins(wanted):
        raise _other_options(folder)
    for each in stored.files:
        _require_unchanged(folder / each.name, each.sha256)
    manifest: dict[str, Any] = msgspec.json.decode((folder / MANIFEST).read_bytes())
    return manifest


def _begun(folder: Path, wanted: Wanted) -> _Progress | None:
    unfinished = folder / UNFINISHED
    if not unfinished.exists():
        if any(path.name != f"{UNFINISHED}.part" for path in folder.iterdir()):
            raise InvalidValue(f"{folder} holds other files. Choose a folder that is empty or new.")
        return None
    progress = _decoded(unfinished, _Progress)
    if progress.wanted != wanted:
        raise _other_options(folder)
    for each in progress.files:
        _require_unchanged(folder / each.name, each.sha256)
    return progress


def _decoded(path: Path, form: type[Form]) -> Form:
    try:
        return msgspec.json.decode(path.read_bytes(), type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidValue(
            f"{path} is damaged, or no export wrote it. Remove the folder, or choose another one."
        ) from None


def _other_options(folder: Path) -> InvalidValue:
    return InvalidValue(
        f"{folder} holds an export with other options. Repeat those, or choose another folder."
    )


def _require_unchanged(path: Path, sha256: str) -> None:
    if not path.exists() or _sha256(path) != sha256:
        raise InvalidValue(f"{path} was changed since it was written. Export into another folder.")


def _begin(folder: Path, wanted: Wanted, reader: EventReader) -> _Progress:
    progress = _Progress(wanted, reader.spans(wanted.since, wanted.before))
    _store(folder, UNFINISHED, progress)
    return progress


def _next_file(
    folder: Path, progress: _Progress, reader: EventReader, on_progress: OnProgress
) -> ExportedFile | None:
    batches = _batches(progress, reader, on_progress)
    first = next(batches, None)
    if first is None:
        return None
    name = f"events-{len(progress.files) + 1:06d}.{progress.wanted.form}"
    kinds: Counter[str] = Counter()
    origin, first_position = first[0].origin, first[0].position
    last_position = first_position
    with _whole(folder / name) as file, WRITERS[progress.wanted.form](file) as write:
        for batch in chain([first], batches):
            write(batch)
            kinds.update(f"{event.topic} {event.class_version}" for event in batch)
            last_position = batch[-1].position
    return ExportedFile(
        name,
        origin,
        kinds.total(),
        first_position,
        last_position,
        (folder / name).stat().st_size,
        _sha256(folder / name),
        dict(sorted(kinds.items())),
    )


def _batches(progress: _Progress, reader: EventReader, on_progress: OnProgress) -> Batches:
    """Yield the batches of the next file, which are of one origin; none at the end of the log."""
    left = progress.wanted.events_per_file
    for number, span, passed in progress.left():
        reached = passed
        while left and (batch := reader.batch(span, reached, min(BATCH, left))):
            yield batch
            reached, left = batch[-1].position, left - len(batch)
            part = (reached - span.after) / (span.until - span.after)
            on_progress((number + part) / len(progress.spans))
        if left < progress.wanted.events_per_file:
            return


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Write a file that is there whole, on the disk, or not at all; only its owner may read it."""
    part = path.with_name(f"{path.name}.part")
    with open(part, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _store(folder: Path, name: str, value: Any) -> None:
    with _whole(folder / name) as file:
        file.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _manifest(progress: _Progress, reader: EventReader) -> dict[str, Any]:
    """Return what the files are; positions are text, as JSON numbers keep none exactly."""
    files, kinds = progress.files, Counter[str]()
    for each in files:
        kinds.update(each.kinds)
    return {
        "export_version": EXPORT_VERSION,
        "options": msgspec.to_builtins(progress.wanted),
        "columns": list(ExportedEvent._fields),
        "events": kinds.total(),
        "origins": [_of_origin(list(group), reader) for _, group in groupby(files, attrgetter("origin"))],
        "kinds": [
            {"topic": topic, "class_version": None if version == "None" else int(version), "events": count}
            for kind, count in sorted(kinds.items())
            for topic, version in [kind.rsplit(" ", 1)]
        ],
        "files": [
            {
                **asdict(each),
                "first_position": str(each.first_position),
                "last_position": str(each.last_position),
            }
            for each in files
        ],
    }


def _of_origin(files: list[ExportedFile], reader: EventReader) -> dict[str, Any]:
    last = files[-1]
    return {
        "origin": last.origin,
        "events": sum(each.events for each in files),
        "first_position": str(files[0].first_position),
        "last_position": str(last.last_position),
        "signed_block": reader.covering_block(last.origin, last.last_position),
    }
