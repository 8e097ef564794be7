"""`python -m tests.bench`: run whole payments against a local Daftari and measure how many it completes a second."""

import json
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from time import perf_counter

import click
import psutil  # type: ignore[import-untyped]  # it comes without types

from api.local.local_settings import local_settings
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.verification.verifier import violations
from tests.bench.bench_stack import BenchStack, running_daftari
from tests.bench.lifecycles import BUYERS_NAME, Buyer, serve
from tests.bench.processes import ProcessorTimes
from tests.bench.report import Level, table

WARM_UP_LIFECYCLES_A_CLIENT = 4


def _numbers(_context: click.Context, _parameter: click.Parameter, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise click.BadParameter("give whole numbers from 1 on, separated by commas, such as 1,8,32")
    return numbers


@click.command()
@click.option(
    "--clients",
    "levels",
    default="1,8,32",
    show_default=True,
    callback=_numbers,
    help="Numbers of concurrent clients.",
)
@click.option(
    "--lifecycles", type=click.IntRange(1), default=600, show_default=True, help="Lifecycles for each number."
)
@click.option(
    "--poll-seconds",
    type=click.FloatRange(min=0.001),
    default=0.02,
    show_default=True,
    help="Seconds between the first two status requests of a client; later pauses are longer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def bench(levels: list[int], lifecycles: int, poll_seconds: float, as_json: bool) -> None:
    """Measure whole lifecycles: create, initiate, M-Pesa's callback, and the status until the order is there.

    Everything runs on this machine: PostgreSQL with fsync on, the simulator, the API, the worker and the clients.
    Exit code 1 if a lifecycle did not end in an order, or on any violation of the invariants.
    """
    with running_daftari() as daftari:
        _say(f"{_machine()}. Making buyers and warming up.")
        warm_up = WARM_UP_LIFECYCLES_A_CLIENT * max(levels)
        buyers = iter(daftari.make_buyers(warm_up + lifecycles * len(levels)))
        serve(daftari.port, list(islice(buyers, warm_up)), max(levels), poll_seconds)
        measured = list(_measure(daftari, buyers, levels, lifecycles, poll_seconds))
        found = _violations_of(daftari)
    if as_json:
        click.echo(
            json.dumps({"levels": [level.figures() for level in measured], "violations": found}, indent=2)
        )
    else:
        click.echo("\n".join([table(measured), *found]))
    if found or any(level.failures for level in measured):
        sys.exit(1)


def _measure(
    daftari: BenchStack, buyers: Iterator[Buyer], levels: Sequence[int], lifecycles: int, poll_seconds: float
) -> Iterator[Level]:
    processors = ProcessorTimes(daftari.pid)
    for clients in levels:
        _say(f"{lifecycles} lifecycles with {clients} clients")
        chosen = list(islice(buyers, lifecycles))
        before, started = processors.seconds(), perf_counter()
        done = serve(daftari.port, chosen, clients, poll_seconds)
        seconds, after = perf_counter() - started, processors.seconds()
        yield Level(clients, done, seconds, {part: after[part] - before[part] for part in after})


def _violations_of(daftari: BenchStack) -> list[str]:
    """Return a sentence for each violated invariant."""
    settings = local_settings(daftari.environ)
    with closing(Database(settings.database_url, max_connections=2)) as database:
        vault = Vault(database, settings.daftari_master_key)
        return [str(found) for found in violations(database, vault, known_texts=[BUYERS_NAME])]


def _machine() -> str:
    return f"{psutil.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


if __name__ == "__main__":
    bench()
