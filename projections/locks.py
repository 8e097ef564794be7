"""One active worker a name: a PostgreSQL advisory lock on a connection of its own."""

from threading import RLock

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.errors import Unavailable

LOCK_KEY = "hashtextextended('daftari ' || %s, 0)"
"""The SQL that turns a worker's name into the key of its lock."""

CONNECT_TIMEOUT_SECONDS = 3
_LOOK_AFTER_SECONDS = 5
_LOOKS = 3
_UNANSWERED_MILLISECONDS = 15_000

_BOUND_STATEMENTS = "SET statement_timeout = '5s'"
_TRY_LOCK = f"SELECT pg_try_advisory_lock({LOCK_KEY})"
_STILL_THERE = "SELECT 1"


class ActiveLock:
    """The right to be the one active worker of a name; others stand by until it is let go or its holder dies.

    It lives as long as its connection, so PostgreSQL frees it when the process is killed. Ask `held` in each
    round of work: a connection that died took the lock with it. A connection pooler that lends a server
    connection by transaction cannot carry it, so `database_url` has to reach PostgreSQL itself. Threads of one worker
    may share it.
    """

    def __init__(self, database_url: str, name: str) -> None:
        self.name = name
        self._database_url = database_url
        self._guard = RLock()
        self._connection: Connection[TupleRow] | None = None

    def try_acquire(self) -> bool:
        """Return whether this worker is the active one now. Raises Unavailable where PostgreSQL does not answer."""
        with self._guard:
            return self.held() or self._take()

    @property
    def was_held(self) -> bool:
        """Whether the lock was ours when last asked for; `held` asks again."""
        return self._connection is not None

    def held(self) -> bool:
        """Return whether the lock is still ours, by asking its connection for a sign of life."""
        with self._guard:
            if self._connection is None:
                return False
            try:
                self._connection.execute(_STILL_THERE)
            except psycopg.OperationalError:
                self.release()
                return False
            return True

    def release(self) -> None:
        """Let the next one be active."""
        with self._guard:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _take(self) -> bool:
        try:
            connection = self._connect()
        except psycopg.OperationalError as error:
            raise Unavailable from error
        try:
            connection.execute(_BOUND_STATEMENTS)
            row = connection.execute(_TRY_LOCK, (self.name,)).fetchone()
        except psycopg.OperationalError as error:
            connection.close()
            raise Unavailable from error
        if row is None or not row[0]:
            connection.close()
            return False
        self._connection = connection
        return True

    def _connect(self) -> Connection[TupleRow]:
        return psycopg.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name=f"daftari {self.name}",
            keepalives_idle=_LOOK_AFTER_SECONDS,
            keepalives_interval=_LOOK_AFTER_SECONDS,
            keepalives_count=_LOOKS,
            tcp_user_timeout=_UNANSWERED_MILLISECONDS,
        )
