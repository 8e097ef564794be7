"""A program imports what it needs and no more: imports are most of the time that a short command takes, and most of the
memory that a process of the API has.
"""

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.cli.support import CHECKOUT, daftari, environment

WEB = {"eventsourcing.domain", "flask", "jwt", "marshmallow", "payments", "prometheus_client", "requests"}
DATABASE = {"cryptography", "msgspec", "psycopg", "structlog"}
OTHERS = {"api.cli.up", "api.cli.verify", "logging"}
SETTINGS = {"api.settings", "http.client", "ssl"}
IMPORTED = """
import sys
from api.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""
SERVED = """
import os
import sys
from api.cli.running import serve
from api.server.web_server import import_application
import_application()
from api.http.app import create_app
from api.pages import install_pages
from api.settings import load_settings
create_app(load_settings(os.environ, {}), lambda: None, install_pages)
print(*sys.modules)
"""
NOT_SERVED = {
    "api.cli.verify",
    "concurrent.futures.process",
    "daraja.simulator",
    "markdown_it",
    "pyarrow",
    "pydoc",
    "unittest",
    "xml",
}


def imported(data_folder: Path, *arguments: str) -> set[str]:
    """Return the names of the modules that a command has imported when it ends."""
    run = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
        env=environment(DAFTARI_DATA_DIR=str(data_folder)),
    )
    assert run.stdout or run.returncode, run.stderr
    return set(run.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "needless"),
    [
        (["--help"], WEB | DATABASE | SETTINGS),
        (["replay", "--help"], WEB | DATABASE | OTHERS | {"ssl"}),
        (["token", "--user", "7"], WEB | DATABASE | OTHERS | {"ssl"}),
    ],
    ids=["help", "help of a command", "token"],
)
def test_a_short_command_imports_neither_the_web_nor_the_database(
    tmp_path: Path, arguments: list[str], needless: set[str]
) -> None:
    assert not imported(tmp_path, *arguments) & needless


def test_a_misspelt_command_is_told_what_may_be_meant_though_none_was_imported() -> None:
    answer = daftari("verfy")
    assert answer.returncode == 2
    assert "No such command 'verfy'. Did you mean 'verify'?" in answer.stderr


def test_replay_imports_the_database_alone(tmp_path: Path) -> None:
    """Without a database it ends after its imports."""
    found = imported(tmp_path, "replay", "550e8400-e29b-41d4-a716-446655440000")
    assert "psycopg" in found
    assert not found & {
        "api.wiring",
        "daraja",
        "flask",
        "jwt",
        "marshmallow",
        "payments.services",
        "requests",
    }


def test_a_process_of_the_api_imports_nothing_that_only_others_need(tmp_path: Path) -> None:
    settings = {"DAFTARI_MODE": "development", "DAFTARI_JWT_SECRET": secrets.token_hex(32)}
    run = subprocess.run(
        [sys.executable, "-c", SERVED],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
        env=environment(DAFTARI_DATA_DIR=str(tmp_path), **settings),
    )
    found = set(run.stdout.split())
    assert {"api.http.resources.sessions", "api.pages.console"} <= found
    assert not found & NOT_SERVED
