"""Whether the database answers and takes writes: asked once for all who want to know, no longer than they wait."""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from time import monotonic

from ledger.errors import DatabaseUnavailable
from ledger.store.database import Database
from ledger.store.positions import HorizonHolder, read_horizon_holder

FRESH_SECONDS = 1.0
"""For so long an answer is given again."""

_KEEPS_NO_WRITE = (
    "The database answers, and no write to it ends: it may wait for a synchronous replica or its disk."
)
_READ = "SELECT FROM payment_sessions LIMIT 1"
_WRITE = """
UPDATE write_probe SET written_at = clock_timestamp() WHERE written_at < clock_timestamp() - interval '1 second'
"""


class Readiness:
    """Asks the database in a thread of its own, so that who asks is answered in time even if the database hangs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readiness")
        self._asked: Future[HorizonHolder | None] | None = None
        self._asked_at = 0.0
        self._has_read = False

    def check(self, within_seconds: float) -> HorizonHolder | None:
        """Read a row and write one; return who holds the log back, which stops neither.

        Raises Unavailable, with what is wrong, if that does not succeed in time.
        """
        try:
            holder = self._ask(within_seconds).result(within_seconds)
        except TimeoutError as error:
            raise (
                DatabaseUnavailable(_KEEPS_NO_WRITE) if self._has_read else DatabaseUnavailable()
            ) from error
        self._database.refuse_if_it_had_no_room()
        return holder

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self, within_seconds: float) -> "Future[HorizonHolder | None]":
        """Return the check that is under way or was made a moment ago, else start one."""
        with self._guard:
            is_over = self._asked is None or self._asked.done()
            if self._asked is None or (is_over and monotonic() - self._asked_at >= FRESH_SECONDS):
                self._asked = self._thread.submit(self._read_and_write, within_seconds)
                self._asked_at = monotonic()
            return self._asked

    def _read_and_write(self, within_seconds: float) -> HorizonHolder | None:
        self._has_read = False
        with self._database.transaction() as connection:
            connection.execute(f"SET LOCAL statement_timeout = {round(within_seconds * 1_000)}")
            connection.execute(_READ)
            holder = read_horizon_holder(connection)
            self._has_read = True
            connection.execute(_WRITE)
        return holder
