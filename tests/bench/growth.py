"""`python -m tests.bench.growth`: what a step costs in a store of ten thousand sessions, and in ever larger ones."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import click
import psycopg

from api.local.postgres import EmbeddedPostgres
from tests.bench import machine
from tests.bench.bench_stack import DAFTARI, BenchStack, started_daftari
from tests.bench.connection import Connection
from tests.bench.lifecycles import SESSIONS, Buyer, Purchase
from tests.bench.plain_stack import superuser_url
from tests.bench.sample_store import POLL_SECONDS, SampleStore, catch_up, sample_store

LISTED = 30_000
PURCHASES, PAGES = 200, 20
_WAL = "SELECT pg_current_wal_insert_lsn() - '0/0' AS bytes"


@click.command()
@click.option(
    "--sizes", default="10000,300000,1000000", show_default=True, help="Sessions in the store, rising."
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("build/growth.json"), show_default=True
)
def growth(sizes: str, output: Path) -> None:
    """Fill a store step by step, measure each step's cost for one client, and print the ratios to the first size."""
    with sample_store() as store:
        figures = _measured(store, [int(size) for size in sizes.split(",")])
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(
        json.dumps({"machine": machine.describe(), "sizes": figures}, indent=2), encoding="utf-8"
    )
    first = next(iter(figures.values()))
    for name in first:
        shown = [f"{size}: {row[name]:.2f} ({row[name] / first[name]:.2f})" for size, row in figures.items()]
        click.echo(f"{name:24} {'   '.join(shown)}")


def _measured(store: SampleStore, sizes: Sequence[int]) -> dict[int, dict[str, float]]:
    figures: dict[int, dict[str, float]] = {}
    listed_left = LISTED
    for added, size in zip(_steps(sizes), sizes, strict=True):
        started = perf_counter()
        listed = min(listed_left, added)
        with EmbeddedPostgres(store.folder) as server:
            store.fill(server.database_url, added, listed / added)
        listed_left -= listed
        with started_daftari(store.folder, store.environ) as stack:
            catch_up(stack)
            click.echo(f"{size} sessions are stored after {perf_counter() - started:.0f} s.", err=True)
            # New buyers each time: M-Pesa refuses the same amount from the same phone for two minutes.
            stack.buyers_made = store.buyers_made
            figures[size] = _purchases(stack) | _pages(stack.port, store.buyer)
            store.buyers_made = stack.buyers_made
            subprocess.run([*DAFTARI, "verify"], env=store.environ, stdout=sys.stderr, check=True)
    return figures


def _steps(sizes: Sequence[int]) -> list[int]:
    return [size - before for before, size in zip([0, *sizes], sizes, strict=False)]


def _purchases(stack: BenchStack) -> dict[str, float]:
    """Take buyers from cart to order one by one; return milliseconds (median) of each step, and kB of WAL."""
    buyers = stack.make_buyers(PURCHASES)
    with (
        psycopg.connect(superuser_url(stack), autocommit=True) as observer,
        Connection(stack.port) as connection,
    ):
        observer.execute("CHECKPOINT")
        [[before]] = observer.execute(_WAL)
        done = [Purchase(connection, buyer, POLL_SECONDS).run() for buyer in buyers]
        [[after]] = observer.execute(_WAL)
    failures = [each.failure for each in done if each.failure]
    assert not failures, failures
    return {
        "create, ms": 1_000 * median(each.create for each in done),
        "initiate, ms": 1_000 * median(each.initiate for each in done),
        "callback to order, ms": 1_000 * median(each.order for each in done),
        "status, ms": 1_000 * median(seconds for each in done for seconds in each.statuses),
        "WAL a lifecycle, kB": float(after - before) / 1_000 / len(done),
    }


def _pages(port: int, buyer: Buyer) -> dict[str, float]:
    """Read pages of the user with many sessions; return milliseconds (median)."""
    with Connection(port) as connection:
        shown = _page(connection, buyer, f"{SESSIONS}?page=1")[1]
        last = max(1, -(-shown["count"] // 20))
        paths = {
            "page 1, ms": f"{SESSIONS}?page=1",
            "last page, ms": f"{SESSIONS}?page={last}",
            "page 1 of status, ms": f"{SESSIONS}?status=order_created",
            "last page of status, ms": f"{SESSIONS}?page={last}&status=order_created",
            "rare status, ms": f"{SESSIONS}?status=payment_initiated",
        }
        near_last = _page(connection, buyer, f"{SESSIONS}?page={max(1, last - 1)}")[1]["next"]
        if near_last:
            paths["last page by cursor, ms"] = near_last[near_last.index(SESSIONS) :]
        return {
            name: 1_000 * median(_page(connection, buyer, path)[0] for _ in range(PAGES))
            for name, path in paths.items()
        }


def _page(connection: Connection, buyer: Buyer, path: str) -> tuple[float, dict[str, Any]]:
    started = perf_counter()
    status, text = connection.request("GET", path, buyer.auth)
    seconds = perf_counter() - started
    assert status == 200, text
    return seconds, json.loads(text)


if __name__ == "__main__":
    growth()
