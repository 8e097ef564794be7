"""An export of one of the views for analysts: a file of typed columns, read row by row by a cursor of the server."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from psycopg import sql

from ledger.errors import NotFound
from ledger.store.database import Database
from projections.export.event_formats import LINE_END, cell

ROWS_AT_ONCE = 5_000

_SCHEMA = "analytics"
_VIEWS = """
SELECT relname, array_agg(ARRAY[attname, format_type(atttypid, atttypmod)] ORDER BY attnum) AS columns
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = 'analytics'::regnamespace AND relkind = 'v' AND attnum > 0 AND NOT attisdropped
GROUP BY relname ORDER BY relname
"""
_BEYOND_JSON = re.compile(r"(^|_)position$")
"""Columns of 64-bit integers that JSON numbers do not keep exactly."""
_JSON = msgspec.json.Encoder(decimal_format="number")
_DECIMAL = re.compile(r"numeric\((\d+),(\d+)\)")

Row = Sequence[Any]
Write = Callable[[Sequence[Row]], object]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a view, and its type as PostgreSQL spells it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class ExportedView:
    """What a file holds: so many rows, and the SHA-256 of its bytes in hexadecimal."""

    rows: int
    sha256: str


def export_view(database: Database, view: str, form: str, path: Path) -> ExportedView:
    """Write all rows of a view of the schema `analytics` to a file, in place of what is there.

    `form` is "csv", "jsonl" or "parquet". One snapshot is read, by a transaction that lasts as long as the export; the
    file appears once it is whole, for its owner alone. Raises NotFound UNKNOWN_VIEW, Unavailable, and OSError.
    """
    part = path.with_name(f"{path.name}.part")
    rows = 0
    with database.snapshot() as connection:
        columns = _columns(connection.execute(_VIEWS).fetchall(), view)
        connection.execute("SET LOCAL TIME ZONE 'UTC'")
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        query = sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(_SCHEMA, view))
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with (
            _removed_if_it_fails(part),
            os.fdopen(descriptor, "wb") as file,
            connection.cursor(name="view") as cursor,
        ):
            cursor.itersize = ROWS_AT_ONCE
            with _WRITERS[form](file, columns) as write:
                found = (tuple(row.values()) for row in cursor.execute(query))
                while some := list(islice(found, ROWS_AT_ONCE)):
                    write(some)
                    rows += len(some)
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)
    with path.open("rb") as file:
        return ExportedView(rows, file_digest(file, "sha256").hexdigest())


@contextmanager
def _removed_if_it_fails(path: Path) -> Iterator[None]:
    """Remove what was written of a file: on a full disk it takes the room of all else."""
    try:
        yield
    except BaseException:
        path.unlink()
        raise


def _columns(views: Sequence[dict[str, Any]], view: str) -> list[Column]:
    known = {row["relname"]: row["columns"] for row in views}
    if view not in known:
        raise NotFound(f"There is no view {view!r}. There are: {', '.join(known)}.", code="UNKNOWN_VIEW")
    return [Column(*column) for column in known[view]]


@contextmanager
def _json_lines(file: BinaryIO, columns: Sequence[Column]) -> Iterator[Write]:
    as_text = [_BEYOND_JSON.search(column.name) is not None for column in columns]

    def shown(row: Row) -> dict[str, Any]:
        values = (
            str(value) if is_text and value is not None else value
            for value, is_text in zip(row, as_text, strict=True)
        )
        return {column.name: value for column, value in zip(columns, values, strict=True)}

    yield lambda rows: file.write(b"".join(_JSON.encode(shown(row)) + b"\n" for row in rows))


@contextmanager
def _csv(file: BinaryIO, columns: Sequence[Column]) -> Iterator[Write]:
    file.write(",".join(column.name for column in columns).encode() + LINE_END)
    yield lambda rows: file.write(b"".join(",".join(map(cell, row)).encode() + LINE_END for row in rows))


@contextmanager
def _parquet(file: BinaryIO, columns: Sequence[Column]) -> Iterator[Write]:
    import pyarrow as pa  # noqa: PLC0415 - it is optional, and no other form needs it
    from pyarrow import parquet  # noqa: PLC0415 - as above

    schema = pa.schema([(column.name, _arrow_type(pa, column.type)) for column in columns])
    are_text = [pa.types.is_string(field.type) for field in schema]

    def write(rows: Sequence[Row]) -> None:
        arrays = [
            [None if value is None else str(value) for value in values] if is_text else values
            for values, is_text in zip(zip(*rows, strict=True), are_text, strict=True)
        ]
        writer.write_table(pa.table(dict(zip(schema.names, arrays, strict=True)), schema=schema))

    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        yield write


def _arrow_type(pa: Any, name: str) -> Any:
    """Return the type of a column; what Parquet has no type for is text."""
    if decimal := _DECIMAL.fullmatch(name):
        return pa.decimal128(*map(int, decimal.groups()))
    types = {
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    }
    return types.get(name, pa.string())


_WRITERS: dict[str, Callable[[BinaryIO, Sequence[Column]], AbstractContextManager[Write]]] = {
    "csv": _csv,
    "jsonl": _json_lines,
    "parquet": _parquet,
}
FORMS = tuple(_WRITERS)
