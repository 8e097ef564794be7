"""`python -m tests.bench.slow_daraja`: latency of other requests while hundreds of payments wait for a slow M-Pesa."""

import json
import socket
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from selectors import EVENT_READ, DefaultSelector
from threading import Event, Thread
from time import perf_counter

import click

from tests.bench.bench_stack import BenchStack, running_daftari
from tests.bench.connection import Connection
from tests.bench.lifecycles import SESSIONS, Buyer, delivery_of
from tests.bench.report import spread
from tests.support.ports import LOCALHOST

ASKING = 8
ASK_EVERY_SECONDS = 0.08

Owned = tuple[Buyer, str]


@click.command()
@click.option(
    "--waiting", type=click.IntRange(1), default=200, show_default=True, help="Initiations within the limit."
)
@click.option(
    "--beyond", type=click.IntRange(0), default=150, show_default=True, help="Initiations beyond the limit."
)
@click.option("--stall", type=float, default=5.0, show_default=True, help="Seconds until M-Pesa answers.")
def bench(waiting: int, beyond: int, stall: float) -> None:
    """Send initiations to a slow M-Pesa, then more than may wait; measure status and list meanwhile."""
    with running_daftari() as daftari:
        owned = _sessions(daftari, waiting + beyond + ASKING)
        click.echo("| while | status p50 | p99 | list p50 | p99 |\n| --- | --- | --- | --- | --- |")
        with ExitStack() as stack:
            watchers = [(stack.enter_context(Connection(daftari.port)), *one) for one in owned[:ASKING]]
            _show("no client waits", *_watch(watchers, stall))
            _slow_down(daftari, waiting + beyond, stall)
            within, beyond_limit = (InitiationBurst(daftari.port, stack) for _ in range(2))
            within.send(owned[ASKING : ASKING + waiting])
            _show(f"{waiting} initiations come", *_watch(watchers, stall * 0.4))
            _show(f"{waiting} initiations wait", *_watch(watchers, stall * 0.4))
            beyond_limit.send(owned[ASKING + waiting :])
            _show(f"{beyond} more come, and the first are answered", *_watch(watchers, stall))
            within.report("The first")
            beyond_limit.report("The others")


class InitiationBurst:
    """Many clients that initiate at once, each on a connection of its own, read by one thread."""

    def __init__(self, port: int, stack: ExitStack) -> None:
        self._port = port
        self._stack = stack
        self._asked: dict[socket.socket, float] = {}
        self._answers: list[tuple[int, float]] = []
        self._selector = DefaultSelector()
        self._reader = Thread(target=self._read, daemon=True)

    def send(self, owned: Sequence[Owned]) -> None:
        """Send one initiation for each session."""
        for buyer, session in owned:
            client = self._stack.enter_context(socket.create_connection((LOCALHOST, self._port), 30))
            self._selector.register(client, EVENT_READ)
            self._asked[client] = perf_counter()
            client.sendall(
                f"POST {session}initiate_payment/ HTTP/1.1\r\nHost: here\r\nAuthorization: {buyer.auth}\r\n"
                "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".encode()
            )
        self._reader.start()

    def report(self, who: str) -> None:
        """Print the statuses of the answers, and how long they took."""
        self._reader.join(timeout=60)
        counted = Counter(status for status, _ in self._answers)
        for status, count in sorted(counted.items()):
            taken = [seconds for answered, seconds in self._answers if answered == status]
            shown = ", ".join(f"{name} {milliseconds:.0f} ms" for name, milliseconds in spread(taken).items())
            click.echo(f"{who}: {count} times {status}, {shown}.")

    def _read(self) -> None:
        while self._asked:
            for key, _ in self._selector.select():
                client = key.fileobj
                assert isinstance(client, socket.socket)
                self._selector.unregister(client)
                status = int(client.recv(64).split()[1])
                self._answers.append((status, perf_counter() - self._asked.pop(client)))


def _sessions(daftari: BenchStack, count: int) -> list[Owned]:
    owned = []
    with Connection(daftari.port) as connection:
        for buyer in daftari.make_buyers(count):
            wanted = json.dumps({"delivery_details": delivery_of(buyer)}).encode()
            status, body = connection.request("POST", SESSIONS, buyer.auth, wanted)
            assert status == 201, body
            owned.append((buyer, f"{SESSIONS}{json.loads(body)['session_id']}/"))
    return owned


def _slow_down(daftari: BenchStack, pushes: int, stall: float) -> None:
    url = f"http://127.0.0.1:{daftari.environ['DAFTARI_SIMULATOR_PORT']}/simulator/api/faults"
    body = json.dumps({"push": [f"stall:{stall}"] * pushes}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass


def _watch(
    watchers: Sequence[tuple[Connection, Buyer, str]], seconds: float
) -> tuple[list[float], list[float]]:
    """Request status and list in turns, two hundred a second in all; return the seconds of each."""
    times: tuple[list[float], list[float]] = ([], [])
    stop = Event()

    def ask(connection: Connection, buyer: Buyer, session: str) -> None:
        while not stop.wait(ASK_EVERY_SECONDS):
            for path, taken in ((f"{session}status/", times[0]), (SESSIONS, times[1])):
                asked = perf_counter()
                status, _ = connection.request("GET", path, buyer.auth)
                assert status == 200
                taken.append(perf_counter() - asked)

    threads = [Thread(target=ask, args=one) for one in watchers]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return times


def _show(what: str, *times: list[float]) -> None:
    cells = [f"{shown:.1f}" for taken in times for shown in spread(taken).values()]
    click.echo(f"| {what} | {' | '.join(cells)} |")


if __name__ == "__main__":
    bench()
