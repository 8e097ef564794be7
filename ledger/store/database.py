"""One pool of PostgreSQL connections for a process, and its errors as those of the ledger.

Build it after a fork: a pool does not survive one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from eventsourcing.postgres import ConnectionPool, PostgresDatastore
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from ledger.errors import Conflict, Unavailable
from ledger.store.roles import DEFAULT_ROLES

APP_ROLE = DEFAULT_ROLES.app
"""The role of running processes: it may append and read, and cannot rewrite history."""

CONNECTION_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A silent connection is probed, and closed in about 15 seconds if the machine behind it is gone."""

POOL_TIMEOUT_SECONDS = 3.0
RECONNECT_TIMEOUT_SECONDS = 2.0
"""Then the pool gives up until the next request: its pauses double, so that it would sleep long past an outage."""

STATEMENT_TIMEOUT_MILLISECONDS = 15_000
PREPARE_AFTER = 1
"""A statement that comes a second time on a connection is prepared: to parse and plan it costs several times as much as
to run it, and a pool has many connections that each must learn it.
"""
MAX_WAITING = 200

_NO_TABLES = "The database has not got its tables yet, or not those of this release: type `daftari migrate`."
_OLDER_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)

_CONFIGURE = """
SELECT set_config('timezone', 'UTC', false),
       set_config('statement_timeout', %(statement_timeout)s, false),
       set_config('idle_in_transaction_session_timeout', %(statement_timeout)s, false),
       (SELECT set_config('role', rolname, false)
          FROM pg_roles WHERE rolname = %(role)s AND pg_has_role(rolname, 'MEMBER'))
"""


class Database(PostgresDatastore):
    """A pool of autocommit connections that the event recorder and all other SQL of a process share.

    `url` is a libpq connection string or URL. A login that may become `role` does so, as a help in development and not
    as a wall: it can go back. With "" it stays what it is. Raises nothing until the first use; then `Unavailable` if
    PostgreSQL does not answer within a few seconds or lacks our tables, and `Conflict` if it chose this transaction as
    the victim of a deadlock.
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
        self.pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
            url,
            connection_class=Connection[DictRow],
            kwargs={
                **CONNECTION_OPTIONS,
                "row_factory": dict_row,
                "application_name": name,
                "prepare_threshold": PREPARE_AFTER,
            },
            min_size=1,
            max_size=max_connections,
            open=False,
            configure=self._configure,
            timeout=POOL_TIMEOUT_SECONDS,
            max_waiting=MAX_WAITING,
            reconnect_timeout=RECONNECT_TIMEOUT_SECONDS,
        )

    @contextmanager
    def connection(self) -> Iterator[Connection[DictRow]]:
        """Lend an autocommit connection whose rows are dictionaries."""
        try:
            self.pool.open()
            with self.pool.connection() as connection:
                yield connection
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
            raise Conflict() from error
        except _OLDER_SCHEMA as error:
            if self._has_tables():
                raise
            raise Unavailable(_NO_TABLES, retry_after_seconds=10) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.pool.check()
            raise Unavailable() from error

    get_connection = connection

    @contextmanager
    def transaction(self, *, commit: bool = True) -> Iterator[Any]:
        """Lend a connection inside one transaction, committed at the end (rolled back if `commit` is false)."""
        with self.connection() as connection, connection.transaction(force_rollback=not commit):
            yield connection

    def _configure(self, connection: Connection[DictRow]) -> None:
        values = {"role": self._role, "statement_timeout": str(STATEMENT_TIMEOUT_MILLISECONDS)}
        connection.execute(_CONFIGURE, values)

    def _has_tables(self) -> bool:
        """Say whether the tables are there, and not those of a release before."""
        with self.pool.connection() as connection:
            row = connection.execute("SELECT to_regclass('event_topics') AS topics").fetchone()
        return row is not None and row["topics"] is not None

    def close(self) -> None:
        """Close the pool; connections in use end when they come back."""
        if hasattr(self, "pool"):
            self.pool.close()
