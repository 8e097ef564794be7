"""A movement that was written past the application moves no money, and `daftari verify` names it."""

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Rejected
from ledger.session.values import Evidence, Status
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.exceptions.next_steps import Kind
from payments.exceptions.work_list import open_cases
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movement_log import post_movements
from payments.reconciliation.movements import MatchVerdict, Movement, MovementKind, Movements
from projections.integrity.invariants import check
from tests.support.checkouts import TOTAL_CENTS, Checkout
from tests.support.keys import MASTER_KEY, event_macs
from tests.support.prompt_limits import AMPLE

RECEIPT = "UKRFORGED1"
FORGE = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, transaction_id,
                             verdict, first_seen_at, mac)
VALUES ('payment UKRFORGED1', 'payment', 'UKRFORGED1', true, %s, now(), 'statement', %s, %s,
        now() - interval '1 hour', %s)
"""

FORGE_REVERSAL = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, linked_receipt,
                             verdict, first_seen_at)
VALUES ('row 0', 'reversal', 'UKRFORGED2', false, 1, now(), 'statement', 'UKRFORGED1', 'reversal_unexpected',
        now() - interval '1 hour')
"""
ENTRIES = "SELECT what, amount_cents FROM journal_entries WHERE movement IS NOT NULL"


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.fixture
def matcher(ledger: Ledger, database: Database, vault: Vault) -> Matcher:
    return Matcher(ledger, PhoneLocks(database, AMPLE), Movements(database, vault))


@pytest.fixture
def checkout(ledger: Ledger) -> Checkout:
    return Checkout(ledger).prompt()


def forge(
    login_url: str,
    checkout: Checkout,
    *,
    verdict: str = "new",
    mac: str | None = None,
    cents: int = TOTAL_CENTS,
) -> None:
    number = checkout.session.attempts[1].transaction_id
    with psycopg.connect(login_url, autocommit=True) as attacker:
        attacker.execute(FORGE, (cents, number, verdict, mac))


def genuine(checkout: Checkout) -> Movement:
    number = checkout.session.attempts[1].transaction_id
    return Movement(
        MovementKind.PAYMENT, RECEIPT, TOTAL_CENTS, checkout.at, Evidence.C2B, transaction_id=number
    )


def named(database: Database, vault: Vault) -> list[str]:
    return [each.detail for each in check(database, vault) if each.rule == "movements"]


@pytest.mark.parametrize("mac", [None, "0." + 64 * "0", "77.00", "no number"])
@pytest.mark.parametrize("verdict", ["new", "unknown"])
def test_a_forged_payment_is_neither_credited_nor_assigned(
    login_url: str,
    checkout: Checkout,
    matcher: Matcher,
    database: Database,
    vault: Vault,
    verdict: str,
    mac: str | None,
) -> None:
    forge(login_url, checkout, verdict=verdict, mac=mac)
    with freeze_time(clock.now() + timedelta(minutes=10)):
        assert (matcher.act_on_unprocessed(), matcher.act_on_claimed()) == (0, 0)
    number = checkout.session.attempts[1].transaction_id
    with pytest.raises(Rejected, match="Ask M-Pesa"):
        matcher.allocate(f"payment {RECEIPT}", number, by="operator 9", note="Looks right.")
    assert checkout.session.received_cents == 0
    assert named(database, vault) == [
        f"movement payment {RECEIPT} was not stored by Daftari, or was altered since"
    ]


def test_what_mpesa_tells_replaces_what_was_forged_about_it(
    login_url: str, checkout: Checkout, matcher: Matcher, database: Database, vault: Vault
) -> None:
    forge(login_url, checkout, verdict="posted", cents=1)
    [result] = matcher.ingest([genuine(checkout)])
    assert (result.verdict, checkout.session.status) == (MatchVerdict.CREDITED, Status.PAID)
    assert checkout.session.received_cents == TOTAL_CENTS
    assert named(database, vault) == []


def test_a_movement_that_was_altered_or_unsigned_is_named(
    login_url: str, checkout: Checkout, matcher: Matcher, database: Database, vault: Vault
) -> None:
    matcher.ingest([genuine(checkout)])
    assert named(database, vault) == []
    with psycopg.connect(login_url, autocommit=True) as attacker:
        for statement in (
            "UPDATE mpesa_movements SET mac = NULL, amount_cents = 1",
            "UPDATE mpesa_movements SET is_from_before = true",
            FORGE.replace("mac)", "is_from_before)"),
        ):
            values = (1, 1, "new", True) if "INSERT" in statement else None
            with pytest.raises(psycopg.Error):
                attacker.execute(statement.encode(), values)
        attacker.execute("UPDATE mpesa_movements SET transaction_id = 9999")
    assert len(named(database, vault)) == 1


def test_a_movement_from_before_is_signed_once(
    checkout: Checkout, matcher: Matcher, login_url: str, database: Database, vault: Vault
) -> None:
    forge(login_url, checkout)
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("UPDATE mpesa_movements SET is_from_before = true")
    assert named(database, vault) == []
    movements = Movements(database, vault)
    assert [movements.sign_those_from_before(10) for _ in range(3)] == [1, 0, 0]
    assert named(database, vault) == []
    with freeze_time(clock.now() + timedelta(minutes=10)):
        assert matcher.act_on_unprocessed() == 1
    assert named(database, vault) == []


