"""The statement as importers and spreadsheets write it: read where it has one meaning, refused where it has two."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from daraja.statement import parse_statement
from tests.support.statements import (
    BOOKINGS,
    CHARGED,
    FAILED,
    HEADER,
    NOON,
    PAID,
    REVERSED,
    cells,
    refusal_of,
    row_of,
    statement,
    with_header,
    written,
)

TIMES = [
    ("16/11/2026 00:30:00", "16/11/2026 00:31:00"),
    ("11/16/2026 00:30:00", "11/16/2026 00:31:00"),
    ("16/11/26 0:30", "5/11/26 0:31"),
    ("16/11/2026 12:30:00 AM", "16/11/2026 12:31:00 am"),
    ("2026-11-16T00:30:00", "2026-11-16T00:31:00.000"),
    ("2026-11-16 00:30:00.123", "2026/11/16 00:31"),
    ("2026-11-15T21:30:00Z", "2026-11-16T00:31:00+03:00"),
    ("16-Nov-26 12:30 AM", "16 November 2026 00:31"),
    ("16.11.2026 00:30", "16.11.2026 00:31:00"),
    ("46342.0208333333", "46342.0215277778"),
]


@pytest.mark.parametrize("times", TIMES, ids=[first for first, _ in TIMES])
def test_times_of_every_form_are_read_if_they_have_one_meaning(times: tuple[str, str]) -> None:
    rows = cells([PAID, replace(PAID, receipt="UKG7Q2X9LN")])
    for row, text in zip(rows, times, strict=True):
        row[1] = text
    first = parse_statement(with_header(list(HEADER), rows)).rows[0]
    assert first.completed_at == datetime(2026, 11, 15, 21, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["0001-01-01 10:00", "2006-12-31 10:00", "3001-01-01 10:00", "1.5", "9999999"]
)
def test_a_time_at_which_there_is_no_mpesa_is_refused(text: str) -> None:
    rows = cells([PAID])
    rows[0][1] = text
    refusal = refusal_of(with_header(list(HEADER), rows))
    assert (refusal.row, "its completion time is no date" in refusal.message) == (2, True)


def test_slashed_dates_are_decided_once_for_a_file() -> None:
    rows = cells([PAID, CHARGED, REVERSED])
    for row, text in zip(rows, ("05/11/2026 10:00", "06/11/2026 10:00", "13/11/2026 10:00"), strict=True):
        row[1] = text
    assert [row.completed_at.day for row in parse_statement(with_header(list(HEADER), rows)).rows] == [
        5,
        6,
        13,
    ]
    rows[0][1] = "11/13/2026 10:00"
    contradiction = refusal_of(with_header(list(HEADER), rows))
    assert (contradiction.row, "month first" in contradiction.message) == (4, True)
    rows[0][1], rows[2][1] = "05/11/2026 10:00", "07/11/2026 10:00"
    doubt = refusal_of(with_header(list(HEADER), rows))
    assert (doubt.row, "YYYY-MM-DD" in doubt.message) == (2, True)


@pytest.mark.parametrize(
    ("paid_in", "balance"),
    [
        ("1.350,00", "11.350,00"),
        ("1350,00", "11350,00"),
        ("KES 1,350.00", "Ksh 11,350.00"),
        ("1350", "11350.0"),
        ("+1,350.00", "11,350.000"),
    ],
)
def test_amounts_are_read_in_the_one_form_of_a_file(paid_in: str, balance: str) -> None:
    [row] = cells([PAID])
    row[5], row[7] = paid_in, balance
    [read] = parse_statement(with_header(list(HEADER), [row])).rows
    assert (read.paid_in_cents, read.balance_cents) == (1_350_00, 11_350_00)


def test_a_negative_paid_in_is_money_out() -> None:
    rows = cells([PAID, REVERSED])
    rows[1][5], rows[1][6] = "(350.00)", ""
    assert parse_statement(with_header(list(HEADER), rows)).rows[1].withdrawn_cents == 350_00


SPELLINGS = {
    "Receipt No.": ["Receipt Number", "RECEIPT", "Transaction ID", "M-Pesa Receipt No"],
    "Completion Time": ["Completion Date", "Date/Time", "Transaction Date"],
    "Transaction Status": ["Status"],
    "Paid In": ["Paid in (KES)", "Money In", "Credit"],
    "Withdrawn": ["Withdrawal", "Paid Out", "Debit"],
    "Balance": ["Running Balance"],
    "A/C No.": ["Account No.", "Account Number", "Bill Reference Number", "Account Reference", "Acc No"],
}


@pytest.mark.parametrize(
    ("column", "name"), [(column, name) for column, names in SPELLINGS.items() for name in names]
)
def test_columns_are_found_by_their_meaning(column: str, name: str) -> None:
    header = [name if each == column else each for each in HEADER]
    [read] = parse_statement(with_header(header, cells([PAID]))).rows
    assert (read.receipt, read.reference, read.paid_in_cents) == ("UKG7Q2X9LM", "D456", 1_350_00)


def test_a_column_that_may_be_the_reference_under_another_name_is_refused() -> None:
    header = ["Buyer's Ref" if each == "A/C No." else each for each in HEADER]
    refusal = refusal_of(with_header(header, cells([PAID])))
    assert refusal.reason == "not_a_statement"
    assert "Buyer's Ref" in refusal.message


def test_without_a_status_the_balance_proves_that_every_row_counts() -> None:
    def without(rows: list[list[str]]) -> list[list[str]]:
        return [row[:4] + row[5:] for row in rows]

    header = without([list(HEADER)])[0]
    assert len(parse_statement(with_header(header, without(cells([PAID, REVERSED])))).completed) == 2
    bookings = [PAID, replace(FAILED, at=NOON), REVERSED]
    assert refusal_of(with_header(header, without(cells(bookings)))).reason == "broken_balance"


@pytest.mark.parametrize(
    "details", ["Pay Bill  Account Number D456", "Acc. D456", "A/C No. D456", "account no: D456, thanks"]
)
def test_the_account_is_found_in_the_details(details: str) -> None:
    assert row_of(statement([replace(PAID, account="", details=details)]), "UKG7Q2X9LM").reference == "D456"


def test_repeated_headers_and_a_closing_text_are_passed_over() -> None:
    rows = cells(BOOKINGS)
    text = written(
        [HEADER, *rows[:2], HEADER, *rows[2:], [], ["For enquiries, call the shop."], ["*** End ***"]]
    )
    assert len(parse_statement(text).rows) == 4


@pytest.mark.parametrize("at", [0, 3], ids=["in the receipt's column", "in the details"])
def test_totals_are_checked(at: int) -> None:
    total = [""] * 13
    total[at], total[5], total[6] = "Total", "1,350.00", "-355.00"
    opening = ["Opening balance", *[""] * 6, "10,000.00", *[""] * 5]
    assert len(parse_statement(with_header(list(HEADER), [opening, *cells(BOOKINGS), total])).rows) == 4
    total[5] = "1,450.00"
    assert "totals" in refusal_of(with_header(list(HEADER), [*cells(BOOKINGS), total])).message


@pytest.mark.parametrize("name", ['JOHN "JO" DOE', 'O"NEIL', '"JO" DOE'])
def test_a_quote_in_a_name_that_was_not_doubled_is_read_line_by_line(name: str) -> None:
    text = statement(BOOKINGS).replace(b"2547****126 - JANE WANJIRU", f'"2547****126 - {name}"'.encode())
    assert [row.receipt for row in parse_statement(text).rows] == [
        row.receipt for row in parse_statement(statement(BOOKINGS)).rows
    ]


def test_a_quote_that_swallows_a_row_is_refused() -> None:
    text = statement(BOOKINGS).replace(b"2547****126 - JANE WANJIRU", b'"2547****126 - JANE', 1)
    assert refusal_of(text).reason in ("unreadable_row", "broken_balance")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_with_a_byte_order_mark_is_read(encoding: str) -> None:
    text = statement(BOOKINGS).decode("utf-8-sig")
    assert (
        len(parse_statement((text if encoding == "utf-16" else f"\ufeff{text}").encode(encoding)).rows) == 4
    )
