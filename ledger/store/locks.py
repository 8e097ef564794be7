"""One active worker a name: PostgreSQL's advisory locks, all those of a worker on one connection."""

from select import POLLIN, poll
from threading import RLock
from time import monotonic

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.errors import Unavailable

LOCK_KEY = "hashtextextended('daftari ' || %s, 0)"
"""The SQL that turns a worker's name into the key of its lock."""

CONNECT_TIMEOUT_SECONDS = 3
ASK_AGAIN_SECONDS = 5.0
"""A connection whose other end vanished without a word is found out so late, and by its time-outs."""
_LOOK_AFTER_SECONDS = 5
_LOOKS = 3
_UNANSWERED_MILLISECONDS = 15_000

_BOUND_STATEMENTS = "SET statement_timeout = '5s'"
_TRY_LOCK = f"SELECT pg_try_advisory_lock({LOCK_KEY})"
_UNLOCK = f"SELECT pg_advisory_unlock({LOCK_KEY})"
_STILL_THERE = "SELECT 1"


class LockConnection:
    """The connection on which a worker holds its locks, opened when the first is asked for.

    PostgreSQL frees them when the connection ends, and so when the worker is killed. A connection pooler that lends a
    server connection by transaction cannot carry them, so `database_url` has to reach PostgreSQL itself. Safe to share
    between threads.
    """

    def __init__(self, database_url: str) -> None:
        self.guard = RLock()
        self._database_url = database_url
        self._connection: Connection[TupleRow] | None = None
        self._asked_at = 0.0
        self._held = 0

    def take(self, name: str) -> Connection[TupleRow] | None:
        """Take a lock; return the connection that it lives on, None where another worker holds it.

        Raises Unavailable where PostgreSQL does not answer.
        """
        try:
            connection = self._living_one() or self._connect()
            row = connection.execute(_TRY_LOCK, (name,)).fetchone()
        except psycopg.OperationalError as error:
            self._drop()
            raise Unavailable from error
        if row is None or not row[0]:
            return None
        self._held += 1
        return connection

    def lives(self, connection: Connection[TupleRow]) -> bool:
        """Say whether a connection is still the one that locks live on.

        A server that ends a connection says so, and one that dies is reported by its machine: then there is something
        to read. So the server itself is asked only in that case, and once in ASK_AGAIN_SECONDS.
        """
        if connection is not self._connection:
            return False
        now = monotonic()
        if abs(now - self._asked_at) < ASK_AGAIN_SECONDS and not _has_something_to_read(connection):
            return True
        try:
            connection.execute(_STILL_THERE)
        except psycopg.OperationalError:
            self._drop()
            return False
        self._asked_at = now
        return True

    def let_go(self, name: str, connection: Connection[TupleRow]) -> None:
        """Free a lock."""
        if connection is not self._connection:
            return
        try:
            connection.execute(_UNLOCK, (name,))
        except psycopg.OperationalError:
            self._drop()
        else:
            self._held -= 1

    def close_if_idle(self) -> None:
        """End the connection where no lock lives on it."""
        if not self._held:
            self._drop()

    def _living_one(self) -> Connection[TupleRow] | None:
        connection = self._connection
        return connection if connection is not None and self.lives(connection) else None

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._held = None, 0

    def _connect(self) -> Connection[TupleRow]:
        self._connection = psycopg.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="daftari locks",
            keepalives_idle=_LOOK_AFTER_SECONDS,
            keepalives_interval=_LOOK_AFTER_SECONDS,
            keepalives_count=_LOOKS,
            tcp_user_timeout=_UNANSWERED_MILLISECONDS,
        )
        self._connection.execute(_BOUND_STATEMENTS)
        self._asked_at = monotonic()
        return self._connection


class ActiveLock:
    """The right to be the one active worker of a name; others stand by until it is let go or its holder dies.

    Ask for it in each round of work: a connection that died took the lock with it. Threads of one worker may share it.
    """

    def __init__(self, connection: LockConnection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._held_on: Connection[TupleRow] | None = None

    def try_acquire(self) -> bool:
        """Return whether this worker is the active one now. Raises Unavailable where PostgreSQL does not answer."""
        with self._connection.guard:
            if not self.held():
                self._held_on = self._connection.take(self.name)
            return self._held_on is not None

    @property
    def was_held(self) -> bool:
        """Whether the lock was ours when last asked for; `held` asks again."""
        return self._held_on is not None

    def held(self) -> bool:
        """Return whether the lock is still ours."""
        with self._connection.guard:
            if self._held_on is not None and not self._connection.lives(self._held_on):
                self._held_on = None
            return self._held_on is not None

    def release(self) -> None:
        """Let the next one be active, and the connection end with the last of its locks."""
        with self._connection.guard:
            if self._held_on is not None:
                self._connection.let_go(self.name, self._held_on)
                self._held_on = None
            self._connection.close_if_idle()


def _has_something_to_read(connection: Connection[TupleRow]) -> bool:
    watched = poll()
    watched.register(connection.fileno(), POLLIN)
    return bool(watched.poll(0))
