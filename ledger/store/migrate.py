"""Apply the numbered SQL files of each package, forward only, one process at a time."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from time import monotonic, sleep
from typing import Any, TypeVar

import psycopg
from psycopg import Connection
from psycopg.errors import LockNotAvailable
from psycopg.rows import TupleRow

from ledger.errors import LedgerError
from ledger.store.database import settle_session, which_server
from ledger.store.locks import SCHEMA_LOCK
from ledger.store.role_names import DEFAULT_ROLES, Roles
from ledger.store.roles import apply_grants, become_owner, exists

Answer = TypeVar("Answer")

PACKAGES = ("ledger.store", "projections", "shop", "payments")
"""The packages whose `migrations/` folders make up a database, in the order of application."""

OLDEST_POSTGRESQL = 15
OUTSIDE_A_TRANSACTION = "-- outside a transaction"
"""The first line of a file whose statements are executed one by one, such as CREATE INDEX CONCURRENTLY."""

_ADVISORY_LOCK = 0x0DAF7A21
_LOCK_TIMEOUT = "1s"
_CONCURRENT_LOCK_TIMEOUT = "10min"
_LOCK_TRIES = 60
_PAUSE_SECONDS = 1.0
_CONCURRENT_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY (\w+)")
_IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.' || %s)"
_HOLD_ROWS = """
SELECT format('public.%%I', relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname = ANY(%s) AND pg_relation_size(oid) > 0
"""
_WAIT_FOR_OTHERS_SECONDS = 600.0
_GROUPED_DIGITS = re.compile(r"\b\d{1,3}(?:_\d{3})+\b")
_CREATED = re.compile(r"^CREATE (?:OR REPLACE )?(?:TABLE|FUNCTION|SEQUENCE|VIEW) (\w+)\b(?!\.)", re.MULTILINE)
_OWN_TABLE = "schema_migrations"

# A dump restored into another cluster holds positions of transactions that are still to come there.
_RAISE_EPOCH = """
UPDATE ledger_node AS node SET epoch = last.transaction + 1
FROM (SELECT (SELECT max(position) FROM payment_events WHERE origin = ledger_node.origin) >> 20 AS transaction
      FROM ledger_node) AS last
WHERE last.transaction >= node.epoch + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
"""
_CHANGE_OWNERS = """\
These belong to another role than {owner}, and this login may not give them away. As a superuser, or as a role that \
may become both owners, execute this in the database, then type `daftari migrate` again:
{statements}"""


_LOCKED = (
    "Another transaction keeps the lock that a migration needs, or an old snapshot. End it (pg_stat_activity shows it),"
    " then type `daftari migrate` again: what was applied stays applied."
)
_BUSY = "{holder} has been at work on this database for ten minutes. Wait for its end, then type it again."


class MigrationError(LedgerError):
    """The database cannot be migrated to the schema that this code needs; the message says why."""

    def __init__(self, message: str) -> None:
        super().__init__("MIGRATION_FAILED", message)


@dataclass(frozen=True)
class Migration:
    """One numbered SQL file."""

    package: str
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """The SHA-256 of its text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def readable_sql(self) -> str:
        """Its text without underscores in numbers: PostgreSQL 15 reads none, and what was applied is never edited."""
        return _GROUPED_DIGITS.sub(lambda number: number[0].replace("_", ""), self.sql)

    @property
    def is_outside_a_transaction(self) -> bool:
        """Whether its statements, each of which ends a line by its semicolon, are executed one by one."""
        return self.sql.startswith(OUTSIDE_A_TRANSACTION)


def migrations() -> list[Migration]:
    """Return every migration of every package, in the order of application."""
    found = []
    for package in PACKAGES:
        folder = resources.files(package) / "migrations"
        if not folder.is_dir():
            continue
        names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
        found += [Migration(package, name, (folder / name).read_text("utf-8")) for name in names]
    return found


def created_names(step: Migration) -> list[str]:
    """Return the names of the tables, functions, sequences and views that a migration makes in `public`, in order."""
    return _CREATED.findall(step.sql)


def all_names() -> list[str]:
    """Return the names of all tables, functions, sequences and views that are ours."""
    return [_OWN_TABLE, *(name for step in migrations() for name in created_names(step))]


def migrate(database_url: str, roles: Roles = DEFAULT_ROLES) -> list[str]:
    """Apply the pending migrations and, each time, the rights of the roles; return the names of the migrations.

    In a dump that was restored into a new cluster, new events sort above the old ones from here on.

    Safe to run from several processes at once: they take turns. Safe beside a working system: a lock is waited for
    a second at a time, so that others do not wait long behind it, and then asked for again, for two minutes in all;
    what has its lock may take as long as it needs. It acts as the owner's role if this login may become it, and gives
    it what a release before it made as another. Raises MigrationError if PostgreSQL is too old, a lock was not to be
    had, an applied file was changed, or a person with more rights has to change owners first, and
    psycopg.OperationalError if the database does not answer.
    """
    steps = migrations()
    with _connect(database_url) as connection:
        _refuse_an_old_server(connection)
        settle_session(
            connection,
            statement_timeout="0",
            idle_in_transaction_session_timeout="0",
            lock_timeout=_LOCK_TIMEOUT,
        )
        _take_alone(connection, _ADVISORY_LOCK, "Another migration")
        connection.execute("SET client_min_messages = error")
        if left := _patiently(become_owner, connection, roles, all_names()):
            raise MigrationError(_CHANGE_OWNERS.format(owner=roles.owner, statements="\n".join(left)))
        applied = _prepared(connection)
        fresh = [step for step in steps if _is_fresh(step, applied)]
        if fresh:
            _take_alone(connection, SCHEMA_LOCK, "A verification")
            for step in fresh:
                if step.is_outside_a_transaction:
                    _apply_outside(connection, step)
                else:
                    _patiently(_apply, connection, step)
            _analyze(connection)
        connection.execute(_RAISE_EPOCH)
        if exists(connection, roles.app):
            _patiently(apply_grants, connection, roles)
        return [f"{step.package}/{step.name}" for step in fresh]


def pending(database_url: str) -> list[str]:
    """Return the names of migrations that the database still lacks; change nothing."""
    with _connect(database_url) as connection:
        exists = connection.execute("SELECT to_regclass('public.schema_migrations')").fetchone()
        applied = _applied(connection) if exists and exists[0] else {}
        return [f"{m.package}/{m.name}" for m in migrations() if (m.package, m.name) not in applied]


def _connect(database_url: str) -> Connection[TupleRow]:
    return psycopg.connect(database_url, autocommit=True, connect_timeout=5, **which_server(database_url))


def _refuse_an_old_server(connection: Connection[TupleRow]) -> None:
    major = connection.info.server_version // 10_000
    if major < OLDEST_POSTGRESQL:
        raise MigrationError(
            f"This PostgreSQL is version {major}; Daftari needs {OLDEST_POSTGRESQL} or newer. "
            "Point DATABASE_URL at a newer server, or unset it to use the embedded one."
        )


def _prepared(connection: Connection[TupleRow]) -> dict[tuple[str, str], str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (package text, name text, checksum text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (package, name))"
    )
    return _applied(connection)


def _applied(connection: Connection[TupleRow]) -> dict[tuple[str, str], str]:
    rows = connection.execute("SELECT package, name, checksum FROM public.schema_migrations").fetchall()
    return {(package, name): checksum for package, name, checksum in rows}


def _is_fresh(step: Migration, applied: dict[tuple[str, str], str]) -> bool:
    known = applied.get((step.package, step.name))
    if known is not None and known != step.checksum:
        raise MigrationError(
            f"{step.package}/{step.name} was changed after it had been applied to this database. "
            "Restore the file and put the change into a new, higher-numbered one."
        )
    return known is None


def _apply(connection: Connection[TupleRow], step: Migration) -> None:
    with connection.transaction():
        connection.execute(step.readable_sql)
        _record(connection, step)


def _apply_outside(connection: Connection[TupleRow], step: Migration) -> None:
    """Execute the statements of a file one by one; they may wait long, for nothing that matters queues behind them."""
    connection.execute(f"SET lock_timeout = '{_CONCURRENT_LOCK_TIMEOUT}'")
    for statement in re.split(r"(?<=;)\n", step.readable_sql):
        _patiently(_apply_alone, connection, statement, tries=1)
    connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
    _record(connection, step)


def _apply_alone(connection: Connection[TupleRow], statement: str) -> None:
    """Execute a statement of a file that an earlier run may have left half done."""
    index = _CONCURRENT_INDEX.search(statement)
    is_valid = index and connection.execute(_IS_VALID, (index[1],)).fetchone()
    if is_valid == (True,):
        return
    if index and is_valid == (False,):
        connection.execute(f"DROP INDEX CONCURRENTLY {index[1]}")
    if statement.strip():
        connection.execute(statement)


def _record(connection: Connection[TupleRow], step: Migration) -> None:
    connection.execute(
        "INSERT INTO schema_migrations (package, name, checksum) VALUES (%s, %s, %s)",
        (step.package, step.name, step.checksum),
    )


def _analyze(connection: Connection[TupleRow]) -> None:
    """Count what the tables hold, lest the first plans be guesses. An empty table's plan would be for an empty one."""
    for (table,) in connection.execute(_HOLD_ROWS, (all_names(),)).fetchall():
        _patiently(connection.execute, f"ANALYZE {table}")


def _patiently(act: Callable[..., Answer], *values: Any, tries: int = _LOCK_TRIES) -> Answer:
    """Act, and again after a pause where a lock was not to be had: others wait no longer than that behind ours."""
    for tries_left in reversed(range(tries)):
        try:
            return act(*values)
        except LockNotAvailable as error:
            if not tries_left:
                raise MigrationError(_LOCKED) from error
        sleep(_PAUSE_SECONDS)
    raise AssertionError


def _take_alone(connection: Connection[TupleRow], key: int, holder: str) -> None:
    """Take an advisory lock. A statement that waits for it would hold up the holder's CREATE INDEX CONCURRENTLY."""
    ends_at = monotonic() + _WAIT_FOR_OTHERS_SECONDS
    while connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone() != (True,):
        if monotonic() >= ends_at:
            raise MigrationError(_BUSY.format(holder=holder))
        sleep(_PAUSE_SECONDS / 10)
