"""What PostgreSQL's errors mean for us, in one table by SQLSTATE: who is told what, and whether the connection stays.

See https://www.postgresql.org/docs/current/errcodes-appendix.html. What is not in the table is a fault of ours.
"""

from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from ledger.errors import Conflict, ConnectionLost, DatabaseUnavailable, LedgerError, Unavailable


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error means.

    `drops_connection`: the connection is of no use any more, so it goes and another takes its place.
    `is_of_database`: any other statement would meet it too; else it concerns this statement alone.
    """

    sentence: str
    retry_after_seconds: int = 2
    drops_connection: bool = False
    is_of_database: bool = True
    is_conflict: bool = False

    def refusal(self) -> LedgerError:
        """Return the error that a caller sees."""
        if self.is_conflict:
            return Conflict()
        kind: type[Unavailable] = DatabaseUnavailable if self.is_of_database else Unavailable
        if self.is_of_database and self.drops_connection:
            kind = ConnectionLost
        return kind(self.sentence, retry_after_seconds=self.retry_after_seconds)


LOST: Final = Meaning(DatabaseUnavailable().message, drops_connection=True)
UNREACHED: Final = Meaning(LOST.sentence)
_READ_ONLY = Meaning(
    "The database takes no writes at present. Please try again shortly.",
    retry_after_seconds=5,
    drops_connection=True,
)
NO_ROOM: Final = Meaning(
    "The database has no room left at present. Please try again shortly.", retry_after_seconds=5
)
_TOO_SLOW = Meaning("The database took too long. Please try again shortly.", is_of_database=False)
_CONFLICT = Meaning("", is_conflict=True, is_of_database=False)
_STALE_PLAN = Meaning(LOST.sentence, retry_after_seconds=1, drops_connection=True, is_of_database=False)

# The longest entry that an SQLSTATE begins with counts: first the whole code, then its class.
MEANINGS: Final[dict[str, Meaning]] = {
    "08": LOST,  # connection exceptions
    "25006": _READ_ONLY,  # a standby, or default_transaction_read_only: a new connection may find the primary
    "25P03": LOST,  # idle_in_transaction_session_timeout, after which the session is gone
    "25P04": LOST,  # transaction_timeout, the same
    "26000": _STALE_PLAN,  # a prepared statement is unknown: see Connection.execute in ledger.store.database
    "40001": _CONFLICT,  # serialization_failure
    "40003": LOST,  # statement_completion_unknown
    "40P01": _CONFLICT,  # deadlock_detected
    "42P05": _STALE_PLAN,  # a prepared statement of this name exists
    "53": NO_ROOM,  # 53100 disk_full, 53200 out_of_memory, 53400 configuration_limit_exceeded
    "53300": LOST,  # too_many_connections
    "55P03": _TOO_SLOW,  # lock_not_available: lock_timeout
    "57": LOST,  # 57P01 admin_shutdown, 57P02 crash_shutdown, 57P03 cannot_connect_now, 57P05 idle_session_timeout
    "57014": _TOO_SLOW,  # query_canceled: statement_timeout
    "58": NO_ROOM,  # 58030 io_error
}


def meaning_of(error: psycopg.Error) -> Meaning | None:
    """Return what an error means, None where it is a fault of ours."""
    state = error.sqlstate
    if isinstance(error, PoolTimeout | TooManyRequests | PoolClosed):
        return UNREACHED
    if state is None:
        return LOST if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) else None
    if is_stale_plan(error):
        return _STALE_PLAN
    return MEANINGS.get(state) or MEANINGS.get(state[:2])


def is_stale_plan(error: psycopg.Error) -> bool:
    """Say whether a prepared statement no longer suits its tables, or is gone; then nothing was executed.

    "Cached plan must not change result type" shares its SQLSTATE with much else, and its words may be translated; the
    function of PostgreSQL that raises it has one name.
    """
    if error.sqlstate == "0A000":
        return error.diag.source_function == "RevalidateCachedQuery"
    return error.sqlstate in ("26000", "42P05")
