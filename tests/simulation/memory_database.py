"""An in-memory double of PostgreSQL that knows each statement of our stores by its text.

The stores are the real ones, and `test_memory_database` compares the double with PostgreSQL. A statement is its own
transaction, as in our pool, unless it goes through `transaction`. That transactions commit in another order than they
began is not modelled: tests/ledger/store/test_nothing_is_missed.py tests that on PostgreSQL itself.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from types import MappingProxyType
from typing import Any, Self

from ledger import application
from ledger.store.database import Database
from ledger.store.sqlstates import MEANINGS
from payments.erasure import retention
from tests.simulation.batch_tables import BatchTables
from tests.simulation.journal_tables import JournalTables
from tests.simulation.ledger_tables import LedgerTables
from tests.simulation.parts import Effects, PartDouble, PartDoubles
from tests.simulation.reconciliation_tables import ReconciliationTables
from tests.simulation.refund_tables import RefundTables
from tests.simulation.scheduler import Scheduler
from tests.simulation.worker_tables import WorkerTables

READ_ONLY = MEANINGS["25006"]

_WRITES = re.compile(
    r"\b(INSERT|DELETE|SET)\b|\b(add_customer_key|add_signed_head|allot_order|answer_idempotency_key|append_events"
    r"|claim_idempotency_key|claim_reference|lock_phone|mark_message_of_erased|place_order|purge_kind"
    r"|purge_unauthenticated_messages|record_audit_entry"
    r"|release_phone_lock|reserve_reference|store_settled_message)\("
)

Rows = list[dict[str, Any]]
Undo = Callable[[], None]


class Tables:
    """All tables, shared by every process; `on_statement(statement, values, result)` sees each statement.

    Between the two virtual seconds of `read_only` they take no writes.
    """

    def __init__(self, part_doubles_of_shop: Mapping[str, PartDouble] = MappingProxyType({})) -> None:
        self.read_only = 0.0, 0.0
        self.on_statement: Callable[[Any, Any, Any], None] | None = None
        self.ledger = LedgerTables()
        self.worker = WorkerTables(self.ledger)
        self.reconciliation = ReconciliationTables(self.ledger)
        self.refunds = RefundTables(self.ledger)
        self.journal = JournalTables(self.ledger, self.reconciliation)
        self.refunds.position_of = lambda name: self.worker.positions.get((name, 1), 0)
        self.handlers = (
            self.ledger.handlers()
            | BatchTables(self.ledger).handlers()
            | self.worker.handlers()
            | self.reconciliation.handlers()
            | self.refunds.handlers()
            | self.journal.handlers()
            | {retention._PURGE: self.purge}
        )
        self.parts = PartDoubles(
            {
                application.WAIT_BRIEFLY.sql: lambda values, _: values[0],
                **self.ledger.part_doubles(),
                **self.worker.part_doubles(),
                **part_doubles_of_shop,
            }
        )

    def purge(self, values: Any) -> Rows:
        """Delete what is kept for a time only, of the kinds that there are here."""
        kind, now, period, _ = values
        purges = {
            "kept_answers": self.worker.purge_keys,
            "order_failures": self.worker.forget_order_failures,
            "phone_locks": self.ledger.prompts.purge_phone_locks,
            "prompt_counts": self.ledger.prompts.purge_counts,
            "query_log": self.ledger.purge_query_log,
            "refund_query_log": self.refunds.purge_checks,
        }
        return [{"rows": purges[kind]([now - period]) if kind in purges else 0}]


class Cursor:
    """The result of a statement."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[dict[str, Any]], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def fetchone(self) -> dict[str, Any] | None:
        """Return the first row."""
        return self._rows[0] if self._rows else None

    def fetchall(self) -> Sequence[dict[str, Any]]:
        """Return all rows."""
        return self._rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)


class ExecutingCursor(Cursor):
    """A cursor that executes statements itself."""

    __slots__ = ("_connection", "itersize")

    def __init__(self, connection: "Connection") -> None:
        super().__init__((), -1)
        self.itersize = 0
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: Any, values: Any = ()) -> "ExecutingCursor":
        """Execute one statement."""
        self._rows = self._connection.execute(statement, values).fetchall()
        return self

    def executemany(self, statement: Any, many: Iterable[Any]) -> None:
        """Execute one statement with each of these values."""
        for values in many:
            self._connection.execute(statement, values)


_EMPTY = Cursor((), 0)
_NO_OPERATIONS = ("SET LOCAL", "SELECT pg_advisory_xact_lock")


