"""Who owns the database, who migrates it, and as whom a process runs."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from api.local.database_logins import prepare_logins, url_of_login
from api.local.postgres import EmbeddedPostgres
from api.local.preflight import Finding, Level, run_preflight_checks
from ledger.store.logins import is_private_way, why_too_strong
from ledger.store.migrate import MigrationError, all_names, migrate
from ledger.store.role_names import DEFAULT_ROLES, Roles
from ledger.store.roles import setup_statements
from tests.api.cli.support import daftari
from tests.support.database import new_database

OWNERS = """
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
PRODUCTION = {
    "DAFTARI_MODE": "production",
    "DAFTARI_JWT_SECRET": "7ae1f0c93b52d4886ac01f9e35b7d264",
    "DAFTARI_MASTER_KEY": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=",
    "DAFTARI_PUBLIC_URL": "https://pay.example.co.ke",
    "MPESA_CALLBACK_URL": "https://pay.example.co.ke/api/payments/callbacks/",
}
PASSWORD = "test"


@pytest.fixture
def plain_owner(server_url: str) -> Iterator[tuple[str, Connection[TupleRow]]]:
    """A database whose owner is a login without further rights, as a release before used it: its URL, and an
    administrator's connection to it.
    """
    with new_database(server_url) as url, psycopg.connect(url, autocommit=True) as administrator:
        name = f"owner_of_{administrator.info.dbname}"
        administrator.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())
        administrator.execute(f"ALTER DATABASE {administrator.info.dbname} OWNER TO {name}".encode())
        yield url_of_login(url, name, PASSWORD), administrator
        administrator.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER".encode())
        administrator.execute(f"DROP OWNED BY {name}".encode())
        administrator.execute(f"DROP ROLE {name}".encode())


def owners(connection: Connection[TupleRow]) -> set[str]:
    return {owner for (owner,) in connection.execute(OWNERS)}


def make_roles(administrator: Connection[TupleRow]) -> Roles:
    """Return names that no other test's database has; the roles are not there yet."""
    suffix = administrator.info.dbname.removeprefix("test_")
    return Roles(f"owner_{suffix}", f"migrator_{suffix}", f"app_{suffix}")


@pytest.fixture
def own_roles(plain_owner: tuple[str, Connection[TupleRow]]) -> Iterator[Roles]:
    """Role names for the database of `plain_owner`."""
    _, administrator = plain_owner
    roles = make_roles(administrator)
    yield roles
    for role in (roles.app, roles.migrator, roles.owner):
        if administrator.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).rowcount:
            administrator.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER".encode())
            administrator.execute(f"DROP OWNED BY {role}".encode())
            administrator.execute(f"DROP ROLE {role}".encode())


def execute(administrator: Connection[TupleRow], printed: str) -> None:
    """Type the SQL that a message contains, with a password where it leaves one out."""
    for line in printed.splitlines():
        if line.endswith(";"):
            administrator.execute(line.replace("'...'", f"'{PASSWORD}'").encode())


def test_a_database_of_one_plain_login_is_migrated_by_it_and_stays_its_own(
    plain_owner: tuple[str, Connection[TupleRow]], own_roles: Roles
) -> None:
    url, administrator = plain_owner
    assert migrate(url, own_roles)
    assert migrate(url, own_roles) == []
    login = psycopg.conninfo.conninfo_to_dict(url)["user"]
    assert owners(administrator) == {login}
    found = why_too_strong(url, own_roles)
    assert found.startswith(f"The login {login} owns the log, or may become its owner, owns the database")


def test_the_printed_sql_gives_such_a_database_its_three_roles(
    plain_owner: tuple[str, Connection[TupleRow]], own_roles: Roles, tmp_path: Path
) -> None:
    url, administrator = plain_owner
    migrate(url, own_roles)
    names = {
        "DAFTARI_OWNER_ROLE": own_roles.owner,
        "DAFTARI_MIGRATOR_ROLE": own_roles.migrator,
        "DAFTARI_APP_ROLE": own_roles.app,
        "DAFTARI_DATA_DIR": str(tmp_path),
    }
    before = finding_about_roles(**PRODUCTION, **names, DATABASE_URL=url)
    assert before.level is Level.PROBLEM
    execute(administrator, before.message)
    app, migrator = (url_of_login(url, role, PASSWORD) for role in (own_roles.app, own_roles.migrator))
    migrated = daftari("migrate", **names, DATABASE_URL=app, DAFTARI_MIGRATION_URL=migrator)
    assert (migrated.returncode, migrated.stdout) == (0, "The database is up to date.\n"), migrated.stderr
    assert owners(administrator) == {own_roles.owner}
    after = finding_about_roles(**PRODUCTION, **names, DATABASE_URL=app)
    assert after.level is Level.OK, after.message
    with psycopg.connect(app) as connection:
        assert connection.execute("SELECT count(*) FROM payment_events").fetchone() == (0,)


