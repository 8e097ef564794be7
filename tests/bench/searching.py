"""`python -m tests.bench.searching`: how long an auditor waits for a page of payments, and of the log.

The rows are made by SQL: their events could not be verified, but they are found like any others. What the API folds for
a page is timed with payments of five events that are genuine.
"""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from time import perf_counter, process_time
from uuid import UUID

import click
import psycopg
import structlog

from ledger.application import Ledger
from ledger.session.values import Evidence, Status
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.vault import Vault
from projections.history_steps import sessions_at
from projections.log_pages import LogFilters, read_log
from projections.payment_filters import Filters, FoundPayment
from projections.payment_search import find_payments
from tests.support.checkouts import Checkout
from tests.support.database import migrated_database
from tests.support.keys import MASTER_KEY, event_macs, key_ring

NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS_A_SESSION = 5
USERS, AMOUNTS, PHONES = 50_000, 3_000, 80_000
PAGE = 20

FILL = """
CREATE TEMPORARY TABLE made AS
SELECT n, md5(n::text)::uuid AS session_id, 1 + n * 7919 % {users} AS user_id,
       timestamptz '2026-01-01Z' - n * interval '90 seconds' AS at, 100 * (1 + n * 104729 % {amounts}) AS cents,
       CASE WHEN n % 20 = 0 THEN 'expired' WHEN n % 20 = 1 THEN 'failed' WHEN n % 500 = 2 THEN 'paid'
            ELSE 'order_created' END AS status,
       CASE WHEN n % 20 IN (0, 1) AND n % 1000 <> 1 THEN NULL WHEN n % 300 = 3 THEN 'statement'
            WHEN n % 50 = 4 THEN 'c2b' ELSE 'callback' END AS evidence
FROM generate_series(1::bigint, {sessions}) AS n;
INSERT INTO payment_sessions (session_id, user_id, session_status, version, goods_cents, delivery_fee_cents,
    rounding_cents, total_cents, received_cents, refund_due_cents, refunded_cents, attempts, open_attempts,
    transaction_id, receipt, evidence, order_id, order_number, created_at, expires_at, updated_at, shop)
SELECT session_id, user_id, status, 5, cents, 0, 0, cents, cents, 0, 0, 1, 0, n,
       'R' || lpad(n::text, 9, '0'), evidence, n, 'ORD-' || n, at, at + interval '15 minutes', at, 'builtin' FROM made;
INSERT INTO payment_search SELECT session_id, at, cents, status, evidence, 'ORD-' || n FROM made;
INSERT INTO payment_refs SELECT 'R' || lpad(n::text, 9, '0'), 'mpesa_receipt', session_id, at FROM made;
INSERT INTO payment_refunds (session_id, refund, attempt, state, amount_cents, receipt, why, due_at, in_doubt,
    reversal_receipt, failures, unsent_in_a_row)
SELECT session_id, 1, 1, 'refunded', cents, 'R' || lpad(n::text, 9, '0'), 'out_of_stock', at, false,
       'B' || lpad(n::text, 9, '0'), 0, 0 FROM made WHERE n % {one_refunded_in} = 0;
INSERT INTO payment_phones
SELECT sha256(('phone' || n % {phones})::bytea), at, session_id, user_id FROM made ORDER BY 1;
ALTER TABLE payment_events DISABLE TRIGGER USER;
INSERT INTO payment_events (session_id, version, topic, state, previous_hash, hash, origin, position, recorded_at,
                            metadata, key_id, mac)
SELECT session_id, version, 'payment_session.' || (ARRAY['created.v1', 'payment_requested.v1',
           'payment_initiated.v1', 'paid.v1', 'order_created.v1'])[version],
       jsonb_build_object('transaction_id', n, 'checkout_digest', md5(n::text)),
       sha256(''), sha256(''), 1, (({sessions} - n) * 5 + version), at, '{{"actor": "mpesa"}}', 0, sha256('')
FROM made, generate_series(1, 5) AS version ORDER BY n DESC;
ANALYZE;
"""


@click.command()
@click.option("--sessions", type=click.IntRange(1_000), default=1_000_000, show_default=True)
@click.option("--searches", type=click.IntRange(10), default=200, show_default=True, help="Of each kind.")
def searching(sessions: int, searches: int) -> None:
    """Fill a store, and print the median and the 99th percentile of each kind of search, in milliseconds."""
    with migrated_database() as url:
        fill(url, sessions)
        _measure(url, sessions, searches)


