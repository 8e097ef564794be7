"""One PostgreSQL for a whole test run, and a freshly migrated database in it for each test that asks."""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from api.local.postgres import ClusterOptions, EmbeddedPostgres
from ledger.store.database import APP_ROLE
from ledger.store.migrate import migrate, migrations
from tests.support.waiting import wait_until

TEST_SERVER = "TEST_DATABASE_URL"
"""Names a server whose user may create databases; without it an embedded one is started."""

MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 4 << 30

APP_PASSWORD = "test"
_TEMPLATE_LOCK = 0x7E57
# From PostgreSQL 18 on, and a quarter cheaper there.
_COPY_IN_THE_KERNEL = (
    "SELECT set_config(name, 'clone', false) FROM pg_settings WHERE name = 'file_copy_method'"
)

_END_OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_get_activity(NULL)
WHERE datid = (SELECT oid FROM pg_database WHERE datname = %s)
"""

_CATALOGS = """
SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared
"""


class TestCluster:
    """The server of a run: the one TEST_DATABASE_URL names, else an embedded one without durable commits."""

    __test__ = False

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._server: EmbeddedPostgres | None = None

    def start(self) -> str:
        """Return the server's URL; start it first if it is ours."""
        if named := os.environ.get(TEST_SERVER):
            return named
        self._folder = reachable_folder()
        bin_folder = os.environ.get("DAFTARI_POSTGRES_BIN")
        options = ClusterOptions(durable=False, bin_folder=Path(bin_folder) if bin_folder else None)
        self._server = EmbeddedPostgres(self._folder, options)
        return self._server.start()

    def stop(self) -> None:
        """Stop the server and remove its data, if it is ours."""
        if self._server is not None:
            self._server.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder)


def reachable_folder() -> Path:
    """Make a folder with a short path that any account may enter; the caller removes it.

    In memory if there is room: a database is cloned for each test, and cloning writes files.
    """
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES
    folder = Path(tempfile.mkdtemp(prefix="daftari-test-", dir=MEMORY if roomy else None))
    folder.chmod(0o711)
    return folder


@contextmanager
def new_database(server_url: str, template: str = "template0") -> Iterator[str]:
    """Yield the URL of a new database, cloned from `template`, and drop it afterwards."""
    name = f"test_{secrets.token_hex(8)}"
    connection = _administrator(server_url)
    connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    if template != "template0":  # A copy has the tables' rights, and not those of the database.
        connection.execute(f'REVOKE TEMPORARY ON DATABASE "{name}" FROM PUBLIC')
    try:
        yield with_database(server_url, name)
    finally:
        _disconnect(connection, name)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _disconnect(connection: psycopg.Connection[Any], name: str) -> None:
    """End all connections to a database; a drop that meets one which is just ending looks again after 0.1 s."""

    def is_alone() -> bool:
        return connection.execute(_END_OTHERS, [name]).fetchone() == (0,)

    wait_until(is_alone, f"nobody is connected to {name}", every_seconds=0.003)


@cache
def _administrator(server_url: str) -> psycopg.Connection:
    """Return the process's own connection for databases: to make one each time took as long as a quarter of a copy."""
    connection = psycopg.connect(server_url, autocommit=True)
    connection.execute(_COPY_IN_THE_KERNEL)
    return connection


@contextmanager
def migrated_database() -> Iterator[str]:
    """Yield the URL of a new migrated database of a server that runs for it alone."""
    cluster = TestCluster()
    try:
        server_url = cluster.start()
        with new_database(server_url, migrated_template(server_url)) as url:
            yield url
    finally:
        cluster.stop()


def migrated_template(server_url: str) -> str:
    """Return the name of a migrated database to clone; make it if there is none of these migrations."""
    name = f"template_{_migrations_digest()}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_TEMPLATE_LOCK])
        known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
        if known is None:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}_unfinished"')
            connection.execute(f'CREATE DATABASE "{name}_unfinished" TEMPLATE template0')
            migrate(with_database(server_url, f"{name}_unfinished"))
            _compact(with_database(server_url, f"{name}_unfinished"))
            connection.execute(f"ALTER ROLE {APP_ROLE} LOGIN PASSWORD '{APP_PASSWORD}'")
            connection.execute(f'ALTER DATABASE "{name}_unfinished" RENAME TO "{name}"')
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    return name


def _compact(url: str) -> None:
    """Write a database's catalogs anew, into fewer and shorter files to copy; of our tables nothing becomes known."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(_CATALOGS).fetchone()
        assert row is not None
        connection.execute(f"VACUUM FULL {row[0]}")
    psycopg.connect(url).close()  # The first who connects keeps the descriptions of the catalogs in a file.


def with_database(url: str, name: str) -> str:
    """Return `url` with another database name."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _migrations_digest() -> str:
    texts = [migration.checksum for migration in migrations()]
    texts.append((resources.files("ledger.store") / "grants.sql").read_text("utf-8"))
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]
