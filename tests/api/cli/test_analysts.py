"""`daftari create-analyst` and `drop-analyst`, on the embedded database and on one whose login may make no roles."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import psycopg
import pytest

from api.local.database_logins import url_of_login
from ledger.store import analysts
from ledger.store.migrate import migrate
from tests.api.cli.support import daftari
from tests.support.analysts import make_group
from tests.support.embedded import embedded_instance
from tests.support.waiting import wait_until

AUDITED = "SELECT kind, actor FROM audit_log WHERE subject = 'login:wanjiru' ORDER BY recorded_at"


@pytest.fixture
def embedded(data_folder: Path) -> Iterator[str]:
    """The folder of an instance that runs, with its own PostgreSQL: its superuser's URL."""
    with embedded_instance(data_folder) as url:
        yield url


def printed(result: CompletedProcess[str]) -> tuple[str, str]:
    """Return the password and the URL that a command prints."""
    found = re.search(r"Password  (\w+) .*\nConnect   \S*psql '(\S+)'", result.stdout)
    assert found, result.stdout + result.stderr
    return found[1], found[2]


def reads(url: str, name: str, password: str) -> list[tuple[int]]:
    with psycopg.connect(url_of_login(url, name, password)) as analyst:
        return analyst.execute("SELECT count(*) FROM Payment_Sessions").fetchall()


def test_an_analyst_of_the_embedded_database_comes_and_goes(embedded: str, data_folder: Path) -> None:
    environ = {"DAFTARI_DATA_DIR": str(data_folder)}
    made = daftari("create-analyst", "wanjiru", "--by", "9", **environ)
    assert made.returncode == 0, made.stderr
    password, url = printed(made)
    assert "\nwanjiru reads the schema analytics, and nothing else" in made.stdout
    assert "REVOKE" not in made.stdout
    assert reads(url, "wanjiru", password) == [(0,)]

    again = daftari("create-analyst", "wanjiru", **environ)
    assert again.returncode == 1
    assert "wanjiru is an analyst: --rotate gives a new password." in again.stderr
    other, _ = printed(daftari("create-analyst", "wanjiru", "--rotate", **environ))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        reads(url, "wanjiru", password)
    for database in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="rejects connection"):
            psycopg.connect(url_of_login(url, "wanjiru", other), dbname=database)
    with psycopg.connect(url_of_login(url, "wanjiru", other), autocommit=True) as session:
        session.execute("SET default_transaction_read_only = off")
        session.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC")
        assert daftari("drop-analyst", "wanjiru", "--by", "9", **environ).stdout == "wanjiru is removed.\n"
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert "There is no analyst wanjiru." in daftari("drop-analyst", "wanjiru", **environ).stderr

    with psycopg.connect(embedded) as superuser:
        assert superuser.execute(AUDITED).fetchall() == [
            ("analyst_created", "cli:user:9"),
            ("analyst_password_changed", "cli"),
            ("analyst_removed", "cli:user:9"),
        ]
    log = (data_folder / "postgres.log").read_text("utf-8")
    assert password not in log
    assert other not in log


def test_a_role_that_is_no_analyst_is_left_alone(embedded: str, data_folder: Path) -> None:
    environ = {"DAFTARI_DATA_DIR": str(data_folder)}
    with psycopg.connect(embedded, autocommit=True) as superuser:
        superuser.execute("CREATE ROLE kamau LOGIN")
    assert "kamau is a role. Choose another name" in daftari("create-analyst", "kamau", **environ).stderr
    for arguments in (("create-analyst", "kamau", "--rotate"), ("drop-analyst", "kamau")):
        refused = daftari(*arguments, **environ)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "There is no analyst kamau." in refused.stderr
    assert "small letters" in daftari("create-analyst", "daftari_app", **environ).stderr


def test_logins_are_made_one_after_the_other(embedded: str, data_folder: Path) -> None:
    waits = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(1) as pool, psycopg.connect(embedded, autocommit=True) as superuser:
        with psycopg.connect(embedded, autocommit=True) as other:
            other.execute(analysts.ALONE)
            made = pool.submit(daftari, "create-analyst", "wanjiru", DAFTARI_DATA_DIR=str(data_folder))
            wait_until(lambda: superuser.execute(waits).fetchone() is not None, "it waits for the other")
        assert made.result().returncode == 0


def test_no_login_is_made_changed_or_removed_without_its_entry(embedded: str, data_folder: Path) -> None:
    environ = {"DAFTARI_DATA_DIR": str(data_folder)}
    stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'wanjiru'"
    with psycopg.connect(embedded, autocommit=True) as superuser:
        for arguments in (("create-analyst",), ("create-analyst", "--rotate"), ("drop-analyst",)):
            before = superuser.execute(stored).fetchall()
            superuser.execute(
                "ALTER TABLE audit_log ADD CONSTRAINT full_disk CHECK (recorded_at IS NULL) NOT VALID"
            )
            assert daftari(*arguments, "wanjiru", **environ).returncode != 0
            assert superuser.execute(stored).fetchall() == before
            superuser.execute("ALTER TABLE audit_log DROP CONSTRAINT full_disk")
            assert daftari(*arguments, "wanjiru", **environ).returncode == 0
            assert superuser.execute(stored).fetchall() != before
        assert len(superuser.execute(AUDITED).fetchall()) == 3


def test_where_no_roles_may_be_made_the_sql_is_printed(empty_database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as administrator:
        suffix = administrator.info.dbname.removeprefix("test_")
        owner, name = f"plain_{suffix}", f"analyst_{suffix}"
        make_group(administrator)
        administrator.execute(f"CREATE ROLE {owner} LOGIN PASSWORD 'test'".encode())
        administrator.execute(f"ALTER DATABASE {administrator.info.dbname} OWNER TO {owner}".encode())
        try:
            url = url_of_login(empty_database_url, owner, "test")
            migrate(url)
            result = daftari("create-analyst", name, DATABASE_URL=url, DAFTARI_DATA_DIR=str(tmp_path))
            assert result.returncode == 1
            assert f"Nothing was changed about {name}" in result.stderr
            password, connect = printed(result)
            kinds = "SELECT kind, details->>'of' FROM audit_log WHERE subject = %s"
            entries = administrator.execute(kinds, (f"login:{name}",)).fetchall()
            assert entries == [("analyst_sql_printed", "analyst_created")]
            administrator.execute(result.stdout.partition("a superuser best:\n")[2].encode())
            assert reads(connect, name, password) == [(0,)]
        finally:
            for role in (name, owner):
                administrator.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER".encode())
                administrator.execute(f"DROP OWNED BY {role}".encode())
                administrator.execute(f"DROP ROLE {role}".encode())
