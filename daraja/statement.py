"""The organisation statement: the CSV that the M-Pesa portal exports, read as typed rows or refused with a reason.

Its form is not documented; what is tolerated here is what unrelated importers met between 2017 and 2026, and what a
spreadsheet makes of a file. A file is read whole or refused: a row that cannot be read, or a running balance that
breaks, means that something is missing, and then nothing in the file may be relied on.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from daraja.running_balance import Step, broken_at
from daraja.statement_cells import Forms, columns_of, forms_of, receipt_in
from daraja.statement_text import (
    MAX_BYTES,
    StatementError,
    decode,
    lines_of,
    not_a_statement,
    rows_of,
    unreadable,
)
from daraja.untrusted import CUT_MARK

__all__ = ["MAX_BYTES", "Statement", "StatementError", "StatementRow", "parse_statement"]

MAX_PREAMBLE_ROWS = 50

_ACCOUNT_IN_DETAILS = re.compile(
    r"(?:\bacc(?:ount)?|\ba/c)\b\.?(?: *(?:no|number)\b\.?)?[ :]+([^\s,;]{1,40})", re.IGNORECASE
)
_SHORTCODE_LABEL = re.compile(r"short ?code|paybill|till number|organi[sz]ation id", re.IGNORECASE)
_SHORTCODE = re.compile(r"(?<![0-9])[0-9]{5,7}(?![0-9])")
_TOTALS = re.compile(r"^(?:grand )?totals?\b", re.IGNORECASE)
_SUMMARY = re.compile(r"total|balance|brought forward|carried forward", re.IGNORECASE)
_MAX_CELL = 300
_COMPLETED = "completed"
_BOOKING = ("receipt", "time", "status")

_Rows = Callable[[str, str], Iterator[tuple[int, list[str]]]]


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

    `shortcode` is the one that the preamble names, or None. UTF-8, UTF-16 with a byte order mark and Windows-1252 are
    understood; commas, semicolons and tabs separate cells. Columns are found by their meaning, lines of totals are
    checked, and repeated headers and a closing text are passed over.
    """
    text = decode(content)
    try:
        return _read(text, rows_of)
    except StatementError as refusal:
        if '"' not in text or refusal.reason == "too_large":
            raise
        try:  # A quote in a name that was not doubled spoils the rows around it, and not the lines.
            return _read(text, lines_of)
        except StatementError:
            raise refusal from None


def _read(text: str, rows: _Rows) -> Statement:
    header_at, header, separator, preamble = _find_header(text, rows)
    columns = columns_of(header)
    assert columns is not None
    table = [
        _Cells(cells, columns, number)
        for number, cells in rows(text, separator)
        if number > header_at and any(cell.strip() for cell in cells) and cells != header
    ]
    bookings = [cells for cells in table if cells.are_a_booking]
    forms = forms_of(
        (
            (cells.number, cells.text(name))
            for cells in bookings
            for name in ("paid_in", "withdrawn", "balance")
        ),
        ((cells.number, cells.text("time")) for cells in bookings),
    )
    found = tuple(_row(cells, forms) for cells in bookings)
    statement = Statement(found, _shortcode_of(preamble))
    _refuse_broken_balance(statement.completed)
    for cells in table:
        if _TOTALS.match(cells.label):
            _check_totals(cells, forms, statement)
    return statement


def _find_header(text: str, rows: _Rows) -> tuple[int, list[str], str, list[list[str]]]:
    """Return the number of the header's row, its cells, the separator, and the rows before it."""
    for separator in (",", ";", "\t"):
        preamble: list[list[str]] = []
        try:
            for number, cells in rows(text, separator):
                if columns_of(cells) is not None:
                    return number, cells, separator, preamble
                preamble.append(cells)
                if number > MAX_PREAMBLE_ROWS:
                    break
        except StatementError as refusal:
            if refusal.reason == "not_a_statement":
                raise
    raise not_a_statement()


