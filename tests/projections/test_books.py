"""The books as they are, and as they were known on any day."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.application import Ledger
from ledger.errors import InvalidValue
from ledger.store.database import Database
from projections.book_formats import ENTRY_COLUMNS, csv_lines, entry_row, hledger_lines
from projections.books import (
    AccountBalance,
    Period,
    TrialBalance,
    all_entries,
    entries_of,
    period,
    trial_balance,
)
from projections.follower import Follower
from projections.journal import Journal
from projections.postings import Account
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout
from tests.support.horizon import until_readable
from tests.support.keys import event_macs, key_ring

DAY = HALF_PAST_TEN.date()
EVENING = HALF_PAST_TEN.replace(hour=20, minute=50)
"""23:50 in Nairobi: what takes ten minutes from here ends on the day after."""


def follow(database: Database) -> None:
    until_readable(database)
    Follower(database, event_macs(database), Journal(key_ring(database))).catch_up()


def closed(database: Database, day: date) -> dict[str, tuple[int, int, int, int]]:
    found = trial_balance(database, period(day, day, clock.now()))
    return {
        str(each.account): (each.opening_cents, each.debit_cents, each.credit_cents, each.closing_cents)
        for each in found.accounts
        if each.debit_cents or each.credit_cents or each.opening_cents
    }


def test_a_day_ends_at_midnight_in_nairobi(ledger: Ledger, database: Database) -> None:
    Checkout(ledger, at=EVENING).prompt().pay("NLJ7RT61SV").wait(minutes=12).order()
    follow(database)
    assert closed(database, DAY) == {
        "mpesa_clearing": (0, TOTAL_CENTS, 0, TOTAL_CENTS),
        "customer_funds": (0, 0, TOTAL_CENTS, -TOTAL_CENTS),
    }
    assert closed(database, DAY + timedelta(days=1)) == {
        "mpesa_clearing": (TOTAL_CENTS, 0, 0, TOTAL_CENTS),
        "customer_funds": (-TOTAL_CENTS, TOTAL_CENTS, 0, 0),
        "sales": (0, 0, 300_00, -300_00),
        "delivery": (0, 0, 50_00, -50_00),
    }


def test_a_close_shows_what_was_known_then(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt()
    follow(database)
    before = clock.now()
    checkout.pay("NLJ7RT61SV")
    follow(database)
    assert trial_balance(database, period(DAY, DAY, before)).entries == 0
    now = trial_balance(database, period(DAY, DAY, clock.now()))
    assert (now.entries, now.debit_cents, now.credit_cents) == (1, TOTAL_CENTS, TOTAL_CENTS)


def test_sums_of_days_come_to_what_the_entries_do_as_known_at_any_time(
    ledger: Ledger, database: Database
) -> None:
    """Late entries of past days included, and events that are posted in another order than they happened."""
    checkouts = [Checkout(ledger, at=EVENING + timedelta(days=day)).prompt() for day in (2, 0, 1)]
    for number, checkout in enumerate(checkouts):
        checkout.pay(f"NLJ7RT61S{number}")
        follow(database)
    checkouts[1].order()
    checkouts[0].wait(minutes=12).refuse_order()
    follow(database)
    with database.connection() as connection:
        known = [row["recorded_at"] for row in connection.execute("SELECT recorded_at FROM journal_entries")]
    moments = [moment + timedelta(microseconds=late) for moment in known for late in (-1, 0)]
    days = [None, *(DAY + timedelta(days=day) for day in range(-1, 5))]
    for as_of in (*moments, clock.now() + timedelta(days=1)):
        for since, until in product(days, days):
            if since is None or until is None or since <= until:
                asked = period(since, until, as_of)
                assert trial_balance(database, asked) == added_up(database, asked)


def added_up(database: Database, asked: Period) -> TrialBalance:
    """Return the trial balance as the entries alone come to it."""
    entries = all_entries(database, None, replace(asked, since=datetime(1900, 1, 1, tzinfo=UTC)))
    count, figures = 0, {account: [0, 0, 0] for account in Account}
    for entry in entries:
        debit, credit = figures[Account(entry.debit_account)], figures[Account(entry.credit_account)]
        is_before, cents, count = entry.occurred_at < asked.since, entry.amount_cents, count + 1
        debit[0 if is_before else 1] += cents
        credit[0 if is_before else 2] += -cents if is_before else cents
    return TrialBalance(asked, tuple(AccountBalance(each, *found) for each, found in figures.items()), count)


def test_an_account_is_read_in_pages_and_whole(ledger: Ledger, database: Database) -> None:
    Checkout(ledger).prompt().pay("NLJ7RT61SV").order()
    Checkout(ledger).prompt().pay("NLJ7RT61SW").refuse_order()
    follow(database)
    everything = period(None, None, clock.now())
    held = list(all_entries(database, Account.CUSTOMER_FUNDS, everything))
    assert [entry.what for entry in held] == ["Paid", "OrderCreated", "OrderCreated", "Paid", "RefundDue"]
    first = entries_of(database, Account.CUSTOMER_FUNDS, everything, after=0, limit=2)
    rest = entries_of(database, Account.CUSTOMER_FUNDS, everything, after=first[-1].entry_id, limit=9)
    assert first + rest == held
    assert len(list(all_entries(database, None, everything))) == 5


@pytest.mark.parametrize(("since", "until"), [(DAY, DAY - timedelta(days=1)), (None, date.max)])
def test_a_period_that_is_none_is_refused(since: date | None, until: date) -> None:
    with pytest.raises(InvalidValue):
        period(since, until, clock.now())


def test_the_files_say_what_the_books_say(ledger: Ledger, database: Database) -> None:
    with freeze_time(EVENING):
        Checkout(ledger, at=EVENING).prompt().pay("=NLJ7RT61SV")
    follow(database)
    entries = list(all_entries(database, None, period(None, None, clock.now() + timedelta(days=1))))
    head, row = csv_lines(ENTRY_COLUMNS, map(entry_row, entries))
    assert head.startswith("entry_id,day,")
    assert row.startswith("1,2024-01-15,")
    assert ",mpesa_clearing,customer_funds,350.00,'=NLJ7RT61SV," in row
    [_, below] = csv_lines(("amount", "text"), [("-350.00", "-350.00 KES")])
    assert below == "-350.00,'-350.00 KES\r\n"
    journal = "".join(hledger_lines(entries))
    assert f"2024-01-15 (1) Paid  ; receipt:_NLJ7RT61SV, session:{entries[0].session_id}\n" in journal
    assert journal.endswith(
        "    assets:M-Pesa clearing  KES 350.00\n    liabilities:Customer funds held  KES -350.00\n"
    )
