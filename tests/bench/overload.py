"""Overload: buyers come at a multiple of the rate that was completed at the peak, then all at once no more."""

from collections import deque
from collections.abc import Iterator
from math import inf
from statistics import median
from threading import Thread
from time import perf_counter, sleep
from typing import Any

from tests.bench.connection import Connection
from tests.bench.lifecycles import Buyer, Purchase
from tests.bench.open_load import OpenLoad, run_open_load
from tests.bench.report import spread
from tests.bench.subjects import POLL_SECONDS, Subject

TIMES_THE_PEAK = 3
CLIENTS = 600
PROBE_EVERY_SECONDS = 0.25
USUAL_PROBES = 7
TIMES_THE_USUAL = 2.0
"""A purchase that takes no longer than so many usual ones finds the server recovered."""

PROBES_IN_A_ROW = 4
MAX_PROBES = 200


def measure_overload(subject: Subject, peak: float, seconds: float) -> dict[str, Any]:
    """Return what became of the buyers, orders a second meanwhile over the peak's, and how soon all was as before."""
    per_second = TIMES_THE_PEAK * peak
    buyers, probing = subject.take(round(per_second * seconds)), subject.take(USUAL_PROBES + MAX_PROBES)
    usual = median(_purchases(subject.port, probing[:USUAL_PROBES]))
    done: deque[OpenLoad] = deque()

    def crowd() -> None:
        done.append(
            run_open_load(
                subject.port, buyers, per_second, clients=CLIENTS, poll_seconds=POLL_SECONDS, reads=False
            )
        )

    thread = Thread(target=crowd)
    thread.start()
    sleep(seconds)
    recovered = _recovery(subject.port, probing[USUAL_PROBES:], TIMES_THE_USUAL * usual)
    thread.join()
    [load] = done
    goodput = load.orders_per_second(seconds)
    refused = {why: times for why, times in load.failures.items() if ": 429" in why or ": 503" in why}
    return {
        "arrivals_per_second": round(per_second, 1),
        "buyers": len(buyers),
        "orders": len(load.ordered_at),
        "goodput_per_second": round(goodput, 1),
        "goodput_of_peak": round(goodput / peak, 2),
        "refused": refused,
        "refused_without_retry_after": sum(n for why, n in refused.items() if "without" in why),
        "other_failures": {why: times for why, times in load.failures.items() if why not in refused},
        "order_milliseconds": spread(load.times["order"]),
        "recovered_after_seconds": recovered,
        "problems": subject.check(),
    }


def _recovery(port: int, probing: list[Buyer], most: float) -> float | None:
    """Buy one after another until some take at most `most` seconds; return when that began, in seconds."""
    started, since, in_a_row = perf_counter(), 0.0, 0
    for taken in _purchases(port, probing):
        if taken > most:
            in_a_row = 0
            continue
        since = since if in_a_row else perf_counter() - taken - started
        in_a_row += 1
        if in_a_row == PROBES_IN_A_ROW:
            return round(since, 1)
    return None


def _purchases(port: int, buyers: list[Buyer]) -> Iterator[float]:
    """Buy one after another; yield the seconds of each, infinite where there is no order."""
    with Connection(port) as connection:
        for buyer in buyers:
            asked = perf_counter()
            done = Purchase(connection, buyer, POLL_SECONDS).run()
            yield perf_counter() - asked if done.failure is None else inf
            sleep(PROBE_EVERY_SECONDS)