class Connection:
    """Executes the statements of one process."""

    def __init__(self, tables: Tables, scheduler: Scheduler | None) -> None:
        self._tables = tables
        self._scheduler = scheduler
        self.undo: list[Undo] | None = None

    def execute(  # psycopg's signature
        self,
        statement: Any,
        values: Any = (),
        *,
        prepare: bool | None = None,  # noqa: ARG002
        binary: bool = False,  # noqa: ARG002
    ) -> Cursor:
        """Execute a statement. Raises Unavailable and Crash for injected faults, KeyError for an unknown statement."""
        handler = self._tables.handlers.get(statement) or self._handler_of_parts(statement)
        if handler is None:
            if str(statement).startswith(_NO_OPERATIONS):
                return _EMPTY
            raise KeyError(
                f"The in-memory database of tests/simulation does not know this statement: {statement!r}"
            )
        scheduler = self._scheduler
        if scheduler is not None:
            self._refuse_if_read_only(scheduler, statement)
        if scheduler is None or self.undo is not None:
            return self._execute(statement, handler, values)
        lost = scheduler.before_step(handler.__name__)
        cursor = self._execute(statement, handler, values)
        if lost:
            scheduler.lose_answer(handler.__name__)
        return cursor

    def transaction(self) -> AbstractContextManager[None]:
        """Return a savepoint for one who only reads: nothing is undone."""
        return nullcontext()

    def cursor(self, name: str = "") -> ExecutingCursor:  # noqa: ARG002 - psycopg's signature
        """Return a cursor; a named one holds all rows as well."""
        return ExecutingCursor(self)

    def _refuse_if_read_only(self, scheduler: Scheduler, statement: Any) -> None:
        since, until = self._tables.read_only
        if since <= scheduler.elapsed < until and is_write(statement):
            scheduler.count_fault("read-only")
            raise READ_ONLY.refusal()

    def _handler_of_parts(self, statement: Any) -> Callable[[Any], Any] | None:
        parts = self._tables.parts.parts_of(statement)
        if parts is None:
            return None

        def run_parts(values: Any) -> Any:
            effects, row, done = Effects(), {}, []
            try:
                for name, sql, own, value in self._tables.parts.evaluate(parts, values, effects):
                    row[name] = value
                    done.append((f"SELECT {sql} AS {name}".encode(), own, [{name: value}]))
            except BaseException:
                effects.undo()
                raise
            for statement_of_part in done:  # Of one that was refused, nothing happened.
                self._tell(*statement_of_part)
            effects.tell()
            return [row], effects.undo

        return run_parts

    def _tell(self, statement: Any, values: Any, result: Any) -> None:
        if self._tables.on_statement is not None:
            self._tables.on_statement(statement, values, result)

    def _execute(self, statement: Any, handler: Callable[[Any], Any], values: Any) -> Cursor:
        result = handler(values)
        if statement in self._tables.handlers:  # Of a statement made of parts, each was told of by itself.
            self._tell(statement, values, result)
        if isinstance(result, int):
            return Cursor((), result)
        if isinstance(result, tuple):
            rows, undo = result
            if self.undo is not None:
                self.undo.append(undo)
            return Cursor(rows, len(rows))
        return Cursor(result, len(result))


@cache
def is_write(statement: str | bytes) -> bool:
    """Say whether a statement writes, itself or by one of our functions."""
    text = statement.decode() if isinstance(statement, bytes) else statement
    return _WRITES.search(text) is not None


class _ConnectionContext:
    """Gives out one connection, shared by all who ask."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Any:
        return self._connection

    def __exit__(self, *_: object) -> None:
        pass


class MemoryDatabase(Database):
    """The connection pool of one process on the shared tables; without a scheduler there are no faults."""

    def __init__(self, tables: Tables, scheduler: Scheduler | None = None) -> None:
        self.url = "postgresql://memory"
        self.tables = tables
        self._scheduler = scheduler
        self._context = _ConnectionContext(Connection(tables, scheduler))

    def connection(self) -> _ConnectionContext:
        """Return the shared connection."""
        return self._context

    get_connection = fresh_connection = connection  # type: ignore[assignment]  # as above

    @contextmanager
    def transaction(self, *, commit: bool = True) -> Iterator[Any]:
        """Yield a connection whose statements are undone together if the block or the commit fails."""
        scheduler, connection = self._scheduler, Connection(self.tables, self._scheduler)
        connection.undo = []
        if scheduler is not None:
            scheduler.pauses_off += 1
        try:
            lost = scheduler.before_step("begin") if scheduler is not None else False
            yield connection
            if not commit:
                self._roll_back(connection.undo)
            elif scheduler is not None:
                lost = scheduler.before_step("commit") or lost
        except BaseException:
            self._roll_back(connection.undo)
            raise
        finally:
            if scheduler is not None and scheduler.pauses_off:
                scheduler.pauses_off -= 1
        if lost and scheduler is not None:
            scheduler.lose_answer("commit")

    snapshot = transaction  # type: ignore[assignment]  # Nothing moves while a run is checked.

    def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _roll_back(undo: list[Undo]) -> None:
        for step in reversed(undo):
            step()
