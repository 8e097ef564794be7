"""What a check does where a row cannot be read: it reports that, and the other checks go on.

A login with the application's rights can store what no client reads. Were the run to end there, one such row would hide
everything else that is wrong.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from traceback import clear_frames
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg import Connection

from ledger.errors import Conflict, Unavailable
from ledger.store.sqlstates import meaning_of
from projections.integrity.violations import Reader, Tally, Task, Violation

_log = structlog.get_logger(__name__)
_OUTAGES = (
    Unavailable,
    Conflict,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)
"""Beside what `meaning_of` knows; the last three mean that the tables are not those of this release."""


def guarded(connection: Connection[Any], rule: str, found: Iterable[Violation]) -> Iterator[Violation]:
    """Yield what a check finds, and a violation if it raises; the snapshot stays usable. Raises what outages raise."""
    try:
        with savepoint(connection):
            yield from found
    except Exception as error:  # noqa: BLE001 - what was tampered with may raise anything, and is reported
        yield unchecked(rule, error)


def run_guarded(task: Task, rule: str, reader: Reader) -> Tally:
    """Run a task, and return a violation of a rule if it raises. Raises what an outage raises."""
    try:
        with savepoint(reader.connection):
            return task(reader)
    except Exception as error:  # noqa: BLE001 - as above
        tally = Tally()
        tally.findings.add([unchecked(rule, error)])
        return tally


@contextmanager
def savepoint(connection: Connection[Any]) -> Iterator[None]:
    """Go back to here if what follows raises, so that the snapshot can be read on."""
    with connection.transaction():
        try:
            yield
        except Exception as error:
            # Cursors that its frames still hold are closed now: afterwards they are gone, and to close one would fail.
            clear_frames(error.__traceback__)
            raise


def raise_outage(error: Exception) -> None:
    """Raise an error that is no fault of what is stored."""
    has_meaning = isinstance(error, psycopg.Error) and meaning_of(error) is not None
    if has_meaning or isinstance(error, _OUTAGES):
        raise error


def unchecked(rule: str, error: Exception, session_id: UUID | None = None) -> Violation:
    """Return the violation that a check could not be made, and log where it failed. Raises what `raise_outage` does.

    The error's words may repeat personal data, so only its kind is told; the log leaves them out.
    """
    raise_outage(error)
    _log.error("check_failed", rule=rule, session_id=session_id and str(session_id), exc_info=error)
    return Violation(rule, f"could not be checked: {type(error).__name__}", session_id)
