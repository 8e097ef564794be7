"""What somebody writes into the books by the application's login neither stops them nor their rebuild."""

from datetime import datetime

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
from projections.rebuilds import rebuild
from tests.payments.reconciliation.test_journal import LATER, movement
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
                          origin, after_position, mac)
SELECT coalesce(%s, 1 + coalesce((SELECT max(ordinal) FROM movement_log), 0)), %s, 'payment', 'UKRFORGED2', true, 100,
       now(), now(), 1, 0, '0.00'
"""


def follow(database: Database) -> None:
    until_readable(database)
    Follower(database, event_macs(database), Journal(key_ring(database))).catch_up()


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

    assert rebuild(database, event_macs(database), journal.TABLE).wrong_rows > 0
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
    assert rebuild(database, event_macs(database), journal.TABLE, at_once=2).wrong_rows == 1
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
    assert clearing_cents(database) == 2 * TOTAL_CENTS
    assert broken(database) == {"books"}
    assert rebuild(database, event_macs(database), journal.TABLE).wrong_rows == 0


FORGE_LOGGED = """
INSERT INTO movement_log (ordinal, movement_key, kind, category, receipt, linked_receipt, money_in, amount_cents,
                          occurred_at, recorded_at, session_id, origin, after_position, mac)
SELECT 1 + coalesce((SELECT max(ordinal) FROM movement_log), 0), movement_key, kind, category, receipt, linked_receipt,
       money_in, {amount}, {day}, first_seen_at, session_id, 1, 0, {mac} FROM mpesa_movements
WHERE receipt = 'UKRUNMATC1'
"""


@pytest.mark.parametrize("mac", ["mac", "'0.00'", "(SELECT mac FROM movement_log LIMIT 1)"])
@pytest.mark.parametrize(
    ("amount", "day"), [("1", "happened_at"), ("amount_cents", "happened_at - interval '9 days'")]
)
@pytest.mark.parametrize("is_followed", [False, True])
def test_who_logs_a_movement_before_the_worker_changes_neither_its_sum_nor_its_day(
    ledger: Ledger,
    database: Database,
    login: Connection[TupleRow],
    mac: str,
    amount: str,
    day: str,
    is_followed: bool,
) -> None:
    vault = Vault(database, MASTER_KEY)
    matcher = Matcher(ledger, PhoneLocks(database, AMPLE), Movements(database, vault))
    matcher.ingest([movement("payment", "UKRUNMATC0")])
    post_movements(database, vault.keys)
    matcher.ingest([movement("payment", "UKRUNMATC1")])
    login.execute(FORGE_LOGGED.format(amount=amount, day=day, mac=mac).encode())
    if is_followed:
        Checkout(ledger).prompt().pay(RECEIPT)
        follow(database)
    post_movements(database, vault.keys)
    post_movements(database, vault.keys)
    assert posted_of_movements(database) == [
        ("UKRUNMATC0", TOTAL_CENTS, LATER),
        ("UKRUNMATC1", TOTAL_CENTS, LATER),
    ]
    assert [each.detail for each in check(database, vault) if each.rule == "books"] == [
        "movement 2 of receipt UKRUNMATC1 is not in the journal as it was logged, once",
        "movement 2 of receipt UKRUNMATC1 was logged otherwise than M-Pesa reported it",
    ]
    rebuilt = rebuild(database, event_macs(database), journal.TABLE)
    assert rebuilt.wrong_rows == 0
    assert len(posted_of_movements(database)) == 2


@pytest.mark.parametrize("amount", ["1", "amount_cents"])
def test_a_movement_that_was_marked_as_logged_by_another_is_named(
    ledger: Ledger, database: Database, login: Connection[TupleRow], amount: str
) -> None:
    vault = Vault(database, MASTER_KEY)
    matcher = Matcher(ledger, PhoneLocks(database, AMPLE), Movements(database, vault))
    matcher.ingest([movement("payment", "UKRUNMATC1")])
    login.execute(FORGE_LOGGED.format(amount=amount, day="happened_at", mac="mac").encode())
    login.execute("UPDATE mpesa_movements SET journal_ordinal = 1")
    post_movements(database, vault.keys)
    assert posted_of_movements(database) == []
    login.execute(
        "INSERT INTO journal_entries SELECT 1, kind, 'mpesa_clearing', 'unmatched_receipts', amount_cents, occurred_at,"
        " recorded_at, NULL, ordinal, receipt, session_id FROM movement_log"
    )
    assert [each.detail for each in check(database, vault) if each.rule == "books"] == [
        "movement 1 of receipt UKRUNMATC1 is not in the journal as it was logged, once"
    ]


def test_a_process_that_makes_no_macs_logs_nothing(login: Connection[TupleRow]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="movement_log_mac_check"):
        login.execute(FORGE_MOVEMENT.replace("'0.00'", "NULL").encode(), (None, "payment UKRUNMATC1"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        login.execute(
            FORGE_MOVEMENT.replace("mac)", "is_from_before)").replace("'0.00'", "true").encode(), (None, "x")
        )


def posted_of_movements(database: Database) -> list[tuple[str, int, datetime]]:
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT * FROM journal_entries WHERE movement IS NOT NULL ORDER BY entry_id"
        )
        return [(row["receipt"], row["amount_cents"], row["occurred_at"]) for row in rows]


def told_of_unmatched_payments(ledger: Ledger, database: Database) -> None:
    matcher = Matcher(ledger, PhoneLocks(database, AMPLE), Movements(database, Vault(database, MASTER_KEY)))
    for receipt in ("UKRUNMATC1", "UKRUNMATC2"):
        matcher.ingest([movement("payment", receipt)])
        follow(database)
        assert post_movements(database, key_ring(database)) == 1
        assert post_movements(database, key_ring(database)) == 0
