"""Open load: buyers come at constant intervals, whether or not the others have been served.

Times count from the moment at which a buyer was due, so a server that stalls is charged for all who came meanwhile.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from threading import Thread
from time import perf_counter, sleep
from typing import Any

from tests.bench.connection import BadAnswer, Connection
from tests.bench.lifecycles import SESSIONS, Buyer, Purchase
from tests.bench.report import spread

READS = {
    "list": lambda _: SESSIONS,
    "session": lambda session: session,
    "events": lambda session: f"{session}events/",
}
"""What each buyer reads once the order is there: a name, and how the path is made of the session's."""


@dataclass
class OpenLoad:
    """The times of each step in seconds, the moments at which orders were seen, and why others failed."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    ordered_at: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    started: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Return the results as JSON values."""
        return {
            "milliseconds": {step: spread(times) for step, times in self.times.items()},
            "orders": len(self.ordered_at),
            "failures": dict(self.failures),
        }

    def orders_per_second(self, seconds: float) -> float:
        """Return how many orders a second were seen in the first seconds."""
        return sum(at - self.started <= seconds for at in self.ordered_at) / seconds


def run_open_load(
    port: int, buyers: list[Buyer], per_second: float, *, clients: int, poll_seconds: float, reads: bool
) -> OpenLoad:
    """Let the buyers come at a rate, each to buy and, with `reads`, to read; return when all are done.

    `clients` is how many can be served at once: it has to be large enough that none is late.
    """
    load, numbers = OpenLoad(started=perf_counter()), count()

    def work() -> None:
        with Connection(port) as connection:
            while (number := next(numbers)) < len(buyers):
                due = load.started + number / per_second
                sleep(max(0.0, due - perf_counter()))
                _visit(load, connection, buyers[number], due, poll_seconds, READS if reads else {})

    threads = [Thread(target=work, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return load


def _visit(
    load: OpenLoad,
    connection: Connection,
    buyer: Buyer,
    due: float,
    poll_seconds: float,
    reads: dict[str, Callable[[str], str]],
) -> None:
    late = perf_counter() - due
    purchase = Purchase(connection, buyer, poll_seconds)
    done = purchase.run()
    if done.failure is not None:
        load.failures[done.failure] += 1
        return
    load.ordered_at.append(perf_counter())
    load.times["create"].append(late + done.create)
    load.times["initiate"].append(done.initiate)
    load.times["order"].append(done.order)
    load.times["status"].extend(done.statuses)
    for step, path_of in reads.items():
        asked = perf_counter()
        try:
            status, body = connection.request("GET", path_of(purchase.session), buyer.auth)
        except (OSError, BadAnswer) as error:
            load.failures[f"{step}: {type(error).__name__}"] += 1
            continue
        load.times[step].append(perf_counter() - asked)
        if status != 200:
            load.failures[f"{step}: {status} {json.loads(body).get('error_code', '')}"] += 1
