"""One pool of PostgreSQL connections for a process, and its errors as those of the ledger.

Build it after a fork: a pool does not survive one.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from select import POLLIN, poll
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

import psycopg
from eventsourcing.postgres import ConnectionPool, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from ledger.errors import ConnectionLost, Unavailable
from ledger.store.connection import Connection
from ledger.store.lending import LastUsedFirst
from ledger.store.role_names import DEFAULT_ROLES
from ledger.store.silence import SilenceWatch
from ledger.store.sqlstates import NO_ROOM, UNREACHED, is_stale_plan, meaning_of

Answer = TypeVar("Answer")

APP_ROLE = DEFAULT_ROLES.app
"""The role of running processes: it may append and read, and cannot rewrite history."""

CONNECTION_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "client_encoding": "UTF8",
    "connect_timeout": 3,
    "keepalives_idle": 3,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A silent connection is probed, and closed in about 12 seconds if the machine behind it is gone."""

SESSION_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "search_path": "public, pg_temp",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "lock_timeout": "0",
    "transaction_timeout": "0",
}
"""What reading, writing and waiting depend on, whatever the server, the database or the role say.

`default_transaction_read_only` is not among them: who sets it means that nothing is written.
"""

POOL_TIMEOUT_SECONDS = 3.0
RECONNECT_TIMEOUT_SECONDS = 2.0
"""Then the pool gives up until the next request: its pauses double, so that it would sleep long past an outage."""

STATEMENT_TIMEOUT_MILLISECONDS = 15_000
PREPARE_AFTER = 1
"""A statement that comes a second time on a connection is prepared: to parse and plan it costs several times as much as
to run it, and a pool has many connections that each must learn it.
"""
MAX_WAITING = 200
NO_ROOM_SECONDS = 5.0
"""For so long after a write found no room the database counts as full."""

_WITHOUT_LIMITS = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "work_mem": "64MB",
    "jit": "off",
}
"""For one who reads whole tables: the limits of time are for what a client waits for."""

_NO_TABLES = "The database has not got its tables yet, or not those of this release: type `daftari migrate`."
_OLDER_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)

# A setting that this PostgreSQL does not have is left out.
_CONFIGURE = """
SELECT pg_catalog.set_config(key, value, false) FROM pg_catalog.jsonb_each_text(%s::jsonb)
WHERE pg_catalog.current_setting(key, true) IS NOT NULL
"""
_ASSUME_ROLE = """
SELECT pg_catalog.set_config('role', %(role)s, false)
WHERE pg_catalog.pg_has_role(pg_catalog.to_regrole(pg_catalog.quote_ident(%(role)s)), 'MEMBER')
"""


