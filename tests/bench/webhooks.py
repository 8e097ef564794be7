"""`python -m tests.bench.webhooks`: lifecycles without a webhook endpoint and with one, in turns on one Daftari.

The receiver takes every message at once, in a process of this machine, which shares its processors with Daftari.
"""

import socket
import subprocess
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from statistics import median

import click

from tests.bench.bench_stack import DAFTARI, BenchStack
from tests.bench.closed_load import measure_lifecycles
from tests.bench.subjects import running_daftari_alone
from tests.support.waiting import wait_until

MESSAGES = ("payment.paid", "order.created")
DELIVERED_WITHIN_SECONDS = 120


def receive(port_to: Connection, count: "Synchronized[int]") -> None:
    """Take messages for ever; send the port that they come to first."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        port_to.send(listening.getsockname()[1])
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            with count.get_lock():
                count.value += 1


@click.command()
@click.option("--clients", type=click.IntRange(1), default=32, show_default=True, help="Concurrent clients.")
@click.option(
    "--pairs", type=click.IntRange(1), default=5, show_default=True, help="How many turns each gets."
)
@click.option("--lifecycles", type=click.IntRange(8), default=600, show_default=True, help="Of a turn.")
def bench(clients: int, pairs: int, lifecycles: int) -> None:
    """Print what an endpoint costs: the lifecycles a second with one, of those without, and when all was delivered."""
    context = get_context("spawn")
    here, there = context.Pipe()
    count = context.Value("L", 0)
    receiver = context.Process(target=receive, args=(there, count), daemon=True)
    receiver.start()
    url = f"http://127.0.0.1:{here.recv()}/"
    ratios = []
    with running_daftari_alone() as (daftari, stack):
        for pair in range(pairs):
            without = measure_lifecycles(daftari, clients, lifecycles)
            endpoint, before = _daftari(stack, "add", url).split()[0], count.value
            with_one = measure_lifecycles(daftari, clients, lifecycles)
            expected = before + len(MESSAGES) * lifecycles
            left = expected - count.value
            wait_until(
                partial(_has_taken, count, expected),
                "all is delivered",
                within_seconds=DELIVERED_WITHIN_SECONDS,
            )
            _daftari(stack, "delete", endpoint)
            ratios.append(with_one["lifecycles_per_second"] / without["lifecycles_per_second"])
            click.echo(f"pair {pair + 1}: {ratios[-1]:.3f}; {left} messages were left at the end of the turn")
    click.echo(f"With an endpoint, of the lifecycles a second without: {median(ratios):.3f}")


def _has_taken(count: "Synchronized[int]", wanted: int) -> bool:
    return count.value >= wanted


def _daftari(stack: BenchStack, *arguments: str) -> str:
    command = [*DAFTARI, "webhooks", *arguments]
    done = subprocess.run(command, env=stack.environ, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


if __name__ == "__main__":
    bench()
