"""The database behind a URL, and what can be wrong with it, in words."""

import re

import psycopg

from api.local.binaries import OLDEST_MAJOR
from api.local.problems import DatabaseProblem
from ledger.store.migrate import migrate

_CONNECT_WITHIN_SECONDS = 5
_REMEDY = "check that it runs and that DATABASE_URL names its host, port, user, password and database."


def require_url(url: str) -> str:
    """Return `url`, or raise DatabaseProblem where none is known."""
    if not url:
        raise DatabaseProblem(
            "No database is known: type `daftari up` to run everything on this machine, "
            "or set DATABASE_URL to a PostgreSQL such as postgresql://user:password@host:5432/daftari."
        )
    return url


def server_major(url: str) -> int:
    """Return the major version of the server behind `url`; raise DatabaseProblem: silent, or too old."""
    try:
        with psycopg.connect(require_url(url), connect_timeout=_CONNECT_WITHIN_SECONDS) as connection:
            major = connection.info.server_version // 10_000
    except psycopg.Error as error:
        raise DatabaseProblem(f"PostgreSQL does not answer ({_reason(error)}): {_REMEDY}") from None
    if major < OLDEST_MAJOR:
        raise DatabaseProblem(
            f"The server of DATABASE_URL is PostgreSQL {major}, and Daftari needs {OLDEST_MAJOR} or newer: upgrade it, "
            "or unset DATABASE_URL to use the embedded one."
        )
    return major


def migrate_database(url: str) -> list[str]:
    """Bring the database to this code's shape and return what was applied; raise DatabaseProblem."""
    server_major(url)
    try:
        return migrate(url)
    except psycopg.Error as error:
        raise DatabaseProblem(f"The database could not be migrated ({_reason(error)}): {_REMEDY}") from error


def _reason(error: psycopg.Error) -> str:
    """Return the last line of what PostgreSQL says, without the address and the user it repeats."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = re.sub(r"connection to server (at|on) .*? failed: ", "", lines[-1])
    return re.sub(r'(user|role|database) "[^"]*"', r"this \1", said.removeprefix("FATAL:").strip()).rstrip(
        "."
    )
