"""`daftari psql`, `pg-dump` and `restore-dump`, with real client programs."""

import base64
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from api.local.clients import find_client
from api.local.database_logins import url_of_login
from api.local.problems import DatabaseProblem
from ledger.application import Ledger
from ledger.store.database import APP_ROLE, Database
from tests.api.cli.support import daftari
from tests.support.checkouts import Checkout
from tests.support.database import APP_PASSWORD
from tests.support.keys import MASTER_KEY, key_ring

KEY = base64.b64encode(MASTER_KEY).decode()
LAST = "SELECT position FROM payment_events ORDER BY position DESC LIMIT 1"
EVENTS = "SELECT session_id, version, hash, position FROM payment_events ORDER BY position"


@pytest.fixture
def old_url(ledger: Ledger, database_url: str) -> str:
    """A database with events of a cluster whose transactions were far ahead of those of this one."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE ledger_node SET epoch = 1000000000")
        Checkout(ledger)
        connection.execute("UPDATE ledger_node SET epoch = 0")
    return database_url


def environ(url: str, folder: Path) -> dict[str, str]:
    return {"DATABASE_URL": url, "DAFTARI_DATA_DIR": str(folder), "DAFTARI_MASTER_KEY": KEY}


def dumped(url: str, folder: Path, *options: str) -> Path:
    dump = folder / "daftari.dump"
    result = daftari("pg-dump", *options, f"--file={dump}", **environ(url, folder))
    assert result.returncode == 0, result.stderr
    return dump


@pytest.mark.parametrize("options", [("--format=custom",), ()])
def test_a_dump_is_restored_verified_and_new_events_sort_above(
    old_url: str, empty_database_url: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    dump = dumped(old_url, tmp_path, *options)
    result = daftari("restore-dump", str(dump), **environ(empty_database_url, tmp_path))
    _, _, verified = result.stdout.partition("The dump is restored. Verifying it ...\n")
    found = {line.partition(":")[0] for line in verified.splitlines()}
    assert found == {"personal data"}, result.stdout + result.stderr  # What Checkout stores is not encrypted.
    with psycopg.connect(old_url) as old, psycopg.connect(empty_database_url, autocommit=True) as new:
        assert new.execute(EVENTS).fetchall() == old.execute(EVENTS).fetchall()
        before = new.execute(LAST).fetchone()
        with closing(Database(empty_database_url)) as database:
            Checkout(Ledger(database, key_ring(database)))
        after = new.execute(LAST).fetchone()
    assert before is not None
    assert after is not None
    assert after > before


def test_a_dump_of_another_master_key_is_told(old_url: str, empty_database_url: str, tmp_path: Path) -> None:
    other = environ(empty_database_url, tmp_path) | {
        "DAFTARI_MASTER_KEY": base64.b64encode(b"x" * 32).decode()
    }
    result = daftari("restore-dump", str(dumped(old_url, tmp_path)), **other)
    assert result.returncode == 3
    assert "cannot be decrypted with this master key" in result.stderr


def test_a_dump_that_was_not_migrated_is_not_served(old_url: str, tmp_path: Path, free_port: int) -> None:
    served = daftari("serve", **environ(old_url, tmp_path), DAFTARI_PORT=str(free_port))
    assert served.returncode == 3
    assert "type `daftari migrate`" in served.stderr
    assert daftari("migrate", **environ(old_url, tmp_path)).returncode == 0
    with psycopg.connect(old_url) as connection:
        assert connection.execute("SELECT epoch > 1000000000 FROM ledger_node").fetchone() == (True,)


def test_a_dump_is_restored_into_an_empty_database_only(old_url: str, tmp_path: Path) -> None:
    dump = dumped(old_url, tmp_path)
    result = daftari("restore-dump", str(dump), **environ(old_url, tmp_path))
    assert result.returncode == 4
    assert "an empty one only" in result.stderr


def test_psql_logs_in_as_the_application(database_url: str, tmp_path: Path) -> None:
    url = url_of_login(database_url, APP_ROLE, APP_PASSWORD)
    result = daftari("psql", "--command=TABLE ledger_node", **environ(url, tmp_path))
    assert result.returncode == 0, result.stderr
    refused = daftari("psql", "--command=DELETE FROM ledger_node", **environ(url, tmp_path))
    assert refused.returncode == 1


def test_an_older_client_is_not_used() -> None:
    with pytest.raises(DatabaseProblem, match="no pg_dump of version 99 or newer"):
        find_client("pg_dump", 99, None)
