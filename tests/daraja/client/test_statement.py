"""The organisation statement: every quirk seen in exports, and every file that must be refused."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daraja.statement import StatementError, parse_statement
from tests.support.statements import (
    BOOKINGS,
    CHARGED,
    FAILED,
    HEADER,
    NOON,
    PAID,
    PREAMBLE,
    REVERSED,
    Booking,
    cells,
    refusal_of,
    row_of,
    statement,
    with_header,
    written,
)


def test_each_column_is_read_by_its_name() -> None:
    read = parse_statement(statement(BOOKINGS))
    assert read.shortcode == "174379"
    assert [row.receipt for row in read.rows] == ["UKG7Q2X9FF", "UKG7Q2X9LM", "UKG7Q2X9RV", "UKG7Q2X9LM"]
    paid = read.rows[-1]
    assert (paid.paid_in_cents, paid.withdrawn_cents, paid.balance_cents) == (1_350_00, 0, 11_350_00)
    assert (paid.reference, paid.reason_type, paid.linked_receipt) == ("D456", "Pay Bill Online", None)
    reversal = read.rows[-2]
    assert (reversal.paid_in_cents, reversal.withdrawn_cents) == (0, 350_00)
    assert reversal.linked_receipt == "UKG7Q2X9AA"


def test_times_are_nairobis_so_half_past_midnight_is_the_day_before_in_utc() -> None:
    assert parse_statement(statement([PAID])).rows[0].completed_at == datetime(
        2026, 11, 15, 21, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "text",
    [
        "16-11-2026 00:30:00",
        "2026-11-16 00:30:00",
        "16-11-2026 00:30",
        "2026-11-16 00:30",
        " 16-11-2026  00:30:00 ",
    ],
)
def test_both_forms_of_time_are_read(text: str) -> None:
    [row] = cells([PAID])
    row[1] = text
    read = parse_statement(with_header(list(HEADER), [row])).rows[0]
    assert read.completed_at == datetime(2026, 11, 15, 21, 30, tzinfo=UTC)


def test_only_completed_rows_moved_money() -> None:
    assert [row.receipt for row in parse_statement(statement(BOOKINGS)).completed] == [
        "UKG7Q2X9LM",
        "UKG7Q2X9RV",
        "UKG7Q2X9LM",
    ]


@pytest.mark.parametrize("order", [1, -1], ids=["oldest first", "newest first"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_order_of_rows_and_the_separator_do_not_matter(order: int, separator: str) -> None:
    rows = cells(BOOKINGS)[::order]
    assert len(parse_statement(written([*PREAMBLE, HEADER, *rows], separator)).rows) == 4


def test_columns_may_stand_in_any_order_and_there_may_be_more_of_them() -> None:
    header = ["Currency", *reversed(HEADER)]
    rows = [["KES", *reversed(row)] for row in cells(BOOKINGS)]
    assert parse_statement(with_header(header, rows)).rows[0] == replace(
        parse_statement(with_header(list(HEADER), cells(BOOKINGS))).rows[0]
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_byte_order_mark_and_windows_1252_are_read(encoding: str) -> None:
    text = statement([replace(PAID, details="Café € Acc. D456", account="")]).decode("utf-8-sig")
    assert row_of(text.encode(encoding), "UKG7Q2X9LM").reference == "D456"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_read(line_end: str) -> None:
    text = statement(BOOKINGS).replace(b"\r\n", line_end.encode())
    assert len(parse_statement(text).rows) == 4


def test_the_account_is_read_from_the_details_if_its_cell_is_empty() -> None:
    booking = replace(PAID, account="", details="Pay Bill from 2547****126 - JANE Acc. d 456x, thanks")
    assert row_of(statement([booking]), "UKG7Q2X9LM").reference == "d"


@pytest.mark.parametrize("text", ['="UKG7Q2X9LM"', "'UKG7Q2X9LM", " ukg7q2x9lm "])
def test_a_receipt_that_a_spreadsheet_has_touched_is_still_a_receipt(text: str) -> None:
    [row] = cells([PAID])
    row[0] = text
    assert parse_statement(with_header(list(HEADER), [row])).rows[0].receipt == "UKG7Q2X9LM"


def test_formulas_and_markup_are_text() -> None:
    evil = '=HYPERLINK("http://x","y")'
    row = row_of(statement([replace(PAID, details=evil, account=evil, reason="<script>")]), "UKG7Q2X9LM")
    assert (row.details, row.reference, row.reason_type) == (evil, evil, "<script>")


def test_lines_of_totals_and_empty_lines_are_no_transactions() -> None:
    total = ["", "", "", "Total", "", "1,350.00", "-355.00", "", "", "", "", "", ""]
    rows = [*cells(BOOKINGS), [], [""] * 13, total]
    assert len(parse_statement(with_header(list(HEADER), rows)).rows) == 4


def test_nothing_of_a_payer_is_in_the_repr() -> None:
    assert "D456" not in repr(row_of(statement([PAID]), "UKG7Q2X9LM"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"hello",
        b"PK\x03\x04\x00\x00",
        b"%PDF-1.7",
        b"\xff\xfe" + "Receipt No.".encode("utf-16-le"),
        b'{"rows": []}',
        b"Receipt No.,Completion Time,Paid In\n",
        "\n".join(["x"] * 80).encode() + statement([PAID]),
        b'"' + b"a" * 200_000,
    ],
)
def test_what_is_no_statement_is_refused(content: bytes) -> None:
    refusal = refusal_of(content)
    assert refusal.reason == "not_a_statement"
    assert "organisation portal" in refusal.message


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (0, ""),
        (0, "=1+1"),
        (1, ""),
        (1, "16/13/2026 00:30:00"),
        (1, "05/11/2026 00:30:00"),
        (1, "16-11-2026 13:30:00 PM"),
        (1, "31-02-2026 00:30:00"),
        (1, "16-11-2026"),
        (4, ""),
        (5, "12,34"),
        (5, "1.350,00"),
        (5, "1e3"),
        (5, "1.001"),
        (5, "٣"),
        (5, "NaN"),
        (6, "5.00"),
        (7, "a lot"),
        (7, ""),
    ],
)
def test_a_row_that_cannot_be_read_refuses_the_file_and_is_named(column: int, text: str) -> None:
    rows = cells([PAID, FAILED])
    rows[0][column] = text
    refusal = refusal_of(written([*PREAMBLE, HEADER, *rows]))
    assert (refusal.reason, refusal.row) == ("unreadable_row", 6)
    assert "Row 6" in refusal.message


def test_a_file_that_was_cut_off_in_a_row_is_refused() -> None:
    whole = statement(BOOKINGS).rstrip()
    last_row = whole.rindex(b"\n")
    for end in range(last_row + 2, whole.index(b"11,350.00", last_row)):
        assert refusal_of(whole[:end]).reason in ("unreadable_row", "broken_balance"), whole[:end][-40:]


def test_a_balance_that_breaks_is_refused_with_the_row_and_the_sums() -> None:
    rows = cells([PAID, REVERSED, CHARGED])
    rows[1][7] = "11,000.01"
    refusal = refusal_of(written([*PREAMBLE, HEADER, *rows]))
    assert (refusal.reason, refusal.row) == ("broken_balance", 7)
    assert "should be 11,000.00 there, and is 11,000.01" in refusal.message


def test_a_column_named_twice_is_refused() -> None:
    assert (
        refusal_of(with_header([*HEADER, "Balance"], [[*row, "1.00"] for row in cells([PAID])])).reason
        == "not_a_statement"
    )


amounts = st.integers(min_value=-500_000_00, max_value=500_000_00).filter(bool)
changes = st.lists(st.tuples(amounts, st.integers(min_value=0, max_value=2)), min_size=3, max_size=30)


def _bookings(changes: list[tuple[int, int]]) -> list[Booking]:
    at, bookings = NOON, []
    for number, (amount, seconds) in enumerate(changes):
        at += timedelta(seconds=seconds)
        bookings.append(
            Booking(
                f"UKG{number:07}",
                paid_in=max(amount, 0),
                withdrawn=max(-amount, 0),
                at=at,
                status="Completed",
            )
        )
    return bookings


@given(changes)
def test_a_whole_statement_is_taken_in_either_order(changes: list[tuple[int, int]]) -> None:
    rows = cells(_bookings(changes), opening_cents=50_000_000_00)
    for ordered in (rows, rows[::-1]):
        assert len(parse_statement(with_header(list(HEADER), ordered)).rows) == len(rows)


@given(st.lists(amounts, min_size=3, max_size=30), st.randoms(use_true_random=False))
def test_a_whole_statement_is_taken_in_any_order(changes: list[int], chance: Random) -> None:
    rows = cells(_bookings([(change, 1) for change in changes]), opening_cents=50_000_000_00)
    chance.shuffle(rows)
    assert len(parse_statement(with_header(list(HEADER), rows)).rows) == len(rows)


@given(st.lists(amounts, min_size=3, max_size=30), st.randoms(use_true_random=False))
def test_bookings_of_one_second_are_taken_in_any_order(changes: list[int], chance: Random) -> None:
    paid_in = [replace(PAID, receipt=f"UKG{n:07d}", paid_in=abs(cents)) for n, cents in enumerate(changes)]
    rows = cells(paid_in)
    chance.shuffle(rows)
    assert len(parse_statement(with_header(list(HEADER), rows)).rows) == len(rows)


@given(st.lists(amounts, min_size=3, max_size=30), st.data())
def test_a_row_that_is_missing_between_others_is_noticed(changes: list[int], data: st.DataObject) -> None:
    rows = cells(_bookings([(change, 1) for change in changes]), opening_cents=50_000_000_00)
    del rows[data.draw(st.integers(min_value=1, max_value=len(rows) - 2))]
    assert refusal_of(with_header(list(HEADER), rows[::-1])).reason == "broken_balance"


@given(st.binary(max_size=300))
def test_any_bytes_behind_a_header_are_rows_or_a_refusal(junk: bytes) -> None:
    with suppress(StatementError):
        assert parse_statement(written([HEADER, *cells([PAID])]) + junk).rows
