"""A row of a statement that was forged makes no receipt tie, and hides none that does not."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger import clock
from ledger.application import Ledger
from ledger.session.values import Evidence
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movements import Movements
from projections.booked_receipts import receipt_differences
from projections.books import period
from tests.payments.reconciliation.test_journal import follow, movement, posted
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout
from tests.support.keys import MASTER_KEY, key_ring
from tests.support.prompt_limits import AMPLE

FORGE = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, linked_receipt,
                             verdict, first_seen_at, mac)
VALUES (gen_random_uuid()::text, %(kind)s, %(receipt)s, %(money_in)s, %(cents)s, %(at)s, 'statement', %(linked)s,
        'posted', now(), '0.00')
"""


@pytest.fixture
def matcher(ledger: Ledger, database: Database) -> Matcher:
    return Matcher(ledger, PhoneLocks(database, AMPLE), Movements(database, Vault(database, MASTER_KEY)))


def untied(database: Database, day: int | None = None) -> Sequence[tuple[str, str, int | None, int | None]]:
    of_day = HALF_PAST_TEN.date() + timedelta(days=day or 0) if day is not None else None
    found, end = receipt_differences(database, key_ring(database), period(of_day, of_day, clock.now()))
    assert end is None
    return [(each.receipt, str(each.kind), each.booked_cents, each.reported_cents) for each in found]


def forge(login: Connection[TupleRow], receipt: str, cents: int, **changed: object) -> None:
    values = {"kind": "payment", "money_in": True, "linked": None, "at": HALF_PAST_TEN, "receipt": receipt}
    login.execute(FORGE, values | {"cents": cents} | changed)


def test_a_forged_row_does_not_make_a_payment_tie(
    ledger: Ledger, database: Database, login: Connection[TupleRow]
) -> None:
    Checkout(ledger).prompt().pay("UKRBOOKED1")
    posted(database)
    forge(login, "UKRBOOKED1", TOTAL_CENTS)
    forge(login, "UKRBOOKED1", TOTAL_CENTS, kind="reversal", money_in=False, linked="UKRBOOKED1")
    assert untied(database) == [("UKRBOOKED1", "not_in_statement", TOTAL_CENTS, None)]


def test_a_forged_row_does_not_hide_what_mpesa_reported(
    ledger: Ledger, database: Database, matcher: Matcher, login: Connection[TupleRow]
) -> None:
    """Neither as the sum that is missing, nor by a day before."""
    Checkout(ledger).prompt().pay("UKRBOOKED1")
    matcher.ingest([movement("payment", "UKRBOOKED1", cents=100, happened_at=HALF_PAST_TEN)])
    matcher.ingest([movement("payment", "UKRMISSING", cents=200, happened_at=HALF_PAST_TEN)])
    forge(login, "UKRBOOKED1", TOTAL_CENTS - 100)
    forge(login, "UKRMISSING", 200, money_in=False, kind="other", at=HALF_PAST_TEN - timedelta(days=9))
    follow(database)
    expected = [
        ("UKRBOOKED1", "amount_differs", TOTAL_CENTS, 100),
        ("UKRMISSING", "not_in_books", None, 200),
    ]
    assert untied(database) == untied(database, day=0) == expected
    assert untied(database, day=-9) == untied(database, day=1) == []


def test_what_nobody_but_a_forger_told_of_is_no_difference(
    database: Database, login: Connection[TupleRow]
) -> None:
    forge(login, "UKRFORGED1", 100)
    assert untied(database) == []


def test_what_was_raised_to_a_statements_evidence_by_hand_does_not_tie(
    ledger: Ledger, database: Database, matcher: Matcher, login: Connection[TupleRow]
) -> None:
    checkout = Checkout(ledger).prompt().pay("UKRBOOKED1")
    matcher.ingest([movement("payment", "UKRBOOKED1", evidence=Evidence.C2B, happened_at=checkout.at)])
    posted(database)
    login.execute("UPDATE mpesa_movements SET evidence = 'statement'")
    assert untied(database) == [("UKRBOOKED1", "not_in_statement", TOTAL_CENTS, None)]
    matcher.ingest([movement("payment", "UKRBOOKED1", happened_at=checkout.at)])
    assert untied(database) == []


def test_pages_look_at_so_many_receipts_and_go_on_where_they_ended(
    ledger: Ledger, database: Database, matcher: Matcher
) -> None:
    receipts = [f"UKRBOOKED{number}" for number in range(6)]
    for receipt in receipts:
        Checkout(ledger).prompt().pay(receipt)
    matcher.ingest([movement("payment", receipt, happened_at=HALF_PAST_TEN) for receipt in receipts[1:4]])
    posted(database)
    everything, keys = period(None, None, clock.now()), key_ring(database)
    for limit, walk in ((1, None), (9, 1), (9, 2), (2, 3), (None, 5)):
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            found, after = receipt_differences(
                database, keys, everything, after=after, limit=limit, walk=walk
            )
            seen += [each.receipt for each in found]
            assert len(found) <= (limit or 6)
        assert seen == [receipts[0], *receipts[4:]]
