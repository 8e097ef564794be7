"""The organisation statement: the CSV that the M-Pesa portal exports, read as typed rows or refused with a reason.

Its form is not documented; what is tolerated here is what unrelated importers met between 2017 and 2026. A file is
read whole or refused: a row that cannot be read, or a running balance that breaks, means that something is missing,
and then nothing in the file may be relied on.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from daraja.daraja_errors import DarajaError
from daraja.eat import parse_transaction_date
from daraja.running_balance import Step, broken_at
from daraja.untrusted import written_cents

MAX_BYTES = 64 << 20
MAX_ROWS = 1_000_000
MAX_PREAMBLE_ROWS = 50

_REQUIRED = ("receiptno", "completiontime", "transactionstatus", "paidin", "withdrawn", "balance")
_OPTIONAL = ("details", "reasontype", "linkedtransactionid", "acno")
_RECEIPT = re.compile(r"[A-Z0-9]{6,40}")
_TIME = re.compile(
    r"(?:([0-9]{2})-([0-9]{2})-([0-9]{4})|([0-9]{4})-([0-9]{2})-([0-9]{2})) +([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?"
)
_ACCOUNT_IN_DETAILS = re.compile(r"\bAcc\.? +([^\s,;]{1,40})", re.IGNORECASE)
_SHORTCODE_LABEL = re.compile(r"short ?code|paybill|till number|organi[sz]ation id", re.IGNORECASE)
_SHORTCODE = re.compile(r"(?<![0-9])[0-9]{5,7}(?![0-9])")
_MAX_CELL = 300
_COMPLETED = "completed"


class StatementError(DarajaError):
    """A file that is no statement or an incomplete one. `reason` is a stable slug, `row` if one is at fault.

    Reasons: `too_large`, `not_a_statement`, `unreadable_row`, `broken_balance`. Rows are counted as a spreadsheet
    counts them, from 1. The message repeats nothing of the file but amounts and row numbers.
    """

    def __init__(self, reason: str, message: str, row: int | None = None) -> None:
        super().__init__("STATEMENT_REFUSED", message)
        self.args = (reason, message, row)
        self.reason = reason
        self.row = row


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One row. Amounts are cents and never negative; `completed_at` is aware UTC; `number` is the row in the file.

    `reference` is the account number that the payer typed or we pushed, `details` and `reason_type` are M-Pesa's
    words: all three are untrusted text, to be used as data only. `linked_receipt` ties a reversal or a charge to
    the transaction it belongs to.
    """

    number: int
    receipt: str
    completed_at: datetime
    status: str
    paid_in_cents: int
    withdrawn_cents: int
    balance_cents: int
    reason_type: str
    linked_receipt: str | None
    details: str = field(repr=False)
    reference: str = field(repr=False)

    @property
    def is_completed(self) -> bool:
        """Whether the row moved money; Failed, Cancelled, Declined and all others did not."""
        return self.status.lower() == _COMPLETED


@dataclass(frozen=True, slots=True)
class Statement:
    """A complete statement: every row readable, the running balance unbroken. Rows are in the file's order."""

    rows: tuple[StatementRow, ...]
    shortcode: str | None

    @property
    def completed(self) -> list[StatementRow]:
        """The rows that moved money."""
        return [row for row in self.rows if row.is_completed]


def parse_statement(content: bytes) -> Statement:
    """Read an exported statement; raise StatementError, and nothing else, if it cannot be relied on.

    `shortcode` is the one that the preamble names, or None. UTF-8 with or without a byte order mark and Windows-1252
    are understood; commas, semicolons and tabs separate cells.
    """
    if len(content) > MAX_BYTES:
        raise StatementError(
            "too_large", f"This file is larger than {MAX_BYTES >> 20} MiB. Export a shorter period."
        )
    text = _decode(content)
    header_at, columns, separator, preamble = _find_header(text)
    rows = tuple(_rows(text, separator, header_at, columns))
    _refuse_broken_balance([row for row in rows if row.is_completed])
    return Statement(rows, _shortcode_of(preamble))


def _decode(content: bytes) -> str:
    if b"\0" in content:
        raise _not_a_statement()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _find_header(text: str) -> tuple[int, dict[str, int], str, list[list[str]]]:
    """Return the row of the header, its columns by name, the separator, and the rows before it."""
    for separator in (",", ";", "\t"):
        preamble: list[list[str]] = []
        try:
            for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=separator), 1):
                columns = _columns(cells)
                if all(name in columns for name in _REQUIRED):
                    return number, columns, separator, preamble
                preamble.append(cells)
                if number > MAX_PREAMBLE_ROWS:
                    break
        except csv.Error:
            continue
    raise _not_a_statement()


