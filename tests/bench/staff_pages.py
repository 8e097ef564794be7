"""`python -m tests.bench.staff_pages FOLDER`: how long auditors and operators wait for a page of a running instance.

FOLDER is the data folder of a `daftari up` that was filled by `daftari generate`. One client asks over HTTP, for other
payments each time. Beside the time on the clock stands the processor's, of the API and of PostgreSQL together: on a
machine that does other work that alone says something. What a worker does meanwhile counts too, so stop it
(`kill -STOP`) while this runs.
"""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter

import click
import psutil  # type: ignore[import-untyped]  # it comes without types

from api.local.instances import running_instance
from ledger import clock
from ledger.store.database import Database
from projections.dashboard import PERIODS, read
from tests.bench.bench_stack import DAFTARI
from tests.bench.processes import API, POSTGRES, ProcessorTimes
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
    "dashboard, hour": "/console/?period=hour",
    "dashboard, day": "/console/?period=day",
    "dashboard, week": "/console/?period=week",
    "dashboard, month": "/console/?period=month",
    "list of payments": "/console/payments/",
    "list of failed payments": "/console/payments/?status=failed",
    "work list": "/console/work/",
    "closed cases": "/console/work/closed/",
}
TIMEOUT_SECONDS = 60
READS = 20
"""How often the figures of a dashboard are read that no process has kept, as for the first page after a pause."""


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--requests", type=click.IntRange(10), default=200, show_default=True, help="Of each kind.")
def staff_pages(folder: Path, requests: int) -> None:
    """Print the median and the 99th percentile of each kind of page, in milliseconds of the clock and the processor."""
    processes = _processes(folder)
    port = int(running_instance(folder)["DAFTARI_PORT"])
    payments = [line.split("|") for line in _run(folder, "psql", "--", "-Atc", SOME_PAYMENTS % requests)]
    [auditor] = _run(folder, "token", "--user", "9", "--role", "auditor")
    [operator] = _run(folder, "token", "--user", "9", "--role", "operator")
    bearer, cookie = {"Authorization": f"Bearer {auditor}"}, {"Cookie": f"daftari_operator={operator}"}
    for name, path in OF_A_PAYMENT.items():
        _print(name, *_times(_pages(port, [path.format(*each) for each in payments], bearer), processes))
    for name, path in CONSOLE.items():
        _print(name, *_times(_pages(port, [path] * requests, cookie), processes))
    database = Database(running_instance(folder)["DATABASE_URL"])
    processes[0] = psutil.Process()
    for period in PERIODS.values():
        read(database, period, clock.now())
        reads = [partial(read, database, period, clock.now()) for _ in range(READS)]
        _print(f"figures of the {period.name}, unkept", *_times(reads, processes))
    database.close()


def _run(folder: Path, *arguments: str) -> list[str]:
    environ = os.environ | {"DAFTARI_DATA_DIR": str(folder)}
    done = subprocess.run([*DAFTARI, *arguments], env=environ, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def _processes(folder: Path) -> list[psutil.Process]:
    """Return the first process of the API and of PostgreSQL."""
    postmaster = psutil.Process(int((folder / "postgres" / "postmaster.pid").read_text("utf-8").split()[0]))
    daftari = ProcessorTimes.of_daftari(postmaster.ppid())
    return [daftari.root(API), daftari.root(POSTGRES)]


def _processor_ms(pids: Sequence[int]) -> dict[Path, float]:
    """Return what each thread of these processes has used of the processor, which the kernel counts in nanoseconds."""
    used = {}
    for thread in (thread for pid in pids for thread in Path(f"/proc/{pid}/task").glob("*/schedstat")):
        with suppress(FileNotFoundError, ProcessLookupError):  # It has just ended.
            used[thread] = int(thread.read_text("ascii").split()[0]) / 1e6
    return used


def _pages(port: int, paths: Sequence[str], headers: dict[str, str]) -> Iterator[Callable[[], None]]:
    connection = HTTPConnection(LOCALHOST, port, timeout=TIMEOUT_SECONDS)
    for path in paths:

        def ask(path: str = path) -> None:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content

        yield ask
    connection.close()


def _times(
    asks: Iterable[Callable[[], object]], processes: Sequence[psutil.Process]
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each request, by the clock and of the processor, each in rising order."""
    times, used = [], []
    pids = [child.pid for each in processes for child in (each, *each.children(recursive=True))]
    for ask in asks:
        before, started = _processor_ms(pids), perf_counter()
        ask()
        times.append(1_000 * (perf_counter() - started))
        used.append(sum(now - before.get(thread, 0) for thread, now in _processor_ms(pids).items()))
    return sorted(times), sorted(used)


def _print(name: str, times: Sequence[float], used: Sequence[float]) -> None:
    middle, last = len(times) // 2, len(times) * 99 // 100
    click.echo(
        f"{name:28} median {times[middle]:6.1f} ms   p99 {times[last]:6.1f} ms"
        f"   processor {used[middle]:6.1f}, {used[last]:6.1f} ms"
    )


if __name__ == "__main__":
    staff_pages()