def booked(database: Database, vault: Vault) -> list[tuple[str, int]]:
    post_movements(database, vault.keys)
    with database.connection() as connection:
        return [(row["what"], row["amount_cents"]) for row in connection.execute(ENTRIES)]


def test_a_forged_payment_is_in_the_books_only_once_mpesa_tells_of_it(
    login_url: str, checkout: Checkout, matcher: Matcher, database: Database, vault: Vault
) -> None:
    forge(login_url, checkout, verdict="unknown", cents=1)
    assert booked(database, vault) == []
    matcher.ingest([replace(genuine(checkout), transaction_id=None)])
    assert booked(database, vault) == [("payment", TOTAL_CENTS)]
    [case] = open_cases(database, clock.now(), macs=event_macs(database), kind=Kind.MONEY_UNKNOWN)
    assert case.money_cents == TOTAL_CENTS
    assert named(database, vault) == []


def test_a_movement_that_is_marked_as_posted_already_does_not_stop_the_books(
    login_url: str, checkout: Checkout, matcher: Matcher, database: Database, vault: Vault
) -> None:
    matcher.ingest([replace(genuine(checkout), transaction_id=None)])
    assert booked(database, vault) == [("payment", TOTAL_CENTS)]
    with psycopg.connect(login_url, autocommit=True) as attacker:
        attacker.execute("UPDATE mpesa_movements SET journal_ordinal = NULL")
    assert booked(database, vault) == [("payment", TOTAL_CENTS)]
    assert "books" not in {violation.rule for violation in check(database, vault)}


def test_a_movement_that_was_made_nothing_and_hidden_from_the_books_is_named(
    login_url: str, checkout: Checkout, matcher: Matcher, database: Database, vault: Vault
) -> None:
    matcher.ingest([replace(genuine(checkout), transaction_id=None)])
    with psycopg.connect(login_url, autocommit=True) as attacker:
        attacker.execute("UPDATE mpesa_movements SET amount_cents = 0, journal_ordinal = 0")
    assert booked(database, vault) == []
    assert len(named(database, vault)) == 1


def test_the_work_list_says_that_a_movement_is_forged(
    login_url: str, checkout: Checkout, matcher: Matcher, database: Database, vault: Vault
) -> None:
    forge(login_url, checkout, verdict="unknown")
    genuine_one = replace(genuine(checkout), receipt="UKRGENUINE", transaction_id=None)
    matcher.ingest([genuine_one])
    forged, shown = open_cases(database, clock.now(), macs=event_macs(database), kind=Kind.MONEY_UNKNOWN)
    assert (forged.case_id, forged.money_cents) == (f"payment.{RECEIPT}", None)
    assert forged.detail == "not stored by Daftari as it is: ask M-Pesa whether it is true"
    assert (shown.case_id, shown.money_cents) == ("payment.UKRGENUINE", TOTAL_CENTS)
    movements = Movements(database, vault)
    assert movements.open_case(genuine_one.key).movement.amount_cents == TOTAL_CENTS
    with pytest.raises(Rejected, match="Ask M-Pesa") as refusal:
        movements.open_case(f"payment {RECEIPT}")
    assert refusal.value.code == "CASE_NEEDS_MORE"


def test_a_forged_payment_is_not_taken_for_an_unmatched_one(
    login_url: str, checkout: Checkout, database: Database, vault: Vault
) -> None:
    forge(login_url, checkout, verdict="unknown")
    assert Movements(database, vault).unmatched([RECEIPT]) == set()


def test_a_forged_reversal_does_not_hide_the_genuine_one(
    login_url: str, checkout: Checkout, matcher: Matcher
) -> None:
    checkout.pay(RECEIPT).order()
    with psycopg.connect(login_url, autocommit=True) as attacker:
        attacker.execute(FORGE_REVERSAL)
    reversal = Movement(
        MovementKind.REVERSAL, "UKRGENUINE", TOTAL_CENTS, clock.now(), Evidence.STATEMENT,
        money_in=False, linked_receipt=RECEIPT,
    )  # fmt: skip
    [result] = matcher.ingest([reversal])
    assert result.verdict == MatchVerdict.REVERSAL_UNEXPECTED


@pytest.mark.parametrize("verdict", ["posted", "credited", "amount_differs", "not_ours", "refund_settled"])
def test_an_unmatched_payment_that_was_marked_as_settled_is_named(
    login_url: str, checkout: Checkout, matcher: Matcher, database: Database, vault: Vault, verdict: str
) -> None:
    """It has left the work list, and its MAC does not cover what came of it."""
    matcher.ingest([replace(genuine(checkout), transaction_id=None)])
    with psycopg.connect(login_url, autocommit=True) as attacker:
        attacker.execute("UPDATE mpesa_movements SET verdict = %s", (verdict,))
    [found] = [each.detail for each in check(database, vault) if each.rule == "receipts"]
    assert found.startswith(f"receipt {RECEIPT} of M-Pesa is marked as booked, and no session has this money")
