"""An in-memory double of the PostgreSQL behind our stores: it knows their statements, one by one.

The stores are the real ones. `test_memory_database` compares its answers with PostgreSQL's. A statement is its own
transaction, as in our pool; what belongs together goes through `transaction`. That transactions commit in another
order than they began is not modelled: tests/ledger/store/test_nothing_is_missed.py asks that of PostgreSQL itself.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from ledger.store.database import Database
from tests.simulation.ledger_tables import LedgerTables
from tests.simulation.movement_tables import MoneyTables
from tests.simulation.refund_tables import RefundTables
from tests.simulation.worker_tables import WorkTables
from tests.simulation.world import World

Rows = list[dict[str, Any]]
Undo = Callable[[], None]


class Tables:
    """All that is stored, shared by every process; `heard`, where there is one, hears of each statement and answer."""

    def __init__(self) -> None:
        self.heard: Callable[[Any, Any, Any], None] | None = None
        self.ledger = LedgerTables()
        self.work = WorkTables(self.ledger)
        self.money = MoneyTables(self.ledger)
        self.refunds = RefundTables(self.ledger)
        self.answers = (
            self.ledger.answers() | self.work.answers() | self.money.answers() | self.refunds.answers()
        )


class Cursor:
    """What a statement came to."""

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


class OwnCursor(Cursor):
    """A cursor that takes statements itself."""

    __slots__ = ("_connection", "itersize")

    def __init__(self, connection: "Connection") -> None:
        super().__init__((), -1)
        self.itersize = 0
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: Any, values: Any = ()) -> "OwnCursor":
        """Take one statement."""
        self._rows = self._connection.execute(statement, values).fetchall()
        return self

    def executemany(self, statement: Any, many: Iterable[Any]) -> None:
        """Take one statement with each of these values."""
        for values in many:
            self._connection.execute(statement, values)


_NOTHING = Cursor((), 0)
_OF_SESSIONS_ONLY = ("SET LOCAL", "SELECT pg_advisory_xact_lock")


class Connection:
    """Takes the statements of one process."""

    def __init__(self, tables: Tables, world: World | None) -> None:
        self._tables = tables
        self._world = world
        self.undo: list[Undo] | None = None

    def execute(self, statement: Any, values: Any = (), *, prepare: bool | None = None) -> Cursor:  # noqa: ARG002 - psycopg's signature
        """Answer a statement. Raises Unavailable and Crash where the odds say so, KeyError for one it does not know."""
        answer = self._tables.answers.get(statement)
        if answer is None:
            if str(statement).startswith(_OF_SESSIONS_ONLY):
                return _NOTHING
            raise KeyError(
                f"The in-memory database of tests/simulation does not know this statement: {statement!r}"
            )
        world = self._world
        if world is None or self.undo is not None:
            return self._take(statement, answer, values)
        lost = world.before(answer.__name__)
        cursor = self._take(statement, answer, values)
        if lost:
            world.lose_answer(answer.__name__)
        return cursor

    def cursor(self, name: str = "") -> OwnCursor:  # noqa: ARG002 - psycopg's signature
        """Return a cursor; that of a name would read from the server by and by."""
        return OwnCursor(self)

    def _take(self, statement: Any, answer: Callable[[Any], Any], values: Any) -> Cursor:
        taken = answer(values)
        if self._tables.heard is not None:
            self._tables.heard(statement, values, taken)
        if isinstance(taken, int):
            return Cursor((), taken)
        if isinstance(taken, tuple):
            rows, undo = taken
            if self.undo is not None:
                self.undo.append(undo)
            return Cursor(rows, len(rows))
        return Cursor(taken, len(taken))


class _Lent:
    """Lends a connection that all share."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Any:
        return self._connection

    def __exit__(self, *_: object) -> None:
        pass


class MemoryDatabase(Database):
    """The pool of one process, on tables that all share; without a world nothing goes wrong."""

    def __init__(self, tables: Tables, world: World | None = None) -> None:
        self.url = "postgresql://twin"
        self.tables = tables
        self._world = world
        self._lent = _Lent(Connection(tables, world))

    def connection(self) -> _Lent:  # type: ignore[override]  # as much of a context manager as is asked for
        """Lend the connection."""
        return self._lent

    get_connection = connection  # type: ignore[assignment]  # as above

    @contextmanager
    def transaction(self, *, commit: bool = True) -> Iterator[Any]:
        """Lend a connection whose statements are undone together where the block or the commit fails."""
        world, connection = self._world, Connection(self.tables, self._world)
        connection.undo = []
        if world is not None:
            world.cannot_pause += 1
        try:
            lost = world.before("begin") if world is not None else False
            yield connection
            if not commit:
                self._roll_back(connection.undo)
            elif world is not None:
                lost = world.before("commit") or lost
        except BaseException:
            self._roll_back(connection.undo)
            raise
        finally:
            if world is not None and world.cannot_pause:
                world.cannot_pause -= 1
        if lost and world is not None:
            world.lose_answer("commit")

    def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _roll_back(undo: list[Undo]) -> None:
        for step in reversed(undo):
            step()
