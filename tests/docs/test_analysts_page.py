"""docs/analysts.md is what the database says of its views, and every query in it runs as an analyst."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.application import Ledger
from ledger.store.database import Database
from projections.figure_sums import PaymentFigures
from projections.follower import Follower
from projections.journal import TABLE as JOURNAL
from projections.journal import Journal
from projections.metrics import PaymentMetrics
from projections.refunds import PaymentRefunds
from tests.projections.test_analytics import deliver
from tests.support.analyst_cookbook import CONTRACT, COOKBOOK
from tests.support.analysts import new_analyst
from tests.support.analysts_page import PAGE, write_page
from tests.support.checkouts import one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs, key_ring

WITHOUT_COMMENT = """
SELECT relname FROM pg_class WHERE relnamespace = 'analytics'::regnamespace AND obj_description(oid, 'pg_class') IS NULL
UNION ALL
SELECT attrelid::regclass || '.' || attname FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid AND relnamespace = 'analytics'::regnamespace
WHERE attnum > 0 AND col_description(attrelid, attnum) IS NULL
"""

FOLLOWED = {
    projection.name: projection for projection in (PaymentMetrics(), PaymentFigures(), PaymentRefunds())
}
RESULTS = {
    "Sessions by status": [
        ("expired", "2"),
        ("failed", "8"),
        ("order_created", "6"),
        ("paid", "4"),
        ("payment_initiated", "4"),
        ("pending", "9"),
    ],
    "Success rate of the last 24 hours": [("None",)],
    "How far did each day's sessions come, in percent of those before?": [
        ("2024-01-15", "33", "66.7", "68.2", "40.0")
    ],
    "What did each day bring, in shillings?": [("2024-01-15", "5250.00")],
    "Why did sessions fail in a month, and how often?": [
        ("OUT_OF_STOCK", "5", "62.5"),
        ("AMOUNT_MISMATCH", "2", "25.0"),
        ("CANCELLED", "1", "12.5"),
    ],
    "How long do buyers take to pay?": [("2024-01-15", "15", "10.0", "46.5")],
    "What do the counties order?": [("2024-01-01", "Mombasa", "Mvita", "5", "0", "0.00")],
    "How much money is held that must go back, and why?": [
        ("OUT_OF_STOCK", "due", "2", "700.00"),
        ("OUT_OF_STOCK", "refused", "1", "350.00"),
        ("OUT_OF_STOCK", "requested", "1", "350.00"),
        ("amount_not_named", "due", "1", "350.00"),
        ("second_payment", "due", "1", "350.00"),
        ("wrong_amount", "due", "1", "1.00"),
    ],
    "Which part of the payments of a month went back, or is to?": [("2024-01-01", "15", "46.7")],
    "Which receipts came after their session had failed or expired?": [
        ("RCPTLATE01", "35000", "2024-01-15", "callback")
    ],
    "How many prompts did sessions need?": [("1", "21", "13"), ("2", "3", "2")],
    "How did the prompts of a month end?": [
        ("paid", "None", "18"),
        ("initiated", "None", "3"),
        ("failed", "CANCELLED", "2"),
        ("refused", "BUSY", "2"),
        ("requested", "None", "1"),
        ("uncertain", "None", "1"),
    ],
    "By which source is the money proved?": [
        ("callback", "16", "16", "525100"),
        ("c2b", "1", "1", "35000"),
        ("query", "1", "0", "35000"),
    ],
    "What sells best?": [("Fresh Tomatoes", "kg", "12.000", "180000")],
    "How long does a paid session wait for its order?": [("2024-01-15", "6", "10.0")],
    "What are the balances of the accounts?": [
        ("customer_funds", "-140000"),
        ("delivery", "-30000"),
        ("mpesa_clearing", "490100"),
        ("receipts_awaited", "35000"),
        ("refunds_due", "-175100"),
        ("reversal_clearing", "-35000"),
        ("sales", "-180000"),
        ("sales_returns", "35000"),
        ("surplus", "0"),
    ],
    "Which figures of past days did late events change, and by how much?": [
        ("2024-01-15", "payments_received", "15", "15"),
        ("2024-01-15", "refunds", "2", "2"),
    ],
    "In which hours of the day are sessions created?": [("13", "32"), ("18", "1")],
}


@pytest.fixture
def analyst(ledger: Ledger, database: Database, database_url: str) -> Iterator[Connection[TupleRow]]:
    """An analyst's connection to a database with sessions of every kind, which the projections have followed."""
    one_of_every_kind(ledger)
    for user_id in range(11, 16):
        deliver(ledger, user_id, 1, 5)
    until_readable(database)
    for projection in (*FOLLOWED.values(), Journal(key_ring(database))):
        Follower(database, event_macs(database), projection).catch_up()
    with new_analyst(database_url) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_the_page_is_what_a_migrated_database_gives(database_url: str) -> None:
    assert PAGE.read_bytes() == write_page(database_url).encode(), (
        "Run `make analysts` and commit docs/analysts.md."
    )


def test_every_view_and_column_has_its_comment(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute(WITHOUT_COMMENT).fetchall() == []


def test_what_changes_in_the_database_changes_the_page(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("COMMENT ON COLUMN analytics.counties.name IS 'Another word.'")
    assert PAGE.read_text("utf-8") != write_page(database_url)


def test_every_query_gives_what_it_asks(analyst: Connection[TupleRow]) -> None:
    asked = {query.question: query.sql for query in (*CONTRACT, *COOKBOOK)}
    assert len(asked) == len(CONTRACT) + len(COOKBOOK)
    shown = {
        question: [tuple(map(str, row)) for row in analyst.execute(statement.encode())]
        for question, statement in asked.items()
    }
    [twice] = shown.pop("Which sessions were paid twice?")
    assert twice[1:] == ("2", "['RCPTTWIN01', 'RCPTTWIN02']")
    fresh = {name: events for name, events, *_ in shown.pop("How fresh are the figures?")}
    assert fresh.keys() == {*FOLLOWED, JOURNAL, "payment_cases", "payment_search", "payment_sessions"}
    assert {fresh[name] for name in (*FOLLOWED, JOURNAL)} == {"0"}
    shown["Sessions by status"].sort()
    assert shown == RESULTS
