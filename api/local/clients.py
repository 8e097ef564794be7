"""PostgreSQL's own client programs, of a version that suits the server, and dumps that they restore."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from api.local.binaries import client_folders
from api.local.databases import migrate_database, open_database, require_url, server_major
from api.local.problems import DatabaseProblem
from api.settings import Settings
from ledger.store.database import which_server
from ledger.store.role_names import Roles
from ledger.store.roles import become_owner
from ledger.store.vault import Vault

_ANSWER_WITHIN_SECONDS = 20
_DUMP_OF_PG_DUMP = b"PGDMP"
_IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace)"


def find_client(name: str, major: int, named: Path | None) -> str:
    """Return the path of `psql`, `pg_dump` or `pg_restore` for a server of version `major`; raise DatabaseProblem.

    An older program refuses a newer server. `named` is the folder of DAFTARI_POSTGRES_BIN.
    """
    places = [folder / name for folder in client_folders(named)]
    on_path = shutil.which(name)
    found = [str(place) for place in places if place.is_file()] + ([on_path] if on_path else [])
    for program in found:
        if _major_of(program) >= major:
            return program
    raise DatabaseProblem(
        f"The server is PostgreSQL {major}, and there is no {name} of version {major} or newer: install the client of "
        f"PostgreSQL {major}, and set DAFTARI_POSTGRES_BIN to its bin folder."
    )


def client_environment(url: str, role: str = "") -> dict[str, str]:
    """Return this environment with the way to a database in libpq's variables, where no list of processes shows it."""
    names = {option.keyword.decode(): option.envvar for option in Conninfo.get_defaults()}
    environ = {name: text for name, text in os.environ.items() if not name.startswith("DAFTARI_")}
    environ.pop("DATABASE_URL", None)
    for keyword, value in (conninfo_to_dict(url) | which_server(url)).items():
        variable = names.get(keyword)
        if variable:
            environ[variable.decode()] = str(value)
    if role:
        environ["PGOPTIONS"] = f"{environ.get('PGOPTIONS', '')} -c role={role}".strip()
    return environ


def run_client(settings: Settings, name: str, url: str, arguments: Sequence[str], *, role: str = "") -> int:
    """Run a client program on a database with this terminal; return its exit code. Raises DatabaseProblem."""
    program = find_client(name, server_major(require_url(url)), settings.daftari_postgres_bin)
    return subprocess.run([program, *arguments], env=client_environment(url, role), check=False).returncode


def restore_dump(settings: Settings, dump: Path) -> list[str]:
    """Restore a dump into an empty database, as its owner, and migrate it; return the migrations applied.

    Migrating lets new events sort above those of the dump. Raises DatabaseProblem, and WrongKey if the dump is of
    another master key.
    """
    url = require_url(settings.migration_url)
    server_major(url)
    role = _owner_of_empty(url, settings.roles)
    if _is_archive(dump):
        options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "--dbname="]
        code = run_client(settings, "pg_restore", url, [*options, str(dump)], role=role)
    else:
        options = [
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--single-transaction",
            "--output=/dev/null",
        ]
        code = run_client(settings, "psql", url, [*options, f"--file={dump}"], role=role)
    if code:
        raise DatabaseProblem(f"{dump} could not be restored, as said above; the database is still empty.")
    applied = migrate_database(url, settings.roles)
    with open_database(url, max_connections=2, role="") as database:
        Vault(database, settings.daftari_master_key).check_master_key()
    return applied


def _owner_of_empty(url: str, roles: Roles) -> str:
    """Return the role to restore as, "" for the login itself; raise DatabaseProblem if there are tables."""
    with psycopg.connect(url, autocommit=True, **which_server(url)) as connection:
        if connection.execute(_IS_EMPTY).fetchone() != (True,):
            raise DatabaseProblem(
                "The database has tables already, and a dump is restored into an empty one only: create a new "
                "database, and name it in DAFTARI_MIGRATION_URL and DATABASE_URL."
            )
        become_owner(connection, roles, ())
        return roles.owner if connection.execute("SELECT current_user").fetchone() == (roles.owner,) else ""


def _is_archive(dump: Path) -> bool:
    try:
        with dump.open("rb") as file:
            return file.read(len(_DUMP_OF_PG_DUMP)) == _DUMP_OF_PG_DUMP
    except OSError as error:
        raise DatabaseProblem(f"{dump} cannot be read ({error.strerror}).") from error


def _major_of(program: str) -> int:
    answer = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=_ANSWER_WITHIN_SECONDS, check=False
    )
    version = re.search(r"PostgreSQL\)? (\d+)", answer.stdout)
    return int(version.group(1)) if version else 0
