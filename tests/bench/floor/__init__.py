"""The floor: pgbench sends the statements of the plain rows, with no Python and no HTTP about them."""

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psutil  # type: ignore[import-untyped]  # it comes without types
import psycopg

from api.local.postgres import OWNER
from tests.bench.plain_stack import DATABASE
from tests.bench.processes import POSTGRES
from tests.bench.subjects import Subjects

CLIENTS = 8
SCRIPTS = ("lifecycle", "poll")

A_SESSION = "SELECT session_id::text, user_id::text FROM payment_sessions WHERE order_id IS NOT NULL LIMIT 1"
_RATE = re.compile(r"tps = ([0-9.]+) \(without initial connection time\)")


def measure_floor(subjects: Subjects, seconds: int) -> list[dict[str, Any]]:
    """Return rate and PostgreSQL's processor time of each script."""
    return [{"statements": name, **_run(subjects, name, seconds)} for name in SCRIPTS]


def _run(subjects: Subjects, name: str, seconds: int) -> dict[str, Any]:
    processors = subjects.plain.processors
    before = processors.seconds()[POSTGRES]
    answer = subprocess.run(
        [*_pgbench(subjects), "-T", str(seconds), "-f", str(Path(__file__).parent / f"{name}.sql")],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    assert answer.returncode == 0, answer.stderr
    used = processors.seconds()[POSTGRES] - before
    found = _RATE.search(answer.stdout)
    assert found is not None, answer.stdout + answer.stderr
    rate = float(found[1])
    failed = [line for line in answer.stdout.splitlines() if "failed" in line and " 0 (0.000%)" not in line]
    return {
        "clients": CLIENTS,
        "per_second": round(rate, 1),
        "processor_milliseconds": round(1_000 * used / (rate * seconds), 3),
        "problems": failed + subjects.plain.check(),
    }


def _pgbench(subjects: Subjects) -> list[str]:
    postgres: psutil.Process = subjects.plain.processors.root(POSTGRES)
    url = subjects.plain_stack.superuser_url
    with psycopg.connect(url) as connection:
        [(session_id, user)] = connection.execute(A_SESSION).fetchall()
    [socket_folder] = parse_qs(urlsplit(url).query)["host"]
    return [
        str(Path(postgres.exe()).with_name("pgbench")),
        *("-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2"),
        *("-h", unquote(socket_folder), "-U", OWNER, "-d", DATABASE),
        *("-D", f"session_id={session_id}", "-D", f"user={user}"),
    ]