def fill(
    url: str,
    sessions: int,
    *,
    users: int = USERS,
    amounts: int = AMOUNTS,
    phones: int = PHONES,
    one_refunded_in: int = 20,
) -> None:
    """Fill an empty store with sessions of so many users, amounts and phones, and analyse it."""
    numbers = {"users": users, "amounts": amounts, "phones": phones, "one_refunded_in": one_refunded_in}
    made = FILL.format(sessions=sessions, **numbers)
    with psycopg.connect(url, autocommit=True) as owner:
        # The tests' server has this off, and VACUUM marks nothing as visible to all whose commit is not on disk.
        owner.execute("SET synchronous_commit = on")
        for statement in filter(str.strip, made.split(";\n")):
            owner.execute(statement.encode())
        for table in ("payment_sessions", "payment_search", "payment_events", "payment_phones"):
            owner.execute(f"VACUUM {table}".encode())


def _measure(url: str, sessions: int, searches: int) -> None:
    database = Database(url, role="")
    vault, chance = Vault(database, MASTER_KEY), random.Random(7)
    find_payments(database, vault, Filters(), after=None, limit=PAGE, now=NEWEST)
    for name, make in _kinds(sessions, chance):
        _print(name, [partial(_pages, database, vault, make()) for _ in range(searches)])
    macs = event_macs(database)
    for name, filters in (
        ("log", LogFilters()),
        ("log: type", LogFilters(topics=["payment_session.paid.v1"])),
        ("log: an actor of nothing", LogFilters(actor="user:0")),
        ("log: from", LogFilters(since=NEWEST - timedelta(days=1))),
        ("log: user", LogFilters(user_id=7)),
    ):
        after = [chance.randrange(sessions * EVENTS_A_SESSION) for _ in range(searches)]
        begun = [{} if filters.since else {1: position} for position in after]
        _print(name, [partial(read_log, database, macs, filters, each, 100) for each in begun])
    ledger = Ledger(database, key_ring(database))
    genuine = _genuine(ledger)
    for count in (PAGE, len(genuine)):
        _print(
            f"{count} payments folded", [partial(_shown, database, ledger.macs, genuine[:count])] * searches
        )
    database.close()


def _genuine(ledger: Ledger) -> list[UUID]:
    """Make payments whose events carry our MAC; return their sessions."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    made = [Checkout(ledger, at=NEWEST).prompt().pay(f"G{n:09}").order(n) for n in range(1, 101)]
    return [checkout.session_id for checkout in made]


def _shown(database: Database, macs: EventMacs, ids: Sequence[UUID]) -> list[FoundPayment]:
    sessions = sessions_at(database, macs, ids, None)
    return [FoundPayment.of(session, NEWEST) for session in sessions.values()]


def _pages(database: Database, vault: Vault, filters: Filters) -> None:
    find_payments(database, vault, filters, after=None, limit=PAGE, now=NEWEST)


def _kinds(sessions: int, chance: random.Random) -> Iterator[tuple[str, Callable[[], Filters]]]:
    def some() -> int:
        return chance.randrange(1, sessions + 1)

    def a_day() -> date:
        return (NEWEST - timedelta(seconds=90 * some())).date()

    def cents() -> int:
        return 100 * chance.randrange(1, AMOUNTS)

    yield "receipt", lambda: Filters(receipt=f"R{some():09}")
    yield "order number", lambda: Filters(order_number=f"ORD-{some()}")
    yield "account reference", lambda: Filters(transaction_id=some())
    yield "user", lambda: Filters(user_id=chance.randrange(1, USERS))
    yield "day", lambda: Filters(day=a_day())
    yield "amount", lambda: Filters(amount_cents=cents())
    yield "status", lambda: Filters(status=chance.choice(list(Status)))
    yield "evidence", lambda: Filters(evidence=chance.choice(list(Evidence)))
    yield "amount and day", lambda: Filters(amount_cents=cents(), day=a_day())
    yield "failed, by callback", lambda: Filters(status=Status.FAILED, evidence=Evidence.CALLBACK)
    yield "paid, by statement", lambda: Filters(status=Status.PAID, evidence=Evidence.STATEMENT)
    yield "day, status, evidence", lambda: Filters(day=a_day(), status=Status.FAILED, evidence=Evidence.C2B)
    yield (
        "all filters",
        lambda: Filters(
            user_id=1, day=a_day(), amount_cents=cents(), status=Status.PAID, evidence=Evidence.C2B
        ),
    )


def _print(name: str, pages: Sequence[Callable[[], object]]) -> None:
    times, began = [], process_time()
    for page in pages:
        started = perf_counter()
        page()
        times.append(1_000 * (perf_counter() - started))
    spent = 1_000 * (process_time() - began) / len(pages)
    times.sort()
    middle, worst = times[len(times) // 2], times[len(times) * 99 // 100]
    click.echo(f"{name:26} median {middle:6.1f} ms   p99 {worst:6.1f} ms   {spent:5.1f} ms of our processor")


if __name__ == "__main__":
    searching()
