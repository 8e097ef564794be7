"""The forms of an export: JSON lines, CSV and Parquet, each written batch by batch, to the same bytes each time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Any, BinaryIO

import msgspec

from projections.export.exported_events import ExportedEvent

Write = Callable[[Sequence[ExportedEvent]], object]

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - full-width ones count too
"""A spreadsheet may take a cell that begins with one of these for a formula."""

LINE_END, _QUOTE, _QUOTES = b"\r\n", '"', '""'
_JSON = msgspec.json.Encoder()


def lacks(form: str) -> str | None:
    """Return the name of the package that writes a form and is not installed, None if nothing is missing."""
    return "pyarrow" if form == "parquet" and find_spec("pyarrow") is None else None


def plain_cell(text: str) -> str:
    """Return the text of a cell that no spreadsheet takes for a formula: such a one gets an apostrophe before it."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


@contextmanager
def _json_lines(file: BinaryIO) -> Iterator[Write]:
    def write(events: Sequence[ExportedEvent]) -> None:
        file.write(b"".join(_JSON.encode(_as_json(event)) + b"\n" for event in events))

    yield write


def _as_json(event: ExportedEvent) -> dict[str, Any]:
    shown = event._asdict()
    shown["position"] = str(event.position)  # JSON numbers keep none exactly.
    shown["previous_hash"], shown["hash"] = event.previous_hash.hex(), event.hash.hex()
    return shown


@contextmanager
def _csv(file: BinaryIO) -> Iterator[Write]:
    # The csv module looks at every character of a document: it takes as long as all else together.
    file.write(",".join(ExportedEvent._fields).encode() + LINE_END)

    def write(events: Sequence[ExportedEvent]) -> None:
        file.write(b"".join(",".join(map(cell, event)).encode() + LINE_END for event in events))

    yield write


def cell(value: Any) -> str:
    """Return a value as a cell: a text quoted, as RFC 4180 has it, and no formula."""
    kind = type(value)
    if kind is str:
        return f'"{plain_cell(value).replace(_QUOTE, _QUOTES)}"'
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if value is None:
        return ""
    if kind is bytes:
        return str(value.hex())
    text = _JSON.encode(value).decode()
    return f'"{text.replace(_QUOTE, _QUOTES)}"' if kind is dict else text.strip(_QUOTE)


@contextmanager
def _parquet(file: BinaryIO) -> Iterator[Write]:
    import pyarrow as pa  # noqa: PLC0415 - it is optional, and no other form needs it
    from pyarrow import parquet  # noqa: PLC0415 - as above

    schema = _schema(pa)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:

        def write(events: Sequence[ExportedEvent]) -> None:
            columns = dict(zip(ExportedEvent._fields, zip(*events, strict=True), strict=True))
            for name in ("caused_by", "state"):
                columns[name] = tuple(
                    None if value is None else _JSON.encode(value).decode() for value in columns[name]
                )
            writer.write_table(pa.table(columns, schema=schema))

        yield write


def _schema(pa: Any) -> Any:
    text, moment, digest = pa.string(), pa.timestamp("us", tz="UTC"), pa.binary(32)
    types = {
        "origin": pa.int16(),
        "position": pa.int64(),
        "session_id": text,
        "version": pa.int32(),
        "event": text,
        "topic": text,
        "class_version": pa.int32(),
        "happened_at": moment,
        "recorded_at": moment,
        "attempt": pa.int32(),
        "receipt": text,
        "amount_cents": pa.int64(),
        "is_genuine": pa.bool_(),
        "previous_hash": digest,
        "hash": digest,
        "caused_by": text,
        "state": text,
    }
    return pa.schema([(name, types[name]) for name in ExportedEvent._fields])


WRITERS: dict[str, Callable[[BinaryIO], AbstractContextManager[Write]]] = {
    "jsonl": _json_lines,
    "csv": _csv,
    "parquet": _parquet,
}
"""How a file of each form is written."""
