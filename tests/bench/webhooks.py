"""`python -m tests.bench.webhooks`: lifecycles without a webhook endpoint and with one, in turns on one Daftari.

The receiver takes every message at once, in a process of this machine, which shares its processors with Daftari.
"""

import asyncio
import re
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
LENGTH = re.compile(rb"Content-Length: ([0-9]+)\r\n")


class Taking(asyncio.Protocol):
    """A connection of the receiver, which answers as soon as a message is there as a whole."""

    def __init__(self, count: "Synchronized[int]") -> None:
        self._count = count
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Know where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count and answer a message."""
        self._received += data
        length = LENGTH.search(self._received)
        end = self._received.find(b"\r\n\r\n") + 4
        if length and end + int(length[1]) == len(self._received) and self._transport:
            self._received.clear()
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            self._count.value += 1  # Nobody else writes it.


def receive(port_to: Connection, count: "Synchronized[int]") -> None:
    """Take messages for ever; send the port that they come to first."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Taking(count), "127.0.0.1", 0, backlog=256)
        port_to.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


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
    ratios, costs = [], []
    with running_daftari_alone() as (daftari, stack):
        for pair in range(pairs):
            without = measure_lifecycles(daftari, clients, lifecycles)
            endpoint, before = _daftari(stack, "add", url).split()[0], count.value
            with_one = measure_lifecycles(daftari, clients, lifecycles)
            if problems := without["problems"] + with_one["problems"]:
                raise click.ClickException("\n".join(problems))
            expected = before + len(MESSAGES) * lifecycles
            left = expected - count.value
            wait_until(
                partial(_has_taken, count, expected),
                "all is delivered",
                within_seconds=DELIVERED_WITHIN_SECONDS,
            )
            _daftari(stack, "delete", endpoint)
            ratios.append(with_one["lifecycles_per_second"] / without["lifecycles_per_second"])
            own = [turn["processor_milliseconds_per_lifecycle"]["own"] for turn in (without, with_one)]
            costs.append((own[1] - own[0]) / len(MESSAGES))
            click.echo(
                f"pair {pair + 1}: {ratios[-1]:.3f}; {costs[-1]:.2f} ms of a processor a message, of {own[0]:.2f} "
                f"for a payment; {left} messages were left at the end of the turn"
            )
    click.echo(f"With an endpoint, of the lifecycles a second without: {median(ratios):.3f}")
    click.echo(f"Daftari's processor time for a message: {median(costs):.2f} ms")


def _has_taken(count: "Synchronized[int]", wanted: int) -> bool:
    return count.value >= wanted


def _daftari(stack: BenchStack, *arguments: str) -> str:
    command = [*DAFTARI, "webhooks", *arguments]
    done = subprocess.run(command, env=stack.environ, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


if __name__ == "__main__":
    bench()
