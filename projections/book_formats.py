"""The books as files: CSV for spreadsheets, and a journal that hledger and its kin read."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from ledger.clock import NAIROBI
from ledger.money import Money
from projections.books import AccountBalance, JournalEntry
from projections.export.event_formats import plain_cell
from projections.postings import CHART, Account

ENTRY_COLUMNS = (
    "entry_id",
    "day",
    "occurred_at",
    "recorded_at",
    "what",
    "debit_account",
    "credit_account",
    "amount",
    "receipt",
    "session_id",
    "position",
    "movement",
)
BALANCE_COLUMNS = ("account", "title", "opening", "debits", "credits", "closing_debit", "closing_credit")
_AMOUNT = re.compile(r"-?[0-9]+\.[0-9]{2}")
_NO_TAG = re.compile(r"[^A-Za-z0-9_-]")


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield the lines of a CSV file, each with its end; no cell is taken for a formula."""
    for row in chain([columns], rows):
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(map(_cell, row))
        yield line.getvalue()


def entry_row(entry: JournalEntry) -> tuple[Any, ...]:
    """Return the cells of an entry in the order of ENTRY_COLUMNS; its amount is in shillings."""
    return (
        entry.entry_id,
        entry.occurred_at.astimezone(NAIROBI).date(),
        entry.occurred_at.isoformat(),
        entry.recorded_at.isoformat(),
        entry.what,
        entry.debit_account,
        entry.credit_account,
        shillings(entry.amount_cents),
        entry.receipt,
        entry.session_id,
        entry.position,
        entry.movement,
    )


def balance_row(balance: AccountBalance) -> tuple[str, ...]:
    """Return the cells of an account in the order of BALANCE_COLUMNS; amounts are in shillings."""
    figures = (
        balance.opening_cents,
        balance.debit_cents,
        balance.credit_cents,
        balance.closing_debit_cents,
        balance.closing_credit_cents,
    )
    return (str(balance.account), balance.title, *map(shillings, figures))


def hledger_lines(entries: Iterable[JournalEntry]) -> Iterator[str]:
    """Yield a journal for hledger, each line with its end: the accounts, then a transaction for each entry.

    Its date is Nairobi's day, its code the number of the entry; receipt and session are tags.
    """
    yield "commodity KES 1,000.00\n"
    for account in Account:
        yield f"account {account_name(account)}\n"
    for entry in entries:
        yield from _transaction(entry)


def account_name(account: Account) -> str:
    """Return the account's name in hledger: its group, then its title."""
    facts = CHART[account]
    return f"{facts.group}:{facts.title}"


def shillings(cents: int) -> str:
    """Return an amount with its cents, without a sign for thousands."""
    return f"{Money(cents).as_decimal():.2f}"


def _cell(value: Any) -> Any:
    """Return a cell that is no formula; an amount below zero is none, though it begins like one."""
    return plain_cell(value) if isinstance(value, str) and not _AMOUNT.fullmatch(value) else value


def _transaction(entry: JournalEntry) -> Iterator[str]:
    day, amount = entry.occurred_at.astimezone(NAIROBI).date(), shillings(entry.amount_cents)
    tags = {"receipt": entry.receipt, "session": entry.session_id}
    shown = ", ".join(f"{name}:{_NO_TAG.sub('_', str(value))}" for name, value in tags.items() if value)
    yield f"\n{day} ({entry.entry_id}) {entry.what}{f'  ; {shown}' if shown else ''}\n"
    yield f"    {account_name(Account(entry.debit_account))}  KES {amount}\n"
    yield f"    {account_name(Account(entry.credit_account))}  KES -{amount}\n"
