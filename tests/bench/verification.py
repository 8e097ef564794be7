"""`python -m tests.bench.verification`: the processor time of each form of verification, for one event on one core."""

import gc
import os
from collections.abc import Callable
from time import perf_counter, sleep

import click
import psutil  # type: ignore[import-untyped]  # it comes without types

from api.local.databases import open_database
from api.local.postgres import EmbeddedPostgres
from ledger.store.block_signer import BlockSigner
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.proofs import Proofs
from ledger.store.vault import Vault
from payments.verification.verifier import GARBAGE_AFTER, examine_all
from projections.figure_sums import PaymentFigures
from projections.follower import Follower, Projection
from projections.integrity.chain import check_chain
from projections.integrity.projection_rules import FOLLOWING
from projections.journal import Journal
from projections.metrics import PaymentMetrics
from projections.payment_search import PaymentSearch
from tests.bench.sample_store import sample_store

PROOFS = 200
SETTLED_AFTER_SECONDS = 1
"""By then the time of connections that were closed is counted."""


@click.command()
@click.option(
    "--sessions", default=25_000, show_default=True, help="Sessions in the store, of some 5 events each."
)
def verification(sessions: int) -> None:
    """Fill a store with valid copies of a session, sign it, verify it in each form, and prove some of its events."""
    gc.set_threshold(GARBAGE_AFTER)  # As `daftari verify` does.
    with sample_store() as store, EmbeddedPostgres(store.folder) as server:
        store.fill(server.database_url, sessions)
        with open_database(server.database_url, 4, role="") as database:
            vault = Vault(database, store.master_key)
            _catch_up(database, vault)
            assert server.pid is not None
            _each_form(database, vault, psutil.Process(server.pid))


def _catch_up(database: Database, vault: Vault) -> None:
    """Have the projections follow the copies, whose rows a whole run compares."""
    macs = EventMacs(database, vault.keys)
    projections: tuple[Projection, ...] = (
        PaymentMetrics(),
        PaymentFigures(),
        Journal(vault.keys),
        PaymentSearch(vault),
        *FOLLOWING,
    )
    for projection in projections:
        Follower(database, macs, projection).catch_up()


def _each_form(database: Database, vault: Vault, server: psutil.Process) -> None:
    with database.connection() as connection:
        [row] = connection.execute("SELECT count(*) AS events FROM payment_events")
    events = row["events"]
    click.echo(f"{events} events; microseconds of processor time an event: Python + PostgreSQL")
    signer = BlockSigner(database, lambda: vault.block_key, lambda: vault.block_keys)
    _timed("signing", events, server, lambda: [None for _ in iter(signer.run, 0)] and None)
    for name, check in {
        "verify --chain --stored-only": lambda: check_chain(database, vault, stored_only=True).violations,
        "verify --chain": lambda: check_chain(database, vault).violations,
        "verify": lambda: examine_all(database, vault).violations,
    }.items():
        _timed(name, events, server, check)
    proofs = Proofs(database, lambda: vault.block_keys)
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT position FROM payment_events TABLESAMPLE SYSTEM (10) ORDER BY hash LIMIT %s", (PROOFS,)
        ).fetchall()
    _timed(
        "a proof of inclusion",
        len(rows),
        server,
        lambda: [proofs.of_position(**row) for row in rows] and None,
    )


def _timed(name: str, events: int, server: psutil.Process, work: Callable[[], object]) -> None:
    """Print what a piece of work cost; it returns nothing, or nothing but empty lists, unless something is wrong."""
    before, started = _seconds(server), perf_counter()
    found, seconds = work(), perf_counter() - started
    assert not found, found
    sleep(SETTLED_AFTER_SECONDS)
    python, postgres = (after - then for after, then in zip(_seconds(server), before, strict=True))
    cost = 1e6 * (python + postgres) / events
    click.echo(
        f"{name:30} {1e6 * python / events:7.2f} + {1e6 * postgres / events:6.2f} = {cost:7.2f}"
        f"   ({1e6 / cost:,.0f}/s a core; {seconds:.1f} s)"
    )


def _seconds(server: psutil.Process) -> tuple[float, float]:
    own = psutil.Process(os.getpid()).cpu_times()
    of_server = [server.cpu_times(), *(child.cpu_times() for child in server.children())]
    ended = of_server[0].children_user + of_server[0].children_system
    return own.user + own.system, ended + sum(each.user + each.system for each in of_server)


if __name__ == "__main__":
    verification()
