"""The organisation statement: the truth as CSV, which our own reader takes."""

import csv
import io
from collections.abc import Callable

import pytest

from daraja.simulator import Simulator
from daraja.simulator.books import Booking, BookingKind, Books
from daraja.statement import parse_statement
from tests.daraja.simulator.conftest import NOON, PHONE, Shop


def reverse(simulator: Simulator, receipt: str, shillings: int) -> None:
    mobile_money = simulator.mobile_money
    with mobile_money.changed:
        mobile_money.commit(mobile_money.propose_reversal(receipt, shillings, simulator.now()))


def test_the_statement_is_what_the_portal_exports(open_shop: Callable[..., Shop]) -> None:
    shop = open_shop(organisation_shillings=12_000)
    receipt = shop.pay(amount=1350)
    reverse(shop.simulator, receipt, 1350)
    shop.simulator.pay_by_hand("254712345679", 200, "rent, March")
    shop.simulator.withdraw(12_200)
    rows = list(csv.reader(io.StringIO(shop.simulator.statement())))
    assert rows[:4] == [
        ["Organization Name", "DAFTARI SHOP"],
        ["Short Code", "174379"],
        ["Time Period", "From - to -"],
        [],
    ]
    settlement, by_hand, reversal, payment = (dict(zip(rows[4], row, strict=True)) for row in rows[5:])
    assert payment == {
        "Receipt No.": receipt,
        "Completion Time": "15-11-2026 12:00:00",
        "Initiation Time": "15-11-2026 12:00:00",
        "Details": "Payment received. Acc. D7",
        "Transaction Status": "Completed",
        "Paid In": "1,350.00",
        "Withdrawn": "",
        "Balance": "13,350.00",
        "Balance Confirmed": "true",
        "Reason Type": "Pay Bill Online",
        "Other Party Info": "2547****678 - ANN",
        "Linked Transaction ID": "",
        "A/C No.": "D7",
    }
    assert (reversal["Withdrawn"], reversal["Linked Transaction ID"]) == ("-1,350.00", receipt)
    assert (reversal["Reason Type"], reversal["A/C No."]) == ("Transaction Reversal", "")
    assert (by_hand["A/C No."], settlement["Balance"]) == ("rent, March", "0.00")


@pytest.mark.parametrize(
    ("negative", "paid_in", "withdrawn"), [(False, "", "-1,350.00"), (True, "-1,350.00", "")]
)
def test_a_reversal_is_withdrawn_or_below_zero_under_paid_in_and_our_reader_takes_both(
    open_shop: Callable[..., Shop], negative: bool, paid_in: str, withdrawn: str
) -> None:
    shop = open_shop(statement_has_negative_paid_in=negative)
    receipt = shop.pay(amount=1350)
    reverse(shop.simulator, receipt, 1350)
    text = shop.simulator.statement()
    rows = list(csv.reader(io.StringIO(text)))
    written = dict(zip(rows[4], rows[5], strict=True))
    assert (written["Paid In"], written["Withdrawn"]) == (paid_in, withdrawn)
    reversal, payment = parse_statement(text.encode()).rows
    assert (reversal.paid_in_cents, reversal.withdrawn_cents, reversal.balance_cents) == (0, 1_350_00, 0)
    assert (reversal.linked_receipt, payment.paid_in_cents) == (receipt, 1_350_00)


def test_our_reader_takes_it_charges_and_all(open_shop: Callable[..., Shop]) -> None:
    shop = open_shop(payment_charge_cents=1_75)
    receipts = [shop.pay(f"25471234567{number}", 1000 + number, f"D{number}") for number in range(5)]
    reverse(shop.simulator, receipts[0], 1000)
    statement = parse_statement(shop.simulator.statement().encode())
    assert statement.shortcode == "174379"
    assert [row.receipt for row in statement.rows if row.paid_in_cents] == receipts[::-1]
    assert {row.reference for row in statement.rows if row.paid_in_cents} == {f"D{n}" for n in range(5)}
    assert statement.rows[0].linked_receipt == receipts[0]
    assert statement.rows[0].completed_at == NOON