class _Cells:
    """The cells of one row by the meaning of their column."""

    __slots__ = ("_cells", "_columns", "_texts", "number")

    def __init__(self, cells: Sequence[str], columns: dict[str, int], number: int) -> None:
        self.number = number
        self._cells = cells
        self._columns = columns
        self._texts = dict(zip(columns, map(_text_of, _chosen(cells, columns)), strict=True))

    @property
    def are_cut_short(self) -> bool:
        return len(self._cells) <= max(self._columns.values())

    @property
    def label(self) -> str:
        """The first text of the row."""
        return next(cell.strip() for cell in self._cells if cell.strip())

    @property
    def are_a_booking(self) -> bool:
        """Whether the row is a booking, or should be one; not a line of totals, and not a closing text."""
        if not any(self.text(name) for name in _BOOKING):
            return False
        if receipt_in(self.text("receipt")) or self.text("time"):
            return True
        has_amount = any(self.text(name) for name in ("paid_in", "withdrawn", "balance"))
        return not _SUMMARY.search(self.label) if has_amount else " " not in self.label

    def text(self, name: str) -> str:
        """The text of a cell without blanks around it; empty where there is no such column or cell."""
        return self._texts.get(name, "")

    def has(self, name: str) -> bool:
        """Whether the file has the column."""
        return name in self._columns


def _chosen(cells: Sequence[str], columns: dict[str, int]) -> Iterator[str]:
    count = len(cells)
    return (cells[index] if index < count else "" for index in columns.values())


def _text_of(cell: str) -> str:
    text = cell.replace("\u00a0", " ").strip()
    return text if len(text) <= _MAX_CELL else text[:_MAX_CELL] + CUT_MARK


def _row(cells: _Cells, forms: Forms) -> StatementRow:
    number = cells.number
    if cells.are_cut_short:
        raise unreadable(number, "it ends before its last column, as where a file was cut off")
    # Without the column every row counts: one that moved no money would break the balance.
    status = cells.text("status") if cells.has("status") else _COMPLETED
    receipt = receipt_in(cells.text("receipt"))
    if receipt is None or not status:
        raise unreadable(number, "it has no receipt or no transaction status")
    if status.lower() == _COMPLETED and not cells.text("balance"):
        raise unreadable(number, "it moved money and has no balance")
    paid_in, withdrawn = (forms.cents(cells.text(name), number) for name in ("paid_in", "withdrawn"))
    if paid_in and withdrawn:
        raise unreadable(number, "it is paid in and withdrawn at once")
    if paid_in < 0:  # Some exports write a reversal so.
        paid_in, withdrawn = 0, paid_in
    return StatementRow(
        number=number,
        receipt=receipt,
        completed_at=forms.moment(cells.text("time"), number),
        status=status,
        paid_in_cents=paid_in,
        withdrawn_cents=abs(withdrawn),
        balance_cents=forms.cents(cells.text("balance"), number),
        reason_type=cells.text("reason"),
        linked_receipt=receipt_in(cells.text("linked")),
        details=cells.text("details"),
        reference=cells.text("account") or _account_in(cells.text("details")),
    )


def _account_in(details: str) -> str:
    match = _ACCOUNT_IN_DETAILS.search(details)
    return match[1] if match else ""


def _check_totals(cells: _Cells, forms: Forms, statement: Statement) -> None:
    """Refuse a file whose line of totals is of other rows; totals count what was completed, or every row."""
    for name, amount in (("paid_in", "paid_in_cents"), ("withdrawn", "withdrawn_cents")):
        told = abs(forms.cents(cells.text(name), cells.number)) if cells.text(name) else None
        sums = {sum(getattr(row, amount) for row in rows) for rows in (statement.completed, statement.rows)}
        if told is not None and told not in sums:
            raise unreadable(
                cells.number, "its totals are not those of the rows above: rows are missing or altered"
            )


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
