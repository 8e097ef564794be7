"""What somebody writes into the books by the application's login neither stops them nor their rebuild."""

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger import clock
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movement_log import post_movements
from payments.reconciliation.movements import Movements
from projections import journal
from projections.books import period, trial_balance
from projections.follower import Follower
from projections.integrity.invariants import check
from projections.journal import Journal
from tests.payments.reconciliation.test_journal import movement
from tests.support.checkouts import TOTAL_CENTS, Checkout
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs, key_ring
from tests.support.prompt_limits import AMPLE

RECEIPT = "UKRFORGED1"
FORGE = """
INSERT INTO journal_entries (entry_id, what, debit_account, credit_account, amount_cents, occurred_at, recorded_at,
                             position, movement, receipt, session_id)
SELECT coalesce(%s, 1 + coalesce((SELECT max(entry_id) FROM journal_entries), 0)), 'Paid', 'mpesa_clearing',
       'customer_funds', 100, now(), now(), 1, NULL, %s, gen_random_uuid()
"""
FORGE_MOVEMENT = """
INSERT INTO movement_log (ordinal, movement_key, kind, receipt, money_in, amount_cents, occurred_at, recorded_at,
                          origin, after_position)
SELECT coalesce(%s, 1 + coalesce((SELECT max(ordinal) FROM movement_log), 0)), %s, 'payment', 'UKRFORGED2', true, 100,
       now(), now(), 1, 0
"""


def follow(database: Database) -> None:
    until_readable(database)
    Follower(database, event_macs(database), Journal()).catch_up()


def broken(database: Database) -> set[str]:
    return {violation.rule for violation in check(database)}


def clearing_cents(database: Database) -> int:
    found = trial_balance(database, period(None, None, clock.now()))
    [clearing] = [each for each in found.accounts if each.account == "mpesa_clearing"]
    return clearing.closing_cents


@pytest.mark.parametrize("entry_id", [2**63 - 1, 2**62, 9, 0, -1, -(2**63)])
def test_a_number_that_leaves_the_books_none_is_refused(
    ledger: Ledger, database: Database, login: Connection[TupleRow], entry_id: int
) -> None:
    Checkout(ledger).prompt().pay(RECEIPT)
    follow(database)
    with pytest.raises(psycopg.Error, match="numbered in a row"):
        login.execute(FORGE, (entry_id, "UKRFORGED9"))
    Checkout(ledger).prompt().pay("UKRGENUINE")
    follow(database)
    assert (clearing_cents(database), broken(database)) == (2 * TOTAL_CENTS, set())


def test_a_receipt_that_was_forged_before_its_payment_stops_neither_the_books_nor_their_rebuild(
    ledger: Ledger, database: Database, login: Connection[TupleRow]
) -> None:
    login.execute(FORGE, (None, RECEIPT))
    checkout = Checkout(ledger).prompt().pay(RECEIPT)
    follow(database)
    checkout.order()
    Checkout(ledger).prompt().pay("UKRGENUINE")
    follow(database)
    assert clearing_cents(database) == 100 + TOTAL_CENTS
    assert broken(database) == {"books"}

    assert journal.rebuild(database, event_macs(database)).wrong_rows > 0
    assert (clearing_cents(database), broken(database)) == (2 * TOTAL_CENTS, set())
    Checkout(ledger).prompt().pay("UKRGENUIN2")
    follow(database)
    assert (clearing_cents(database), broken(database)) == (3 * TOTAL_CENTS, set())


def test_books_that_a_row_from_before_stopped_are_rebuilt_and_go_on(
    ledger: Ledger, database: Database, database_url: str
) -> None:
    Checkout(ledger).prompt().pay(RECEIPT)
    follow(database)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute(FORGE, (2**63 - 1, "UKRFORGED9"))
    Checkout(ledger).prompt().pay("UKRGENUINE")
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        follow(database)
    assert journal.rebuild(database, event_macs(database), batch_size=2).wrong_rows == 1
    Checkout(ledger).prompt().pay("UKRGENUIN2")
    follow(database)
    assert (clearing_cents(database), broken(database)) == (3 * TOTAL_CENTS, set())


@pytest.mark.parametrize("ordinal", [2**63 - 1, 7, 0, -1])
def test_an_ordinal_that_leaves_the_movements_none_is_refused(
    ledger: Ledger, database: Database, login: Connection[TupleRow], ordinal: int
) -> None:
    with pytest.raises(psycopg.Error, match="numbered in a row"):
        login.execute(FORGE_MOVEMENT, (ordinal, "payment UKRFORGED2"))
    told_of_unmatched_payments(ledger, database)
    assert (clearing_cents(database), broken(database)) == (2 * TOTAL_CENTS, set())


def test_a_forged_row_of_the_movement_log_does_not_stop_the_books(
    ledger: Ledger, database: Database, login: Connection[TupleRow]
) -> None:
    login.execute(FORGE_MOVEMENT, (None, "payment UKRUNMATC1"))
    told_of_unmatched_payments(ledger, database)
    assert clearing_cents(database) == 100 + TOTAL_CENTS
    assert broken(database) == {"books"}


def told_of_unmatched_payments(ledger: Ledger, database: Database) -> None:
    matcher = Matcher(ledger, PhoneLocks(database, AMPLE), Movements(database, Vault(database, MASTER_KEY)))
    for receipt in ("UKRUNMATC1", "UKRUNMATC2"):
        matcher.ingest([movement("payment", receipt)])
        follow(database)
        assert post_movements(database, key_ring(database)) == 1
        assert post_movements(database, key_ring(database)) == 0
