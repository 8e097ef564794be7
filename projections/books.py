"""Reading the books: trial balance, daily close and account statements, as they were known at any time.

Two times count. A day is Nairobi's, of when money moved; `recorded_as_of` is when Daftari knew of it. So a day that was
closed can be read as it was closed, and as it is known now.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from psycopg import Connection

from ledger.clock import DAY_YEARS, OUT_OF_CALENDAR, start_of_day
from ledger.errors import InvalidValue
from ledger.store.database import Database
from projections.journal import COLUMNS, DAYS_TABLE, TABLE
from projections.postings import CHART, Account, Entry

START_OF_TIME = start_of_day(date(1970, 1, 1))

# A period is of whole days. A day of which all entries were known at the time is its sum; of a day that got some of its
# entries later, the entries themselves are read.
SUMS = f"""
WITH kept AS (
    SELECT (day - interval '3 hours') AT TIME ZONE 'UTC' AS begins_at, debit_account, credit_account, entries,
           amount_cents, first_recorded_at, max(last_recorded_at) OVER (PARTITION BY day) <= %(as_of)s AS is_known_whole
    FROM {DAYS_TABLE}
), known AS (
    SELECT begins_at, debit_account, credit_account, entries, amount_cents FROM kept WHERE is_known_whole
    UNION ALL
    SELECT begins_at, entry.debit_account, entry.credit_account, 1, entry.amount_cents
    FROM (SELECT DISTINCT begins_at FROM kept
          WHERE NOT is_known_whole AND first_recorded_at <= %(as_of)s AND begins_at < %(until)s) AS changed
    JOIN {TABLE} AS entry ON entry.occurred_at >= begins_at AND entry.occurred_at < begins_at + interval '1 day'
    WHERE entry.recorded_at <= %(as_of)s
)
SELECT debit_account, credit_account, sum(entries)::bigint AS entries,
       coalesce(sum(amount_cents) FILTER (WHERE begins_at < %(since)s), 0)::bigint AS before_cents,
       coalesce(sum(amount_cents) FILTER (WHERE begins_at >= %(since)s), 0)::bigint AS cents
FROM known WHERE begins_at < %(until)s GROUP BY debit_account, credit_account
"""  # noqa: S608 - made of names of our own
_NAMES = ", ".join(("entry_id", *COLUMNS))
_OF_PERIOD = "occurred_at >= %(since)s AND occurred_at < %(until)s AND recorded_at <= %(as_of)s"
# An entry has an account on one side only, so none comes twice.
ENTRIES_OF_ACCOUNT = f"""
SELECT {_NAMES} FROM (
    (SELECT * FROM {TABLE} WHERE debit_account = %(account)s AND entry_id > %(after)s AND {_OF_PERIOD}
     ORDER BY entry_id LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM {TABLE} WHERE credit_account = %(account)s AND entry_id > %(after)s AND {_OF_PERIOD}
     ORDER BY entry_id LIMIT %(limit)s)
) AS sides ORDER BY entry_id LIMIT %(limit)s
"""  # noqa: S608 - as above
ENTRIES = f"""
SELECT {_NAMES} FROM {TABLE} WHERE entry_id > %(after)s AND {_OF_PERIOD} ORDER BY entry_id LIMIT %(limit)s
"""  # noqa: S608 - as above

ENTRIES_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Period:
    """Entries of money that moved from `since` to before `until`, as far as they were recorded by `as_of`."""

    since: datetime
    until: datetime
    as_of: datetime

    @property
    def values(self) -> dict[str, Any]:
        """The values of the statements of this file."""
        return {"since": self.since, "until": self.until, "as_of": self.as_of}


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """An account over a period, in cents: what it was before, what was debited and credited, what it is at the end.

    Balances are debits less credits, so they are negative for what is owed or earned.
    """

    account: Account
    opening_cents: int
    debit_cents: int
    credit_cents: int

    @property
    def closing_cents(self) -> int:
        """The balance at the end, debits less credits."""
        return self.opening_cents + self.debit_cents - self.credit_cents

    @property
    def title(self) -> str:
        """The account's name as an accountant reads it."""
        return CHART[self.account].title

    @property
    def closing_debit_cents(self) -> int:
        """The balance at the end, if it stands on the debit side; else 0."""
        return max(0, self.closing_cents)

    @property
    def closing_credit_cents(self) -> int:
        """The balance at the end, if it stands on the credit side; else 0."""
        return max(0, -self.closing_cents)


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """Every account over a period, and over how many entries; what is debited is credited, to the cent."""

    period: Period
    accounts: tuple[AccountBalance, ...]
    entries: int

    @property
    def debit_cents(self) -> int:
        """The sum of the balances on the debit side; the same as `credit_cents`."""
        return sum(each.closing_debit_cents for each in self.accounts)

    @property
    def credit_cents(self) -> int:
        """The sum of the balances on the credit side."""
        return sum(each.closing_credit_cents for each in self.accounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry(Entry):
    """One row of the journal with its number."""

    entry_id: int


def period(since: date | None, until: date | None, as_of: datetime) -> Period:
    """Return the period from the day `since` to the day `until`, both whole and Nairobi's, None being without end.

    Raises InvalidValue if it is empty or out of the calendar.
    """
    if any(day is not None and day.year not in DAY_YEARS for day in (since, until)):
        raise InvalidValue(OUT_OF_CALENDAR)
    begin = start_of_day(since) if since else START_OF_TIME
    end = start_of_day(until + timedelta(days=1)) if until else datetime.max.replace(tzinfo=UTC)
    if begin >= end:
        raise InvalidValue("The period is empty. Choose a `since` that is no later than `until`.")
    return Period(begin, end, as_of)


def trial_balance(database: Database, period: Period) -> TrialBalance:
    """Return every account, also those without entries, over a period."""
    with database.connection() as connection:
        rows = connection.execute(SUMS.encode(), period.values).fetchall()
    return TrialBalance(period, tuple(_balances(rows)), sum(row["entries"] for row in rows))


def _balances(rows: Iterable[dict[str, Any]]) -> Iterator[AccountBalance]:
    figures = {account: [0, 0, 0] for account in Account}
    for row in rows:
        debit, credit = figures[Account(row["debit_account"])], figures[Account(row["credit_account"])]
        debit[0] += row["before_cents"]
        credit[0] -= row["before_cents"]
        debit[1] += row["cents"]
        credit[2] += row["cents"]
    for account, (opening, debits, credits_) in figures.items():
        yield AccountBalance(account, opening, debits, credits_)


def entries_of(
    database: Database, account: Account | None, period: Period, *, after: int, limit: int
) -> list[JournalEntry]:
    """Return up to `limit` entries of a period with higher numbers than `after`, in order: of an account, or all."""
    with database.connection() as connection:
        return _read(connection, account, period, after, limit)


def all_entries(database: Database, account: Account | None, period: Period) -> Iterator[JournalEntry]:
    """Yield the entries of a period in order, some thousand in memory at a time."""
    after = 0
    while page := entries_of(database, account, period, after=after, limit=ENTRIES_AT_ONCE):
        yield from page
        after = page[-1].entry_id


def _read(
    connection: Connection[Any], account: Account | None, period: Period, after: int, limit: int
) -> list[JournalEntry]:
    statement = ENTRIES if account is None else ENTRIES_OF_ACCOUNT
    values = period.values | {"account": account, "after": after, "limit": limit}
    return [JournalEntry(**row) for row in connection.execute(statement.encode(), values)]
