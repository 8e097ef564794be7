"""Organisation statements as the M-Pesa portal exports them, for tests."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from daraja.eat import EAT
from daraja.statement import StatementError, StatementRow, parse_statement

HEADER = (
    "Receipt No.",
    "Completion Time",
    "Initiation Time",
    "Details",
    "Transaction Status",
    "Paid In",
    "Withdrawn",
    "Balance",
    "Balance Confirmed",
    "Reason Type",
    "Other Party Info",
    "Linked Transaction ID",
    "A/C No.",
)
PREAMBLE = (
    ("Organization Name", "Green Valley Produce"),
    ("Short Code", "174379"),
    ("Time Period", "From 16-11-2026 00:00:00 to 16-11-2026 23:59:59"),
    (),
)
NOON = datetime(2026, 11, 16, 12, 0, 0, tzinfo=EAT)


@dataclass(frozen=True)
class Booking:
    """One row to be written; amounts are cents, `withdrawn` is positive, `at` is an aware moment."""

    receipt: str
    paid_in: int = 0
    withdrawn: int = 0
    at: datetime = NOON
    account: str = ""
    status: str = "Completed"
    reason: str = "Pay Bill Online"
    linked: str = ""
    details: str = "Payment"
    payer: str = "2547****126 - JANE WANJIRU"


PAID = Booking("UKG7Q2X9LM", paid_in=1_350_00, account="D456", at=datetime(2026, 11, 16, 0, 30, tzinfo=EAT))
REVERSED = Booking(
    "UKG7Q2X9RV",
    withdrawn=350_00,
    reason="Pay Bill Reversal",
    linked="UKG7Q2X9AA",
    at=NOON + timedelta(hours=1),
)
CHARGED = Booking(
    "UKG7Q2X9LM", withdrawn=5_00, reason="Pay Bill Charge", linked="UKG7Q2X9LM", at=NOON + timedelta(hours=2)
)
FAILED = Booking("UKG7Q2X9FF", paid_in=99_00, status="Failed", at=NOON + timedelta(hours=3))
BOOKINGS = [PAID, REVERSED, CHARGED, FAILED]


def cells(bookings: Sequence[Booking], *, opening_cents: int = 10_000_00) -> list[list[str]]:
    """Return the rows of a statement, oldest first, each with the balance it leaves."""
    balance, rows = opening_cents, []
    for booking in bookings:
        if booking.status == "Completed":
            balance += booking.paid_in - booking.withdrawn
        rows.append(
            [
                booking.receipt,
                _written(booking.at),
                _written(booking.at),
                booking.details,
                booking.status,
                shillings(booking.paid_in) if booking.paid_in else "",
                f"-{shillings(booking.withdrawn)}" if booking.withdrawn else "",
                shillings(balance),
                "true",
                booking.reason,
                booking.payer,
                booking.linked,
                booking.account,
            ]
        )
    return rows


def statement(
    bookings: Sequence[Booking],
    *,
    opening_cents: int = 10_000_00,
    preamble: Iterable[Sequence[str]] = PREAMBLE,
) -> bytes:
    """Return a statement as it is exported: a preamble, then the newest row first."""
    return written([*preamble, HEADER, *reversed(cells(bookings, opening_cents=opening_cents))])


def written(rows: Iterable[Sequence[str]], separator: str = ",") -> bytes:
    """Return rows of cells as CSV in UTF-8 with a byte order mark."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def row_of(text: bytes, receipt: str) -> StatementRow:
    """Return the one row of a statement with a receipt."""
    [row] = [row for row in parse_statement(text).rows if row.receipt == receipt]
    return row


def refusal_of(text: bytes) -> StatementError:
    """Return why a statement is refused."""
    with pytest.raises(StatementError) as refusal:
        parse_statement(text)
    return refusal.value


def with_header(header: list[str], rows: list[list[str]]) -> bytes:
    """Return a statement of rows under a header, without a preamble."""
    return written([header, *rows])


def shillings(cents: int) -> str:
    """Write cents as a statement does: 1,350.00."""
    return f"{cents // 100:,}.{cents % 100:02}"


def _written(at: datetime) -> str:
    return at.astimezone(EAT).strftime("%d-%m-%Y %H:%M:%S")