def test_a_migrator_that_may_not_take_the_tables_says_what_to_type(
    plain_owner: tuple[str, Connection[TupleRow]], own_roles: Roles
) -> None:
    url, administrator = plain_owner
    migrate(url, own_roles)
    for statement in (
        f"CREATE ROLE {own_roles.owner}",
        f"CREATE ROLE {own_roles.migrator} LOGIN PASSWORD '{PASSWORD}' IN ROLE {own_roles.owner}",
        f"GRANT USAGE, CREATE ON SCHEMA public TO {own_roles.owner}",
    ):
        administrator.execute(statement.encode())
    migrator = url_of_login(url, own_roles.migrator, PASSWORD)
    with pytest.raises(MigrationError, match=r"ALTER TABLE public\.payment_events OWNER TO") as refusal:
        migrate(migrator, own_roles)
    execute(administrator, refusal.value.message)
    assert migrate(migrator, own_roles) == []
    assert owners(administrator) == {own_roles.owner}


def test_an_owner_of_tables_alone_lacks_the_right_to_make_the_schema_for_analysts(
    plain_owner: tuple[str, Connection[TupleRow]], own_roles: Roles
) -> None:
    url, administrator = plain_owner
    database = administrator.info.dbname
    for statement in (
        f"CREATE ROLE {own_roles.owner}",
        f"CREATE ROLE {own_roles.migrator} LOGIN PASSWORD '{PASSWORD}' IN ROLE {own_roles.owner}",
        f"CREATE ROLE {own_roles.app} LOGIN PASSWORD '{PASSWORD}'",
        f"GRANT USAGE, CREATE ON SCHEMA public TO {own_roles.owner}",
    ):
        administrator.execute(statement.encode())
    lacking = setup_statements(administrator, own_roles, all_names())
    assert lacking == [f'GRANT CREATE ON DATABASE "{database}" TO "{own_roles.owner}";']
    execute(administrator, "\n".join(lacking))
    assert migrate(url_of_login(url, own_roles.migrator, PASSWORD), own_roles)
    assert owners(administrator) == {own_roles.owner}
    assert setup_statements(administrator, own_roles, all_names()) == []


def test_a_login_that_may_become_the_owner_hands_its_tables_over(
    plain_owner: tuple[str, Connection[TupleRow]], own_roles: Roles
) -> None:
    url, administrator = plain_owner
    migrate(url, own_roles)
    login = psycopg.conninfo.conninfo_to_dict(url)["user"]
    administrator.execute(f"CREATE ROLE {own_roles.owner}".encode())
    administrator.execute(f"GRANT {own_roles.owner} TO {login}".encode())
    assert migrate(url, own_roles) == []
    assert owners(administrator) == {own_roles.owner}


def test_the_application_is_not_too_strong_and_others_are(database_url: str, login_url: str) -> None:
    assert why_too_strong(login_url, DEFAULT_ROLES) == ""
    assert "is a superuser" in why_too_strong(database_url, DEFAULT_ROLES)


def test_a_right_to_write_the_log_is_too_strong(superuser: Connection[TupleRow], login_url: str) -> None:
    superuser.execute("GRANT DELETE ON payment_events TO daftari_app")
    assert why_too_strong(login_url, DEFAULT_ROLES) == "The login daftari_app may write the log itself."


@pytest.mark.parametrize("command", ["serve", "work"])
def test_in_production_no_process_starts_as_the_owner(
    database_url: str, data_folder: Path, free_port: int, command: str
) -> None:
    environ = PRODUCTION | {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder)}
    result = daftari(command, **environ, DAFTARI_PORT=str(free_port))
    assert result.returncode == 3
    assert "DATABASE_URL is too strong" in result.stderr
    assert "log in as daftari_app" in result.stderr


def test_in_development_one_url_is_enough_and_check_says_what_it_lacks(
    database_url: str, data_folder: Path
) -> None:
    found = finding_about_roles(DATABASE_URL=database_url, DAFTARI_DATA_DIR=str(data_folder))
    assert found.level is Level.WARNING
    assert "is a superuser" in found.message


def finding_about_roles(**environ: str) -> Finding:
    [found] = [finding for finding in run_preflight_checks(environ) if finding.part == "database roles"]
    return found


def test_the_embedded_database_is_used_by_a_login_with_rights_alone(data_folder: Path) -> None:
    with EmbeddedPostgres(data_folder) as server:
        migrate(server.database_url)  # As a release before did, as the superuser.
        logins = prepare_logins(server.database_url, data_folder, DEFAULT_ROLES)
        assert migrate(logins.migration_url) == []
        assert why_too_strong(logins.database_url, DEFAULT_ROLES) == ""
        assert prepare_logins(server.database_url, data_folder, DEFAULT_ROLES) == logins
        without = url_of_login(logins.database_url, "daftari_migrator")
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(without)
        with psycopg.connect(logins.database_url) as connection:
            assert owners(connection) == {"daftari_owner"}
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SET ROLE daftari_owner")


@pytest.mark.parametrize(
    ("host", "address", "sslmode", "is_private"),
    [
        ("/var/run/postgresql", "", "prefer", True),
        ("localhost", "127.0.0.1", "prefer", True),
        ("localhost", "::1", "disable", True),
        ("db.example.co.ke", "10.0.0.5", "verify-full", True),
        ("db.example.co.ke", "10.0.0.5", "verify-ca", False),
        ("db.example.co.ke", "10.0.0.5", "require", False),
        ("db.example.co.ke", "10.0.0.5", "prefer", False),
    ],
)
def test_the_way_to_the_database_is_private(host: str, address: str, sslmode: str, is_private: bool) -> None:
    assert is_private_way(host, address, sslmode) is is_private