class Database(PostgresDatastore):
    """A pool of autocommit connections that the event recorder and all other SQL of a process share.

    `url` is a libpq connection string or URL. A login that may become `role` does so, as a help in development and not
    as a wall: it can go back. With "" it stays what it is. Raises nothing until the first use; then
    `DatabaseUnavailable` if PostgreSQL does not answer within a few seconds or takes no writes, `Unavailable` if it
    lacks our tables or a statement took too long, and `Conflict` if it chose this transaction as the victim of a
    deadlock: see `ledger.store.sqlstates`.
    """

    def __init__(
        self, url: str, *, max_connections: int = 16, name: str = "daftari", role: str = APP_ROLE
    ) -> None:
        self.url = url
        self._role = role
        self.schema = "public"
        self.originator_id_type = "uuid"
        self.enable_db_functions = False
        self.single_row_tracking = True
        self.lock_timeout = 0
        self.pool_open_timeout = None
        self.db_type_names = set[str]()
        self.psycopg_type_adapters = {}
        self.psycopg_python_types = {}
        self._had_no_room_at = -NO_ROOM_SECONDS
        self._options: dict[str, Any] = {
            **connection_options(url),
            "row_factory": dict_row,
            "application_name": name,
            "prepare_threshold": PREPARE_AFTER,
        }
        self.pool: ConnectionPool[Connection] = ConnectionPool(  # type: ignore[assignment]  # it is invariant
            url,
            connection_class=Connection,
            kwargs=self._options,
            min_size=0,  # With 1 it opens 2 at its first use: who asks before the first is there gets another.
            max_size=max_connections,
            open=False,
            configure=self._configure,
            timeout=POOL_TIMEOUT_SECONDS,
            max_waiting=MAX_WAITING,
            reconnect_timeout=RECONNECT_TIMEOUT_SECONDS,
        )
        self._lender = LastUsedFirst(self.pool)
        self._watch = SilenceWatch(partial(psycopg.connect, url, **connection_options(url)))

    def connection(self) -> AbstractContextManager[Connection]:
        """Lend an autocommit connection whose rows are dictionaries. One that the server has closed is not lent."""
        return _Lent(self)

    @contextmanager
    def fresh_connection(self) -> Iterator[Connection]:
        """Lend a connection that was opened for the purpose: what fails here would fail on any other.

        For the few writes that must not be lost to a connection that died; opening it takes milliseconds.
        """
        with (
            self._refusals(),
            closing(Connection.connect(self.url, **self._options)) as connection,
            self._watch.watching(connection),
        ):
            self._configure(connection)
            yield connection

    @contextmanager
    def snapshot(self, exported: str | None = None) -> Iterator[Connection]:
        """Lend a connection of its own in a transaction that reads one snapshot, writes nothing, and may take hours.

        The snapshot is a new one, or the one that another such connection has `exported` and still reads.
        """
        with self.fresh_connection() as connection:
            settle_session(connection, **_WITHOUT_LIMITS)
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                if exported is not None:
                    connection.execute(SQL("SET TRANSACTION SNAPSHOT {}").format(exported))
                yield connection

    get_connection = connection  # type: ignore[assignment]  # the library's is a generator's

    @contextmanager
    def transaction(self, *, commit: bool = True) -> Iterator[Any]:
        """Lend a connection inside one transaction, committed at the end (rolled back if `commit` is false)."""
        with self.connection() as connection, connection.transaction(force_rollback=not commit):
            yield connection

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        milliseconds = str(STATEMENT_TIMEOUT_MILLISECONDS)
        settle_session(
            connection, statement_timeout=milliseconds, idle_in_transaction_session_timeout=milliseconds
        )
        if self._role:
            connection.execute(_ASSUME_ROLE, {"role": self._role})

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Raise errors of PostgreSQL that are no fault of ours as those of the ledger."""
        try:
            yield
        except psycopg.Error as error:
            self.refuse(error)
            raise

    def refuse(self, error: psycopg.Error) -> None:
        """Raise an error of PostgreSQL that is no fault of ours as one of the ledger."""
        if isinstance(error, _OLDER_SCHEMA):
            if not self._has_tables():
                raise Unavailable(_NO_TABLES, retry_after_seconds=10) from error
            return
        meaning = meaning_of(error)
        if meaning is None:
            return
        if meaning is NO_ROOM:
            self._had_no_room_at = monotonic()
        raise meaning.refusal() from error

    def refuse_if_it_had_no_room(self) -> None:
        """Raise DatabaseUnavailable if a write found no room in the last seconds: a small one may still find some."""
        if monotonic() - self._had_no_room_at < NO_ROOM_SECONDS:
            raise NO_ROOM.refusal()

    def take(self) -> Connection:
        """Take a connection from the pool that the server has not closed; the pool replaces those that it has.

        None is lent while the server answers nothing: who got it would wait.
        """
        if self._watch.is_silent:
            raise UNREACHED.refusal()
        if self.pool.closed:
            self.pool.open()
        for _ in range(2 * self.pool.max_size):
            connection = self._lender.take()
            self._watch.add(connection)
            if is_alive(connection) and not connection.is_read_only_of_old:
                return connection
            self._watch.discard(connection)
            connection.close()
            self._lender.give_back(connection)
        raise UNREACHED.refusal()

    def give_back(self, connection: Connection, error: BaseException | None) -> None:
        """Return a connection to the pool, closed if what happened on it leaves it of no use."""
        self._watch.discard(connection)
        if isinstance(error, psycopg.Error):
            meaning = meaning_of(error)
            if meaning is not None and meaning.drops_connection:
                connection.close()
            if is_stale_plan(error):  # In a transaction, so it was not repeated; others have prepared it too.
                self.drain()
        self._lender.give_back(connection)

    def drain(self) -> None:
        """Replace all connections, those in use as they come back."""
        self._lender.drain()

    def _has_tables(self) -> bool:
        """Say whether the tables are there, and not those of a release before."""
        with self.connection() as connection:
            row = connection.execute("SELECT to_regclass('event_topics') AS topics").fetchone()
        return row is not None and row["topics"] is not None

    def close(self) -> None:
        """Close the pool; connections in use end when they come back."""
        if hasattr(self, "_watch"):
            self._watch.stop()
            self._lender.close()


class _Lent:
    """A connection of a pool for the length of a block."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Connection:
        try:
            self._connection = self._database.take()
        except psycopg.Error as error:
            self._database.refuse(error)
            raise
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.give_back(self._connection, error)
        if isinstance(error, psycopg.Error):
            self._database.refuse(error)


def once_more(ask: Callable[[], Answer]) -> Answer:
    """Ask the database, and once more if the connection was lost: for what is safe to repeat."""
    try:
        return ask()
    except ConnectionLost:
        return ask()


def connection_options(url: str) -> dict[str, Any]:
    """Return how to connect to a database."""
    return CONNECTION_OPTIONS | which_server(url)


def which_server(url: str) -> dict[str, Any]:
    """Return the option by which the server that takes writes is meant of several, unless the URL says otherwise."""
    asked = conninfo_to_dict(url)
    if "," in f"{asked.get('host', '')}{asked.get('hostaddr', '')}" and "target_session_attrs" not in asked:
        return {"target_session_attrs": "read-write"}
    return {}


def settle_session(connection: psycopg.Connection[Any], **settings: str) -> None:
    """Give a connection our SESSION_SETTINGS, and others by name."""
    connection.execute(_CONFIGURE, (Jsonb(SESSION_SETTINGS | settings),))


def is_alive(connection: psycopg.Connection[Any]) -> bool:
    """Say whether a connection that is idle can be used.

    A server that ends a connection says so, and the system reports one that died: then there is something to read.
    Only in that case is the server asked, so that this costs a microsecond.
    """
    if connection.closed:
        return False
    if not has_something_to_read(connection):
        return True
    try:
        connection.execute("SELECT", prepare=False)
    except psycopg.Error:
        return False
    return True


def has_something_to_read(connection: psycopg.Connection[Any]) -> bool:
    """Say whether the server, or the system about it, has said something on an idle connection."""
    watched = poll()
    watched.register(connection.fileno(), POLLIN)
    return bool(watched.poll(0))
