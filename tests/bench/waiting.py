"""`python -m tests.bench.waiting`: what waiting clients cost all others, and how soon they see a change."""

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from time import perf_counter

import click

from tests.bench.bench_stack import BenchStack, running_daftari
from tests.bench.connection import Connection
from tests.bench.lifecycles import SESSIONS, Buyer, delivery_of
from tests.bench.processes import API, POSTGRES, ProcessorTimes
from tests.bench.report import spread
from tests.support.ports import LOCALHOST

ASKING = 4
WAIT_SECONDS = 30
ANSWERED_WITHIN_SECONDS = 40

Waiting = list[tuple[Buyer, str, socket.socket]]


@click.command()
@click.option("--waiters", type=click.IntRange(2), default=500, show_default=True, help="Waiting clients.")
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=8.0, show_default=True, help="Seconds for each row."
)
@click.option(
    "--notified", type=click.IntRange(1), default=100, show_default=True, help="Clients that see a change."
)
def bench(waiters: int, seconds: float, notified: int) -> None:
    """Measure status and list of a few clients while none, then many, wait: by long poll, then by stream.

    Then let sessions change one by one, and take the time from the answer to the writer, which comes after the
    commit, to the change that the waiting client sees.
    """
    with running_daftari() as daftari:
        owned = [(buyer, _create(daftari.port, buyer)) for buyer in daftari.make_buyers(waiters)]
        processors = ProcessorTimes.of_daftari(daftari.pid)
        columns = ("milliseconds", "status p50", "p99", "list p50", "p99", "API cores", "PostgreSQL cores")
        click.echo(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")

        def show(name: str, enough: Callable[[float], bool]) -> None:
            click.echo(f"| {name} | " + " | ".join(_measure(daftari.port, owned, processors, enough)) + " |")

        show("no client", lambda taken: taken > seconds)
        with _waiting(daftari, owned, f"status/?wait={WAIT_SECONDS}") as polls:
            show(f"{waiters} long polls", lambda taken: taken > seconds)
            _notify(daftari.port, polls[:notified], "long poll")
            show("their answers, all at the same time", lambda _: _is_answered(polls[-1][2]))
        with _waiting(daftari, owned, "stream/") as streams:
            show(f"{waiters} streams", lambda taken: taken > seconds)
            _notify(daftari.port, streams[:notified], "stream")


def _create(port: int, buyer: Buyer) -> str:
    wanted = json.dumps({"delivery_details": delivery_of(buyer)}).encode()
    with Connection(port) as connection:
        status, body = connection.request("POST", SESSIONS, buyer.auth, wanted)
    assert status == 201, body
    return f"{SESSIONS}{json.loads(body)['session_id']}/"


@contextmanager
def _waiting(daftari: BenchStack, owned: Sequence[tuple[Buyer, str]], what: str) -> Iterator[Waiting]:
    """Let each buyer wait for a session, on a connection of its own."""
    with ExitStack() as stack:
        waiting = []
        for buyer, session in owned:
            client = stack.enter_context(socket.create_connection((LOCALHOST, daftari.port), 30))
            client.sendall(
                f"GET {session}{what} HTTP/1.1\r\nHost: here\r\nAuthorization: {buyer.auth}\r\n\r\n".encode()
            )
            waiting.append((buyer, session, client))
        if what == "stream/":
            for _, _, client in waiting:
                _read_until(client, b"}\n\n")
        yield waiting


def _measure(
    port: int,
    owned: Sequence[tuple[Buyer, str]],
    processors: ProcessorTimes,
    enough: Callable[[float], bool],
) -> list[str]:
    """Let a few clients request statuses and lists until `enough(seconds)`; return the cells of a row."""
    times: dict[str, list[float]] = {"status/": [], "": []}
    stopping, before, started = Event(), processors.seconds(), perf_counter()

    def ask(number: int) -> None:
        with Connection(port) as connection:
            while not stopping.wait(0.02):
                buyer, session = owned[number]
                for what, path in (("status/", f"{session}status/"), ("", SESSIONS)):
                    asked = perf_counter()
                    status, _ = connection.request("GET", path, buyer.auth)
                    assert status == 200
                    times[what].append(perf_counter() - asked)

    threads = [Thread(target=ask, args=(number,)) for number in range(ASKING)]
    for thread in threads:
        thread.start()
    while not enough(perf_counter() - started) and perf_counter() - started < ANSWERED_WITHIN_SECONDS:
        stopping.wait(0.02)
    stopping.set()
    for thread in threads:
        thread.join()
    after, seconds = processors.seconds(), perf_counter() - started
    cores = [f"{(after[part] - before[part]) / seconds:.2f}" for part in (API, POSTGRES)]
    return [f"{shown:.1f}" for taken in times.values() for shown in spread(taken).values()] + cores


def _notify(port: int, waiting: Waiting, how: str) -> None:
    """Change sessions one by one; print how long it took until the waiting client saw it."""
    taken: list[float] = []
    with Connection(port) as connection:
        for buyer, session, client in waiting:
            status, _ = connection.request("POST", f"{session}extend_session/", buyer.auth, b"{}")
            changed = perf_counter()
            assert status == 200
            _read_until(client, b'"version":')
            taken.append(perf_counter() - changed)
    shown = ", ".join(f"{name} {milliseconds:.0f} ms" for name, milliseconds in spread(taken).items())
    click.echo(f"Notified by {how}: {shown}.", err=True)


def _is_answered(client: socket.socket) -> bool:
    client.settimeout(0)
    try:
        return bool(client.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        client.settimeout(30)


def _read_until(client: socket.socket, end: bytes) -> None:
    read = b""
    while end not in read:
        part = client.recv(65536)
        assert part, "The server has closed the connection."
        read += part


if __name__ == "__main__":
    bench()
