"""A connection to PostgreSQL that runs a statement it has seen before by its prepared form, at the cost of libpq.

psycopg's cursor costs three times as much as the statement of a key: it converts the text, waits in steps, and builds
a cursor, each time. What psycopg itself prepares (for `executemany`) and what is prepared here live side by side; both
are forgotten together.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from time import monotonic
from typing import Any, cast

import psycopg
from psycopg import Cursor, Transaction
from psycopg.abc import Params, QueryNoTemplate
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import DiagnosticField, ExecStatus, Format, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import DictRow

from ledger.store.readable import read_all
from ledger.store.sqlstates import is_stale_plan

READ_ONLY_SECONDS = 1.0
"""For so long a connection that takes no writes serves reads; then another takes its place."""

MAX_PREPARED = 200
"""How many statements a connection remembers; the one that was not used for longest goes."""

_READ_ONLY, _STANDBY = b"default_transaction_read_only", b"in_hot_standby"
"""PostgreSQL reports these without being asked."""

_DEALLOCATES = re.compile(rb"(?:DROP|ALTER|ROLLBACK|DISCARD ALL|DEALLOCATE ALL)\b")
"""Commands after which psycopg makes the server forget what was prepared."""

_PLACEHOLDER = re.compile(rb"%(?:(%)|(s|b)|\(([^)]+)\)s|(.?))", re.DOTALL)
_FORMATS = {b"s": PyFormat.AUTO, b"b": PyFormat.BINARY}


class Rows:
    """The result of a prepared statement: what we use of psycopg's cursor."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[DictRow], rowcount: int) -> None:
        self._rows = iter(rows)
        self.rowcount = rowcount

    def fetchone(self) -> DictRow | None:
        """Return the next row, None after the last."""
        return next(self._rows, None)

    def fetchall(self) -> list[DictRow]:
        """Return the rows that are left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[DictRow]:
        """Yield the rows that are left."""
        return self._rows


class _Prepared:
    """A statement that the server knows by name, and how its rows become dictionaries."""

    __slots__ = ("as_row", "name")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.as_row: Callable[[Sequence[Any]], DictRow] | None = None


class Connection(psycopg.Connection[DictRow]):
    """An autocommit connection that prepares what it runs a second time, and forgets it when tables have changed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        read_all(self)
        self._opened_at = monotonic()
        self.taken_at = self.idle_since = 0.0
        self._known: OrderedDict[tuple[bytes, tuple[int, ...]], _Prepared | None] = OrderedDict()
        self._names = 0
        self._must_deallocate = False
        self._transformer = Transformer(self)
        """It keeps how to write and read each type, which psycopg looks up for each statement anew."""

    @property
    def is_read_only_of_old(self) -> bool:
        """Whether the server said that it takes no writes here, some time ago: a new connection may know better."""
        says = self.pgconn.parameter_status
        return (says(_READ_ONLY) == b"on" or says(_STANDBY) == b"on") and (
            monotonic() - self._opened_at >= READ_ONLY_SECONDS
        )

    def execute(  # type: ignore[override]  # templates are not used
        self,
        query: QueryNoTemplate,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> Cursor[DictRow]:
        """Execute a statement; once more where it was not executed because its prepared form is out of date.

        With `prepare` it is prepared at its first use and not at its second, or never if that is False. What comes back
        can be fetched from, iterated and asked for its `rowcount`; it is a cursor in name only.
        """
        try:
            return self._run(query, params, prepare, binary=binary)
        except psycopg.Error as error:
            if not is_stale_plan(error) or self.info.transaction_status != TransactionStatus.IDLE:
                raise
        self._forget()
        return self._run(query, params, prepare, binary=binary)

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[Transaction]:
        """Begin a transaction, or a savepoint inside one. psycopg forgets what it prepared when one is rolled back."""
        transaction = None
        try:
            with super().transaction(savepoint_name, force_rollback) as transaction:
                yield transaction
        finally:
            if transaction is None or transaction.status is not Transaction.Status.COMMITTED:
                self._forget()

    def rollback(self) -> None:
        """Roll back, as the pool does with a connection that comes back inside a transaction."""
        super().rollback()
        self._forget()

    def _run(
        self, query: QueryNoTemplate, params: Params | None, prepare: bool | None, *, binary: bool
    ) -> Cursor[DictRow]:
        if self._must_deallocate:
            super().execute("DEALLOCATE ALL", prepare=False)
            self._must_deallocate = False
        text, values, formats = _numbered(query, params) if prepare is not False else (None, (), ())
        if text is None or not self.autocommit or self.pgconn.pipeline_status != PipelineStatus.OFF:
            return self._run_unprepared(query, params, binary=binary)
        transformer = self._transformer
        dumped = transformer.dump_sequence(values, formats)
        key = (text, transformer.types or ())
        if key not in self._known and not prepare:
            cursor = self._run_unprepared(query, params, binary=binary)
            self._remember(key, None)
            return cursor
        prepared = self._known.get(key) or self._prepare(key)
        self._known.move_to_end(key)
        result = self._run_prepared(query, prepared, dumped, transformer.formats, binary=binary)
        return cast("Cursor[DictRow]", self._rows_of(result, prepared))

    def _run_prepared(
        self,
        query: QueryNoTemplate,  # noqa: ARG002 - a trace of statements reads it
        prepared: _Prepared,
        values: Sequence[Any],
        formats: Sequence[Format] | None,
        *,
        binary: bool,
    ) -> PGresult:
        return self.pgconn.exec_prepared(
            prepared.name, values, formats, Format.BINARY if binary else Format.TEXT
        )

    def _run_unprepared(
        self, query: QueryNoTemplate, params: Params | None, *, binary: bool
    ) -> Cursor[DictRow]:
        cursor = super().execute(query, params, prepare=False, binary=binary)
        if _DEALLOCATES.match((cursor.statusmessage or "").encode()):
            self._forget()
        return cursor

    def _prepare(self, key: tuple[bytes, tuple[int, ...]]) -> _Prepared:
        self._names += 1
        prepared = _Prepared(b"daftari_%d" % self._names)
        _raise_error_of(self.pgconn.prepare(prepared.name, *key))
        self._remember(key, prepared)
        return prepared

    def _remember(self, key: tuple[bytes, tuple[int, ...]], prepared: _Prepared | None) -> None:
        self._known[key] = prepared
        if len(self._known) > MAX_PREPARED:
            _, oldest = self._known.popitem(last=False)
            if oldest is not None:
                _raise_error_of(self.pgconn.exec_(b"DEALLOCATE " + oldest.name))

    def _rows_of(self, result: PGresult, prepared: _Prepared) -> Rows:
        if result.status == ExecStatus.TUPLES_OK:
            if prepared.as_row is None:
                prepared.as_row = _row_maker(result)
            count = result.ntuples
            self._transformer.set_pgresult(result)
            try:
                return Rows(self._transformer.load_rows(0, count, prepared.as_row), count)
            finally:
                self._transformer.set_pgresult(None)
        _raise_error_of(result)
        if _DEALLOCATES.match(result.command_status or b""):
            self._forget()
        changed = result.command_tuples
        return Rows((), -1 if changed is None else changed)

    def _forget(self) -> None:
        """Forget all that was prepared, and have the server do so before the next statement."""
        self._known.clear()
        self._transformer = Transformer(self)
        self._must_deallocate = True


def _raise_error_of(result: PGresult) -> None:
    if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return
    if (
        result.error_field(DiagnosticField.SQLSTATE) is None
    ):  # The connection is lost: libpq says so, not the server.
        raise psycopg.OperationalError(result.get_error_message())
    raise error_from_result(result)


def _row_maker(result: PGresult) -> Callable[[Sequence[Any]], DictRow]:
    names = tuple((result.fname(number) or b"").decode() for number in range(result.nfields))
    return lambda values: dict(zip(names, values, strict=True))


def _numbered(
    query: QueryNoTemplate, params: Params | None
) -> tuple[bytes | None, Sequence[Any], Sequence[PyFormat]]:
    """Return a statement with numbered placeholders, their values in order, and the format of each.

    None in place of the text if that is left to psycopg.
    """
    if not isinstance(query, str | bytes):
        return None, (), ()
    if params is None:
        text = query.encode() if isinstance(query, str) else query
        return (None if b";" in text else text), (), ()  # Several statements at once cannot be prepared.
    numbered, names, formats = _with_numbers(query)
    if isinstance(params, Mapping):
        fits = not formats and all(name in params for name in names)
        values = [params[name] for name in names] if fits else ()
        return (numbered if fits else None), values, [PyFormat.AUTO] * len(values)
    return (numbered if not names and len(formats) == len(params) else None), params, formats


@lru_cache(maxsize=1_000)
def _with_numbers(query: str | bytes) -> tuple[bytes | None, tuple[str, ...], tuple[PyFormat, ...]]:
    """Return a statement with $1, $2, … in place of psycopg's placeholders, their names, and the format of the others.

    None in place of the text of one that has placeholders of other kinds.
    """
    names: dict[str, int] = {}
    formats: list[PyFormat] = []
    is_odd = False

    def number(found: re.Match[bytes]) -> bytes:
        nonlocal is_odd
        percent, kind, name, other = found.groups()
        if percent:
            return b"%"
        if name:
            return b"$%d" % names.setdefault(name.decode(), len(names) + 1)
        is_odd |= other is not None
        formats.append(_FORMATS.get(kind, PyFormat.AUTO))
        return b"$%d" % len(formats)

    text = _PLACEHOLDER.sub(number, query.encode() if isinstance(query, str) else query)
    is_odd |= bool(names and formats)
    return (None if is_odd else text), tuple(names), tuple(formats)
