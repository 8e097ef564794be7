"""`daftari books`: trial balance, daily close, statement of an account, tie to M-Pesa's statements, and exports."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ledger.store.database import Database
    from ledger.store.key_ring import KeyRing
    from projections.books import Period, TrialBalance

DIFFERENCE_COLUMNS = ("receipt", "kind", "happened_at", "booked", "reported", "session_id")
DIFFERENCES_LEFT = 5

DAY = click.DateTime(["%Y-%m-%d"])
MOMENT = click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"])

_since = click.option("--from", "since", type=DAY, help="Money that moved from this day on, in Nairobi.")
_until = click.option("--to", "until", type=DAY, help="Money that moved until the end of this day.")
_as_of = click.option(
    "--recorded-as-of",
    type=MOMENT,
    help="By what was recorded until then: 2026-11-27T18:00:00+0300, or until a day began in Nairobi.",
)
_form = click.option(
    "--format", "form", type=click.Choice(["text", "csv", "json"]), default="text", show_default=True
)


@click.group(short_help="Read the books: balances, daily close, accounts, exports.")
def books() -> None:
    """Read the double-entry books. docs/books.md says which event debits and credits which account.

    A day is Nairobi's and counts by when money moved. The worker posts within seconds of an event.

    \b
    Examples
      daftari books trial-balance
      daftari books close 2026-11-27
      daftari books account mpesa_clearing --from 2026-11-01 --to 2026-11-30 --format csv
      daftari books receipts
      daftari books export --format hledger > books.journal
    """


@books.command(name="trial-balance", short_help="Print every account and its balance.")
@_since
@_until
@_as_of
@_form
def trial_balance(
    since: datetime | None, until: datetime | None, recorded_as_of: datetime | None, form: str
) -> None:
    """Print every account over a period, by default from the start until now."""
    from projections import books as reading

    with _opened(since, until, recorded_as_of) as (database, period, _):
        _print_balance(reading.trial_balance(database, period), form)


@books.command(short_help="Print the close of a day.")
@click.argument("day", type=DAY)
@_as_of
@_form
def close(day: datetime, recorded_as_of: datetime | None, form: str) -> None:
    """Print each account before DAY, what moved on it, and at its end; as it was known at a time, if that is given."""
    from projections import books as reading

    with _opened(day, day, recorded_as_of) as (database, period, _):
        _print_balance(reading.trial_balance(database, period), form)


@books.command(short_help="Print the entries of an account.")
@click.argument("name")
@_since
@_until
@_as_of
@_form
def account(
    name: str, since: datetime | None, until: datetime | None, recorded_as_of: datetime | None, form: str
) -> None:
    """Print the entries of the account NAME, such as mpesa_clearing, in the order in which they were posted."""
    from projections import book_formats
    from projections import books as reading
    from projections.postings import Account

    if name not in list(Account):
        raise click.BadParameter(
            f"{name!r} is no account. Choose one of: {', '.join(Account)}.", param_hint="NAME"
        )
    with _opened(since, until, recorded_as_of) as (database, period, _):
        entries = reading.all_entries(database, Account(name), period)
        _print_rows(book_formats.ENTRY_COLUMNS, map(book_formats.entry_row, entries), form)


@books.command(short_help="List receipts that the books and M-Pesa's statements do not agree about.")
@_since
@_until
@_form
@click.pass_context
def receipts(context: click.Context, since: datetime | None, until: datetime | None, form: str) -> None:
    """List each receipt that is in the books and in no imported statement, or in a statement and not in the books.

    Receipts whose sums differ are listed too. The exit code is 5 if there are any, 0 if all tie.
    """
    with _opened(since, until) as (database, period, keys):
        rows = list(_differences(database, keys, period))
    _print_rows(DIFFERENCE_COLUMNS, rows, form)
    if rows:
        context.exit(DIFFERENCES_LEFT)


@books.command(short_help="Write the journal for hledger, or as CSV.")
@_since
@_until
@_as_of
@click.option("--format", "form", type=click.Choice(["hledger", "csv"]), default="hledger", show_default=True)
def export(
    since: datetime | None, until: datetime | None, recorded_as_of: datetime | None, form: str
) -> None:
    """Write every entry of a period to standard output, with flat memory."""
    from projections import book_formats
    from projections import books as reading

    with _opened(since, until, recorded_as_of) as (database, period, _):
        entries = reading.all_entries(database, None, period)
        if form == "csv":
            _print_rows(book_formats.ENTRY_COLUMNS, map(book_formats.entry_row, entries), form)
        else:
            _write(book_formats.hledger_lines(entries))


@contextmanager
def _opened(
    since: datetime | None, until: datetime | None, recorded_as_of: datetime | None = None
) -> Iterator[tuple["Database", "Period", "KeyRing"]]:
    """Open the database, and say which period is asked for. Raises UsageError if there is none such."""
    from api.cli.opened import open_database
    from ledger import clock
    from ledger.errors import InvalidValue
    from ledger.store.vault import Vault
    from projections.books import period

    as_of = recorded_as_of or clock.now()
    if as_of.tzinfo is None:
        as_of = clock.start_of_day(as_of.date())
    begin, end = (day and day.date() for day in (since, until))
    try:
        asked = period(begin, end, as_of)
    except InvalidValue as error:
        raise click.UsageError(error.message) from error
    with open_database() as (settings, database):
        yield database, asked, Vault(database, settings.daftari_master_key).keys


def _print_balance(found: "TrialBalance", form: str) -> None:
    from projections.book_formats import BALANCE_COLUMNS, balance_row, shillings

    rows = map(balance_row, found.accounts)
    total = ("total", "Total", "", "", "", shillings(found.debit_cents), shillings(found.credit_cents))
    _print_rows(BALANCE_COLUMNS, [*rows, total], form)


def _differences(database: "Database", keys: "KeyRing", period: "Period") -> Iterator[tuple[Any, ...]]:
    from projections.book_formats import shillings
    from projections.booked_receipts import receipt_differences

    for each in receipt_differences(database, keys, period)[0]:
        amounts = (each.booked_cents, each.reported_cents)
        booked, reported = (None if cents is None else shillings(cents) for cents in amounts)
        yield each.receipt, str(each.kind), each.happened_at.isoformat(), booked, reported, each.session_id


def _print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: str) -> None:
    from projections.book_formats import csv_lines

    if form == "csv":
        _write(csv_lines(columns, rows))
    elif form == "json":
        for row in rows:
            click.echo(json.dumps(dict(zip(columns, row, strict=True)), default=str))
    else:
        for row in (columns, *rows):
            click.echo("\t".join("" if cell is None else str(cell) for cell in row))


def _write(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line, nl=False)
