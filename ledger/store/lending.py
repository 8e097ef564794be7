"""The connection that came back last is lent first.

The library's pool lends its connections in turn: each request then meets the server process that has been idle for
longest, whose plans are the last to be made and whose memory is out of the processor's caches.
"""

from collections import deque
from threading import Lock
from time import monotonic

from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

from ledger.store.connection import Connection

KEPT_SECONDS = 60.0
"""A connection goes back to the pool, which ends what is old or needless, so long after it was taken from there, or
when nobody has needed it for so long.
"""


class LastUsedFirst:
    """Lends the connections of a pool, of which nobody else may take any. Safe to share between threads.

    What comes back is kept here for the next one. Who finds nothing here asks the pool, and while somebody does, what
    comes back goes there: nobody waits for the pool while a connection lies idle here.
    """

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self._lock = Lock()
        self._idle: deque[Connection] = deque()
        self._asking = 0
        self._emptied_at = 0.0
        self._is_closed = False

    def take(self) -> Connection:
        """Return the connection that came back last, or one of the pool; raise what its `getconn` does."""
        asked_at = monotonic()
        with self._lock:
            if self._idle:
                return self._idle.pop()
            self._asking += 1
        try:
            connection = self._pool.getconn()
        finally:
            with self._lock:
                self._asking -= 1
        connection.taken_at = asked_at
        return connection

    def give_back(self, connection: Connection) -> None:
        """Take back what was lent, in whatever state it is."""
        connection.idle_since = now = monotonic()
        returned = [connection]
        with self._lock:
            if self._may_keep(connection):
                self._idle.append(returned.pop())
            if self._idle and now - self._idle[0].idle_since > KEPT_SECONDS:
                returned.append(self._idle.popleft())
        for each in returned:
            self._pool.putconn(each)

    def drain(self) -> None:
        """Have every connection replaced, a lent one as it comes back."""
        idle = self._emptied()
        self._pool.drain()
        idle += self._emptied()  # What was taken from the pool in between may be of before.
        for each in idle:
            self._pool.putconn(each)

    def close(self) -> None:
        """Close the pool and what is idle; what is lent is closed as it comes back."""
        self._is_closed = True
        for each in self._emptied():
            self._pool.putconn(each)
        self._pool.close()

    def _may_keep(self, connection: Connection) -> bool:
        return (
            not self._asking
            and not self._is_closed
            and connection.pgconn.transaction_status == TransactionStatus.IDLE
            and connection.idle_since - connection.taken_at < KEPT_SECONDS
            and connection.taken_at > self._emptied_at
        )

    def _emptied(self) -> list[Connection]:
        """Return all that is idle, and keep nothing that was taken from the pool before."""
        with self._lock:
            self._emptied_at = monotonic()
            idle = list(self._idle)
            self._idle.clear()
        return idle
