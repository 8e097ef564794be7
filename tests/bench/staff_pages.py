"""`python -m tests.bench.staff_pages FOLDER`: how long auditors and operators wait for a page of a running instance.

FOLDER is the data folder of a `daftari up` that was filled by `daftari generate`. One client asks over HTTP, for other
payments each time.
"""

import os
import subprocess
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter

import click

from api.local.instances import running_instance
from tests.bench.bench_stack import DAFTARI
from tests.support.ports import LOCALHOST

SOME_PAYMENTS = """
SELECT session_id, user_id, order_number, receipt, (created_at AT TIME ZONE 'Africa/Nairobi')::date,
       round(total_cents / 100.0, 2)
FROM payment_sessions TABLESAMPLE SYSTEM (1) REPEATABLE (7)
WHERE order_number IS NOT NULL AND receipt IS NOT NULL LIMIT %d
"""
SEARCH = "/api/audit/payments/"
OF_A_PAYMENT = {
    "search by order number": f"{SEARCH}?order_number={{2}}",
    "search by receipt": f"{SEARCH}?receipt={{3}}",
    "search by user": f"{SEARCH}?user={{1}}",
    "search by day": f"{SEARCH}?day={{4}}",
    "search by amount": f"{SEARCH}?amount={{5}}",
    "search by day and amount": f"{SEARCH}?day={{4}}&amount={{5}}",
    "search by day, 100 payments": f"{SEARCH}?day={{4}}&page_size=100",
    "one payment": f"{SEARCH}{{0}}/",
}
CONSOLE = {
    "dashboard, day": "/console/?period=day",
    "dashboard, month": "/console/?period=month",
    "list of payments": "/console/payments/",
    "work list": "/console/work/",
}
TIMEOUT_SECONDS = 60


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--requests", type=click.IntRange(10), default=200, show_default=True, help="Of each kind.")
def staff_pages(folder: Path, requests: int) -> None:
    """Print the median and the 99th percentile of each kind of page, in milliseconds."""
    port = int(running_instance(folder)["DAFTARI_PORT"])
    payments = [line.split("|") for line in _run(folder, "psql", "--", "-Atc", SOME_PAYMENTS % requests)]
    [auditor] = _run(folder, "token", "--user", "9", "--role", "auditor")
    [operator] = _run(folder, "token", "--user", "9", "--role", "operator")
    bearer, cookie = {"Authorization": f"Bearer {auditor}"}, {"Cookie": f"daftari_operator={operator}"}
    for name, path in OF_A_PAYMENT.items():
        _print(name, _times(port, [path.format(*payment) for payment in payments], bearer))
    for name, path in CONSOLE.items():
        _print(name, _times(port, [path] * requests, cookie))


def _run(folder: Path, *arguments: str) -> list[str]:
    environ = os.environ | {"DAFTARI_DATA_DIR": str(folder)}
    done = subprocess.run([*DAFTARI, *arguments], env=environ, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def _times(port: int, paths: Sequence[str], headers: dict[str, str]) -> list[float]:
    """Return the milliseconds of each request, in rising order."""
    times = []
    connection = HTTPConnection(LOCALHOST, port, timeout=TIMEOUT_SECONDS)
    for path in paths:
        started = perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        times.append(1_000 * (perf_counter() - started))
        assert answer.status == 200, content
    connection.close()
    return sorted(times)


def _print(name: str, times: Sequence[float]) -> None:
    middle, last = times[len(times) // 2], times[len(times) * 99 // 100]
    click.echo(f"{name:28} median {middle:6.1f} ms   p99 {last:6.1f} ms")


if __name__ == "__main__":
    staff_pages()
