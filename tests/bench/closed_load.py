"""Closed load: a number of clients, each of which sends its next request when it has the answer to the last."""

from collections import Counter
from collections.abc import Callable, Sequence
from threading import Event, Thread
from time import perf_counter
from typing import Any

from tests.bench.connection import BadAnswer, Connection
from tests.bench.lifecycles import Buyer, Purchase, serve
from tests.bench.processes import OWN_PARTS
from tests.bench.report import Level, spread
from tests.bench.subjects import POLL_SECONDS, Subject

Polled = tuple[Buyer, str]
"""A buyer, and the path of a session of theirs that has an order."""


def measure_lifecycles(
    subject: Subject, clients: int, count: int, poll_seconds: float = POLL_SECONDS
) -> dict[str, Any]:
    """Take `count` buyers from cart to order; return the figures, and `problems` if there were any."""
    buyers = subject.take(count)
    before, started = subject.processors.seconds(), perf_counter()
    done = serve(subject.port, buyers, clients, poll_seconds, with_keys=subject.with_keys)
    seconds, after = perf_counter() - started, subject.processors.seconds()
    level = Level(clients, done, seconds, {part: after[part] - before[part] for part in after})
    failures = [f"{times} times {why}" for why, times in level.failures.items()]
    return level.figures() | {"problems": failures + subject.check()}


def buy(subject: Subject, count: int) -> list[Polled]:
    """Return sessions that have an order."""
    with Connection(subject.port) as connection:
        bought = []
        for buyer in subject.take(count):
            purchase = Purchase(connection, buyer, POLL_SECONDS)
            failure = purchase.run().failure
            assert failure is None, failure
            bought.append((buyer, purchase.session))
    return bought


def measure_polls(
    subject: Subject, polled: Sequence[Polled], clients: int, seconds: float, path_of: Callable[[str], str]
) -> dict[str, Any]:
    """Read for some seconds what `path_of` makes of each session's path; return rate, times and processor time."""
    times: list[float] = []
    statuses: Counter[int | str] = Counter()
    stopping = Event()

    def work(number: int) -> None:
        buyer, session = polled[number % len(polled)]
        path = path_of(session)
        with Connection(subject.port) as connection:
            while not stopping.is_set():
                asked = perf_counter()
                try:
                    status, _ = connection.request("GET", path, buyer.auth)
                except (OSError, BadAnswer) as error:
                    statuses[type(error).__name__] += 1
                    continue
                times.append(perf_counter() - asked)
                statuses[status] += 1

    threads = [Thread(target=work, args=(number,), daemon=True) for number in range(clients)]
    before, started = subject.processors.seconds(), perf_counter()
    for thread in threads:
        thread.start()
    stopping.wait(seconds)
    stopping.set()
    for thread in threads:
        thread.join()
    elapsed, after = perf_counter() - started, subject.processors.seconds()
    used = sum(after[part] - before[part] for part in OWN_PARTS)
    return {
        "clients": clients,
        "per_second": round(len(times) / elapsed, 1),
        "milliseconds": spread(times),
        "processor_milliseconds": round(1_000 * used / max(1, len(times)), 3),
        "problems": [f"{count} answers were {status}" for status, count in statuses.items() if status != 200],
    }
