"""A command imports what it needs and no more: imports are most of the time that a short command takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.cli.support import CHECKOUT, environment

WEB = {"eventsourcing.domain", "flask", "jwt", "marshmallow", "payments", "prometheus_client", "requests"}
DATABASE = {"cryptography", "msgspec", "psycopg", "structlog"}
SETTINGS = {"api.settings", "http.client", "ssl"}
IMPORTED = """
import sys
from api.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""


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
        (["replay", "--help"], WEB | DATABASE | {"ssl"}),
        (["token", "--user", "7"], WEB | DATABASE | {"ssl"}),
    ],
    ids=["help", "help of a command", "token"],
)
def test_a_short_command_imports_neither_the_web_nor_the_database(
    tmp_path: Path, arguments: list[str], needless: set[str]
) -> None:
    assert not imported(tmp_path, *arguments) & needless


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
