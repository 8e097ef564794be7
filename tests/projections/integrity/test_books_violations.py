"""Invariants of the books notice what somebody breaks by hand."""

from datetime import timedelta

import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.store.database import Database
from projections.follower import Follower
from projections.integrity.books_rules import POSTING_MAY_TAKE
from projections.integrity.invariants import check
from projections.journal import TABLE, Journal
from projections.rebuilds import rebuild
from tests.projections.integrity.test_invariants import tamper
from tests.support.horizon import until_readable
from tests.support.keys import event_macs, key_ring

MOVEMENT = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, verdict,
                             first_seen_at, settled_at, journal_ordinal)
VALUES ('payment NLJ0NOBODY', 'payment', 'NLJ0NOBODY', true, 35000, now(), 'statement', 'unknown', now(), now(), 1)
"""
LOGGED = """
INSERT INTO movement_log SELECT 1, movement_key, kind, category, receipt, linked_receipt, money_in, amount_cents,
                                happened_at, first_seen_at, session_id, 1, 0, NULL, true
FROM mpesa_movements
"""
INVENTED = """
INSERT INTO journal_entries (entry_id, what, debit_account, credit_account, amount_cents, occurred_at, recorded_at,
                             position, session_id)
SELECT 99, 'Paid', 'mpesa_clearing', 'sales', 1, now(), now(), 1, gen_random_uuid()
"""


def booked(database: Database) -> None:
    until_readable(database)
    Follower(database, event_macs(database), Journal(key_ring(database))).catch_up()
    assert check(database) == []


def found(database: Database) -> list[str]:
    return [violation.detail for violation in check(database) if violation.rule == "books"]


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM journal_entries WHERE what = 'Paid'",
        "UPDATE journal_entries SET amount_cents = amount_cents + 1 WHERE credit_account = 'sales'",
        "UPDATE journal_entries SET credit_account = 'surplus' WHERE what = 'Paid'",
        "UPDATE journal_entries SET receipt = 'NLJ0FORGED' WHERE what = 'Paid'",
        "UPDATE journal_entries SET occurred_at = now() WHERE what = 'Paid'",
        "UPDATE journal_entries SET recorded_at = now() + interval '1 day' WHERE what = 'Paid'",
        "INSERT INTO journal_entries SELECT 99, what, debit_account, credit_account, amount_cents, occurred_at,"
        " recorded_at, position, movement, NULL, session_id FROM journal_entries WHERE what = 'Paid'",
    ],
)
def test_entries_that_are_not_what_the_events_come_to_are_reported(
    database: Database, statement: str
) -> None:
    booked(database)
    tamper(database, statement)
    assert found(database) == ["its entries in the journal are not what its events come to"]


@pytest.mark.usefixtures("checkout")
def test_entries_of_no_session_are_reported(database: Database) -> None:
    booked(database)
    tamper(database, INVENTED)
    assert found(database) == ["the journal has entries of it, and it is no session"]


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    ("statement", "detail"),
    [
        ("DELETE FROM journal_entries WHERE movement = 1", "is not in the journal as it was logged, once"),
        (
            "UPDATE journal_entries SET amount_cents = 1 WHERE movement = 1",
            "is not in the journal as it was logged",
        ),
        ("UPDATE journal_entries SET credit_account = 'charges' WHERE movement = 1", "is not in the journal"),
        ("UPDATE journal_entries SET credit_account = 'customer_funds' WHERE movement = 1", "is not in the"),
        ("UPDATE journal_entries SET what = 'nonsense' WHERE movement = 1", "is not in the journal"),
        ("UPDATE journal_entries SET session_id = gen_random_uuid() WHERE movement = 1", "is not in the"),
        ("DELETE FROM movement_log", "is not in the journal as it was logged, once"),
        ("UPDATE mpesa_movements SET receipt = 'NLJ0FORGED'", "was logged otherwise than M-Pesa reported it"),
        ("DELETE FROM mpesa_movements", "was logged otherwise than M-Pesa reported it"),
    ],
)
def test_movements_that_the_books_do_not_have_as_they_were_are_reported(
    database: Database, statement: str, detail: str
) -> None:
    booked(database)
    tamper(database, MOVEMENT)
    tamper(database, LOGGED)
    with database.transaction() as connection:
        Journal(key_ring(database)).post_movements(connection)
    assert found(database) == []
    tamper(database, statement)
    assert detail in found(database)[0]


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("kind", ["payment", "reversal", "other"])
@pytest.mark.parametrize("ordinal", [0, 7])
def test_a_movement_that_was_marked_and_left_out_is_reported(
    database: Database, kind: str, ordinal: int
) -> None:
    booked(database)
    tamper(database, MOVEMENT)
    tamper(database, "UPDATE mpesa_movements SET journal_ordinal = NULL")
    assert found(database) == []
    tamper(database, f"UPDATE mpesa_movements SET kind = '{kind}', journal_ordinal = {ordinal}")
    detail = f"movement {ordinal} of receipt NLJ0NOBODY is not in the books, and no event tells of it"
    assert found(database) == [detail]


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal_days SET amount_cents = amount_cents + 1 WHERE credit_account = 'sales'",
        "UPDATE journal_days SET last_recorded_at = now() + interval '1 day' WHERE credit_account = 'sales'",
        "DELETE FROM journal_days WHERE credit_account = 'sales'",
        "INSERT INTO journal_days SELECT '2020-02-29', debit_account, credit_account, 1, 1, now(), now()"
        " FROM journal_days LIMIT 1",
        "DELETE FROM journal_entries WHERE credit_account = 'sales'",
    ],
)
def test_daily_sums_that_are_not_those_of_the_entries_are_reported(
    database: Database, statement: str
) -> None:
    booked(database)
    tamper(database, statement)
    [wrong] = [violation.detail for violation in check(database) if violation.rule == "daily sums"]
    assert wrong.endswith("are not what the entries of that day come to")
    rebuild(database, event_macs(database), TABLE)
    assert check(database) == []


@pytest.mark.usefixtures("checkout")
def test_books_that_do_not_follow_the_log_are_reported(database: Database) -> None:
    until_readable(database)
    assert found(database) == []
    with freeze_time(clock.now() + POSTING_MAY_TAKE + timedelta(minutes=1)):
        [stands_still] = found(database)
        assert stands_still.startswith("they stand still at 0: position ")
        Follower(database, event_macs(database), Journal(key_ring(database))).catch_up()
        assert found(database) == []


@pytest.mark.usefixtures("checkout")
def test_books_that_were_marked_as_further_than_they_are_are_reported(database: Database) -> None:
    booked(database)
    tamper(database, "DELETE FROM journal_entries")
    assert found(database) == ["its entries in the journal are not what its events come to"]
    tamper(database, f"UPDATE follower_positions SET position = {2**62}")
    assert f"they are marked as following the log to {2**62}, where no event can be yet" in found(database)


@pytest.mark.usefixtures("checkout")
def test_a_movement_that_the_books_do_not_take_up_is_reported(database: Database) -> None:
    booked(database)
    tamper(database, MOVEMENT)
    tamper(database, "UPDATE mpesa_movements SET journal_ordinal = NULL")
    assert found(database) == []
    with freeze_time(clock.now() + POSTING_MAY_TAKE + timedelta(minutes=1)):
        assert found(database) == ["a movement of receipt NLJ0NOBODY has waited for them for over 0:15:00"]
