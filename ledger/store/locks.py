"""One active worker a name, by advisory locks of PostgreSQL, all those of a worker on one connection."""

from threading import RLock
from time import monotonic

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.errors import DatabaseUnavailable
from ledger.store.database import connection_options, has_something_to_read, settle_session

LOCK_KEY = "hashtextextended('daftari ' || %s, 0)"
"""The SQL that turns a worker's name into the key of its lock."""

SCHEMA_LOCK = 0x0DAF7A22
"""A migration holds this lock alone, and a long scan shares it in its transaction: DDL would wait behind the scan,
and everything else behind the DDL.
"""

SHARE_SCHEMA = f"SELECT pg_try_advisory_xact_lock_shared({SCHEMA_LOCK}) AS shared"
"""For a long scan: false while a migration runs."""

ASK_AGAIN_SECONDS = 5.0
"""It takes so long, or the connection's timeouts, to notice that the server vanished without closing it."""

_TRY_LOCK = f"SELECT pg_try_advisory_lock({LOCK_KEY})"
_UNLOCK = f"SELECT pg_advisory_unlock({LOCK_KEY})"
_PROBE = "SELECT 1"


class LockConnection:
    """The connection that holds a worker's locks, opened for the first of them.

    PostgreSQL releases them when the connection ends, and so when the worker is killed. A connection pooler in
    transaction mode cannot carry them, so `database_url` has to reach PostgreSQL itself. Safe to share between
    threads.
    """

    def __init__(self, database_url: str) -> None:
        self.guard = RLock()
        self._database_url = database_url
        self._connection: Connection[TupleRow] | None = None
        self._asked_at = 0.0
        self._held = 0

    def acquire(self, name: str) -> Connection[TupleRow] | None:
        """Acquire a lock; return the connection that holds it, None if another worker has it.

        Raises Unavailable if PostgreSQL does not answer.
        """
        try:
            connection = self._alive_connection() or self._connect()
            row = connection.execute(_TRY_LOCK, (name,)).fetchone()
        except psycopg.Error as error:
            self._disconnect()
            raise DatabaseUnavailable from error
        if row is None or not row[0]:
            return None
        self._held += 1
        return connection

    def is_alive(self, connection: Connection[TupleRow]) -> bool:
        """Say whether a connection is still the one that holds the locks.

        A server that closes a connection says so, and the system reports one that died: then there is something to
        read. So the server itself is asked only in that case, and once in ASK_AGAIN_SECONDS.
        """
        if connection is not self._connection:
            return False
        now = monotonic()
        if abs(now - self._asked_at) < ASK_AGAIN_SECONDS and not has_something_to_read(connection):
            return True
        try:
            connection.execute(_PROBE)
        except psycopg.Error:
            self._disconnect()
            return False
        self._asked_at = now
        return True

    def release(self, name: str, connection: Connection[TupleRow]) -> None:
        """Release a lock."""
        if connection is not self._connection:
            return
        try:
            connection.execute(_UNLOCK, (name,))
        except psycopg.Error:
            self._disconnect()
        else:
            self._held -= 1

    def close_if_idle(self) -> None:
        """Close the connection if it holds no lock."""
        if not self._held:
            self._disconnect()

    def _alive_connection(self) -> Connection[TupleRow] | None:
        connection = self._connection
        return connection if connection is not None and self.is_alive(connection) else None

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._held = None, 0

    def _connect(self) -> Connection[TupleRow]:
        self._connection = psycopg.connect(
            self._database_url,
            application_name="daftari locks",
            **connection_options(self._database_url),
        )
        settle_session(self._connection, statement_timeout="5s", idle_session_timeout="0")
        self._asked_at = monotonic()
        return self._connection


class ActiveLock:
    """The right to be the one active worker of a name; others stand by until it is released or its holder dies.

    Acquire it in each round of work, because a connection that died lost the lock. Threads of a worker may share it.
    """

    def __init__(self, connection: LockConnection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._held_on: Connection[TupleRow] | None = None

    def try_acquire(self) -> bool:
        """Return whether this worker is the active one now. Raises Unavailable if PostgreSQL does not answer."""
        with self._connection.guard:
            if not self.held():
                self._held_on = self._connection.acquire(self.name)
            return self._held_on is not None

    @property
    def was_held(self) -> bool:
        """Whether this worker held the lock when last asked; `held` asks again."""
        return self._held_on is not None

    def held(self) -> bool:
        """Return whether this worker still holds the lock."""
        with self._connection.guard:
            if self._held_on is not None and not self._connection.is_alive(self._held_on):
                self._held_on = None
            return self._held_on is not None

    def release(self) -> None:
        """Release the lock, and close the connection with the last of its locks."""
        with self._connection.guard:
            if self._held_on is not None:
                self._connection.release(self.name, self._held_on)
                self._held_on = None
            self._connection.close_if_idle()
