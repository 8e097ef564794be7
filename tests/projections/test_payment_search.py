"""The follower that lets auditors find payments, and the blind index of phones, which an erasure empties."""

from threading import Thread
from uuid import UUID

import psycopg
import pytest

from ledger.application import Ledger
from ledger.session.values import Status
from ledger.store.database import Database
from ledger.store.vault import PHONE, Vault
from projections import payment_search
from projections.follower import Follower
from projections.integrity import invariants
from projections.log_pages import LogFilters, read_log
from projections.payment_filters import Filters
from projections.payment_search import PaymentSearch, find_payments, sessions_named
from projections.refunds import PaymentRefunds
from tests.support.checkouts import HALF_PAST_TEN, Checkout, one_of_every_kind
from tests.support.erasures import erase
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs

MINE, OTHERS = "254712345678", "254722000111"
PHONES = "SELECT count(*) AS count FROM payment_phones"


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


def follow(database: Database, vault: Vault) -> None:
    until_readable(database)
    Follower(database, event_macs(database), PaymentSearch(vault), batch_size=7).catch_up()


def with_phone(ledger: Ledger, vault: Vault, phone: str = MINE, user_id: int = 7) -> Checkout:
    checkout = Checkout(ledger, user_id=user_id)
    sealed = vault.encrypt(user_id, phone, purpose=PHONE, row=checkout.session_id)
    return checkout.request(sealed)


def found(database: Database, vault: Vault, phone: str) -> list[UUID]:
    rows, _ = find_payments(
        database, vault, Filters(phone=phone), after=None, limit=100, now=HALF_PAST_TEN.replace(year=2030)
    )
    return [row.session_id for row in rows]


def violations(database: Database) -> list[str]:
    return [each.detail for each in invariants.check(database) if each.rule == "search"]


def test_the_rows_are_those_of_the_sessions_and_a_change_of_one_is_found(
    ledger: Ledger, database: Database, database_url: str, vault: Vault
) -> None:
    one_of_every_kind(ledger)
    follow(database, vault)
    columns = ", ".join(payment_search.SEARCHED)
    with database.connection() as connection:
        kept = connection.execute(
            f"SELECT {columns} FROM payment_search ORDER BY session_id".encode()
        ).fetchall()
        held = connection.execute(
            f"SELECT {columns} FROM payment_sessions ORDER BY session_id".encode()
        ).fetchall()
    assert kept == held != []
    assert violations(database) == []
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("UPDATE payment_search SET total_cents = 1 WHERE session_status = 'paid'")
        owner.execute("DELETE FROM payment_search WHERE session_status = 'failed'")
    assert set(violations(database)) == {"its row in payment_search is not what payment_sessions says"}


def test_pages_of_combined_filters_leave_nothing_out(
    ledger: Ledger, database: Database, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_of_every_kind(ledger)
    follow(database, vault)
    monkeypatch.setattr(payment_search, "MAX_WALKED", 5)
    filters = Filters(status=Status.FAILED, amount_cents=350_00, day=HALF_PAST_TEN.date())
    seen, after = [], None
    for _ in range(100):
        rows, after = find_payments(
            database, vault, filters, after=after, limit=2, now=HALF_PAST_TEN.replace(year=2030)
        )
        seen += [row.session_id for row in rows]
        if after is None:
            break
    with database.connection() as connection:
        wanted = connection.execute(
            "SELECT session_id FROM payment_sessions WHERE session_status = 'failed' AND total_cents = 35000"
        ).fetchall()
    assert len(seen) == len(set(seen))
    assert set(seen) == {row["session_id"] for row in wanted}


def test_a_phone_leads_to_its_payments_until_its_owner_is_erased_and_never_again(
    ledger: Ledger, database: Database, vault: Vault
) -> None:
    mine, theirs = with_phone(ledger, vault), with_phone(ledger, vault, user_id=8)
    follow(database, vault)
    assert set(found(database, vault, MINE)) == {mine.session_id, theirs.session_id}
    assert found(database, vault, OTHERS) == []

    erase(database, vault, 7)
    with database.connection() as connection:
        connection.execute("SELECT index_phones(%s, %s)", ([mine.session_id], [bytes(32)]))
        assert connection.execute(PHONES).fetchone() == {"count": 1}
    assert found(database, vault, MINE) == [theirs.session_id]


def test_an_erasure_waits_for_what_is_being_indexed_and_deletes_it(
    ledger: Ledger, database: Database, vault: Vault
) -> None:
    mine = with_phone(ledger, vault)
    eraser = Thread(target=erase, args=(database, vault, 7))
    with database.transaction() as connection:
        connection.execute("SELECT index_phones(%s, %s)", ([mine.session_id], [bytes(32)]))
        eraser.start()
    eraser.join()
    with database.connection() as connection:
        assert connection.execute(PHONES).fetchone() == {"count": 0}


def test_a_phone_that_cannot_be_read_stops_nothing(ledger: Ledger, database: Database, vault: Vault) -> None:
    Checkout(ledger).request("v2.rubbish")
    later = with_phone(ledger, vault)
    follow(database, vault)
    assert found(database, vault, MINE) == [later.session_id]


def test_a_payment_is_named_by_receipt_and_by_order_number(
    ledger: Ledger, database: Database, vault: Vault
) -> None:
    checkout = Checkout(ledger).prompt().pay("UKG7Q2X9LM").order(789)
    assert ledger.reserve_receipt("UKG7Q2X9LM", checkout.session_id)
    follow(database, vault)
    session = ledger.session(checkout.session_id)
    assert session.order is not None
    number = session.order[1]
    for text in ("UKG7Q2X9LM", "ukg7q2x9lm", number, number.lower(), number.capitalize()):
        assert sessions_named(database, text) == [checkout.session_id]
    assert sessions_named(database, "' OR true --") == []


def test_an_order_number_of_any_shop_is_found_in_any_letter_case(
    ledger: Ledger, database: Database, vault: Vault
) -> None:
    checkout = Checkout(ledger).prompt().pay("UKG7Q2X9LM")
    ledger.decide(
        checkout.session_id,
        lambda session: session.record_order(order_id=None, order_number="Inv-7a", at=checkout.at),
    )
    Checkout(ledger).prompt().pay("UKG7Q2X9LN").order(7)
    follow(database, vault)
    end = HALF_PAST_TEN.replace(year=2030)
    for text in ("Inv-7a", "INV-7A", "inv-7a"):
        assert sessions_named(database, text) == [checkout.session_id]
        for filters in (Filters(order_number=text), Filters(order_number=text, user_id=7)):
            [row], _ = find_payments(database, vault, filters, after=None, limit=9, now=end)
            assert row.session_id == checkout.session_id
            assert row.fits(filters)


def test_a_payment_is_found_by_the_receipt_of_its_reversal_in_any_spelling(
    ledger: Ledger, database: Database, vault: Vault
) -> None:
    checkout = Checkout(ledger).prompt().pay("UKG7Q2X9LM").refuse_order().request_refund().refund()
    until_readable(database)
    Follower(database, event_macs(database), PaymentRefunds()).catch_up()
    end = HALF_PAST_TEN.replace(year=2030)
    for text in ("NLJ0REVERSE", "nlj0reverse"):
        assert sessions_named(database, text) == [checkout.session_id]
        rows, _ = find_payments(database, vault, Filters(receipt=text), after=None, limit=9, now=end)
        assert [row.session_id for row in rows] == [checkout.session_id]
        page = read_log(database, event_macs(database), LogFilters(receipt=text), {}, 100)
        assert {entry.session_id for entry in page.entries} == {checkout.session_id}