def test_an_export_covers_a_period_in_nairobis_time(shop: Shop) -> None:
    first = shop.pay()
    shop.simulator.advance(86_400)
    second = shop.pay(amount=200)
    for period, wanted in (
        ("", [second, first]),
        ("?from=2026-11-16", [second]),
        ("?to=2026-11-16", [first]),
        ("?from=2026-11-15T12:00&to=2026-11-15T12:00:01", [first]),
        ("?from=2026-11-15T12:00:01&to=2026-11-16T12:00", []),
    ):
        answer = shop.http.get(f"{shop.url}/simulator/api/statement.csv{period}", timeout=10)
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        rows = parse_statement(answer.content).rows
        assert [row.receipt for row in rows] == wanted
    assert (
        "From 16-11-2026 00:00:00 to -"
        in shop.http.get(f"{shop.url}/simulator/api/statement.csv?from=2026-11-16", timeout=10).text
    )


def test_a_period_that_is_none_is_refused(shop: Shop) -> None:
    answer = shop.http.get(f"{shop.url}/simulator/api/statement.csv?from=yesterday", timeout=10)
    assert answer.status_code == 400
    assert "2026-11-16" in answer.json()["error"]


def test_it_holds_the_truth_whatever_the_callbacks_said(shop: Shop) -> None:
    for kind in ("01", "06", "08", "15", "16", "17", "19", "23"):
        document = shop.document(f"254700 01{kind}01".replace(" ", "")) | {"AccountReference": f"D{kind}"}
        try:
            shop.send_push(document)
        except OSError:
            continue
    assert shop.simulator.wait_until_idle()
    rows = parse_statement(shop.simulator.statement().encode()).rows
    assert sorted(row.reference for row in rows) == ["D01", "D06", "D08", "D15", "D16", "D19", "D23"]
    assert {row.paid_in_cents for row in rows} == {350_00}


def test_the_till_has_no_account_numbers(open_shop: Callable[..., Shop]) -> None:
    shop = open_shop()
    shop.simulator.pay_by_hand(PHONE, 350, "", to_till=True)
    [row] = parse_statement(shop.simulator.statement().encode()).rows
    assert (row.reason_type, row.reference) == ("Customer Buy Goods Online", "")


def test_movements_are_listed_from_a_position_on(shop: Shop) -> None:
    receipts = [shop.pay(f"25471234567{number}") for number in range(3)]
    listed = shop.http.get(f"{shop.url}/simulator/api/movements?since=1&limit=1", timeout=10).json()
    [movement] = listed["movements"]
    assert (movement["receipt"], movement["change_cents"], movement["kind"]) == (
        receipts[1],
        350_00,
        "payment",
    )
    shown = shop.http.get(f"{shop.url}/simulator/api/organisation", timeout=10).json()
    assert (shown["balance"], shown["shortcode"], shown["c2b_registered"]) == (1050.0, "174379", False)


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        {},
        {"withdraw": 1},
        {"withdraw": 0},
        {"withdraw": "1"},
        {"c2b_for_prompts": "x"},
        {"pull_empty": 1},
        {"x": 1},
    ],
)
def test_what_cannot_be_done_to_the_organisation_is_refused(shop: Shop, wanted: object) -> None:
    answer = shop.http.post(f"{shop.url}/simulator/api/organisation", json=wanted, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_books_forget_the_oldest_and_carry_their_balance() -> None:
    books = Books(0, most=10)
    for number in range(12):
        books.add(Booking(BookingKind.PAYMENT, f"R{number}", NOON, 100, (number + 1) * 100))
    assert (len(books), books.opening_cents, books.first_position) == (10, 200, 2)
    assert books.find("R1") is None
    assert [movement.receipt for movement in books.since(0, 2)] == ["R2", "R3"]
    assert [movement.receipt for movement in books.since(11, 9)] == ["R11"]