def _columns(cells: Sequence[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for index, cell in enumerate(cells):
        name = re.sub(r"[^a-z]", "", cell.lower())
        if name in _REQUIRED + _OPTIONAL:
            if name in columns:
                raise StatementError(
                    "not_a_statement",
                    "The header names a column twice. Export the statement again, unedited.",
                )
            columns[name] = index
    return columns


def _rows(text: str, separator: str, header_at: int, columns: dict[str, int]) -> Iterator[StatementRow]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number = 0
    try:
        for number, cells in enumerate(reader, 1):
            if number > header_at + MAX_ROWS:
                raise StatementError(
                    "too_large", f"This file has more than {MAX_ROWS} rows. Export a shorter period."
                )
            if number > header_at and any(cell.strip() for cell in cells):
                row = _row(number, _Cells(cells, columns, number))
                if row is not None:
                    yield row
    except csv.Error:
        raise _unreadable(number + 1, "its quotes do not match, as where a file was cut off") from None


class _Cells:
    """The cells of one row by the name of their column."""

    def __init__(self, cells: Sequence[str], columns: dict[str, int], number: int) -> None:
        self._cells = cells
        self._columns = columns
        self._number = number

    @property
    def are_cut_short(self) -> bool:
        return len(self._cells) <= max(self._columns.values())

    def text(self, name: str) -> str:
        index = self._columns.get(name)
        if index is None or index >= len(self._cells):
            return ""
        return self._cells[index].replace("\u00a0", " ").strip()[:_MAX_CELL]

    def receipt(self, name: str) -> str | None:
        """A receipt, also as spreadsheets write it to keep it text: ="UKF7Q2X9LM" or 'UKF7Q2X9LM."""
        text = self.text(name).lstrip("='").strip('" ').upper()
        return text if _RECEIPT.fullmatch(text) else None

    def cents(self, name: str) -> int:
        """An amount as cents, with its sign; an empty cell and a dash are zero."""
        text = self.text(name)
        cents = 0 if text in ("", "-") else written_cents(text)
        if cents is None:
            raise _unreadable(self._number, "an amount in it is not a plain number such as 1,350.00")
        return cents

    def moment(self, name: str) -> datetime:
        """A time in EAT, in either form, as aware UTC."""
        match = _TIME.fullmatch(self.text(name))
        if match:
            day, month, year, other_year, other_month, other_day, hour, minute, second = match.groups()
            date = f"{year}{month}{day}" if year else f"{other_year}{other_month}{other_day}"
            try:
                return parse_transaction_date(f"{date}{hour}{minute}{second or '00'}")
            except ValueError:
                pass
        raise _unreadable(
            self._number, "its completion time is neither DD-MM-YYYY nor YYYY-MM-DD with a time"
        )


def _row(number: int, cells: _Cells) -> StatementRow | None:
    """Read one row; None if it is no transaction, such as a line of totals."""
    if not any(cells.text(name) for name in ("receiptno", "completiontime", "transactionstatus")):
        return None
    if cells.are_cut_short:
        raise _unreadable(number, "it ends before its last column, as where a file was cut off")
    status = cells.text("transactionstatus")
    receipt = cells.receipt("receiptno")
    if receipt is None or not status:
        raise _unreadable(number, "it has no receipt or no transaction status")
    if status.lower() == _COMPLETED and not cells.text("balance"):
        raise _unreadable(number, "it moved money and has no balance")
    paid_in, withdrawn = cells.cents("paidin"), abs(cells.cents("withdrawn"))
    if paid_in < 0 or (paid_in and withdrawn):
        raise _unreadable(number, "it is paid in and withdrawn at once")
    return StatementRow(
        number=number,
        receipt=receipt,
        completed_at=cells.moment("completiontime"),
        status=status,
        paid_in_cents=paid_in,
        withdrawn_cents=withdrawn,
        balance_cents=cells.cents("balance"),
        reason_type=cells.text("reasontype"),
        linked_receipt=cells.receipt("linkedtransactionid"),
        details=cells.text("details"),
        reference=cells.text("acno") or _account_in(cells.text("details")),
    )


def _account_in(details: str) -> str:
    match = _ACCOUNT_IN_DETAILS.search(details)
    return match[1] if match else ""


def _refuse_broken_balance(rows: Sequence[StatementRow]) -> None:
    broken = broken_at(
        [
            Step(row.number, row.completed_at, row.paid_in_cents - row.withdrawn_cents, row.balance_cents)
            for row in rows
        ]
    )
    if broken is not None:
        raise StatementError(
            "broken_balance",
            f"The running balance breaks at row {broken.number}: it should be {_shillings(broken.expected_cents)} "
            f"there, and is {_shillings(broken.found_cents)}. Rows are missing or altered; export the statement again.",
            broken.number,
        )


def _shillings(cents: int) -> str:
    return f"{Decimal(cents) / 100:,.2f}"


def _shortcode_of(preamble: Sequence[Sequence[str]]) -> str | None:
    """The shortcode that a preamble row names beside a label such as "Short Code:", or None."""
    for cells in preamble:
        line = " ".join(cells)
        label = _SHORTCODE_LABEL.search(line)
        named = _SHORTCODE.search(line, label.end()) if label else None
        if named:
            return named[0]
    return None


def _not_a_statement() -> StatementError:
    return StatementError(
        "not_a_statement",
        "This is not an organisation statement: no row names the columns Receipt No., Completion Time, Transaction "
        "Status, Paid In, Withdrawn and Balance. Export it from the M-Pesa organisation portal as CSV.",
    )


def _unreadable(number: int, why: str) -> StatementError:
    return StatementError(
        "unreadable_row", f"Row {number} cannot be read: {why}. Export the statement again, unedited.", number
    )
