"""Money: whole cents, exact, never a float."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidValue
from ledger.money import Money

CENTS = st.integers(min_value=-(10**14), max_value=10**14)


@pytest.mark.parametrize(
    "thing", [350.0, 350.5, True, False, float("nan"), Decimal(350), Decimal("NaN"), "350", None]
)
def test_money_is_made_of_an_int_and_of_nothing_else(thing: object) -> None:
    with pytest.raises(TypeError, match="whole cents as an int"):
        Money(thing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("350.00", 350_00),
        ("350", 350_00),
        ("350.5", 350_50),
        ("350.000", 350_00),
        ("0.01", 1),
        ("0", 0),
        ("007", 7_00),
        ("-0.05", -5),
        ("250000.00", 250_000_00),
    ],
)
def test_money_is_read_from_decimal_text(text: str, cents: int) -> None:
    assert Money.parse(text) == Money(cents)


@pytest.mark.parametrize("text", ["0.001", "350.005", "1.999"])
def test_text_with_less_than_a_cent_is_refused_and_not_rounded(text: str) -> None:
    with pytest.raises(InvalidValue):
        Money.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "1e2",
        "1e999999",
        "1,000.00",
        "1_000",
        "0x10",
        ".",
        ".5",
        "5.",
        "--5",
        "350.00 ",
        "350.00\n",
        "KES 350",
        "\uff13\uff15\uff10",
        "\u0663\u0665\u0660",
        "3\x0050",
    ],
)
def test_text_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        Money.parse(text)
    assert refusal.value.code == "INVALID_INPUT"


@pytest.mark.parametrize("text", ["9" * 14, "9" * 30 + ".99", "9" * 1_000_000, "1." + "0" * 100])
def test_text_too_long_to_be_an_amount_is_refused_and_not_repeated_to_the_sender(text: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        Money.parse(text)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("thing", [350, 350.25, True, None, Decimal(350)])
def test_money_is_not_read_from_anything_but_text(thing: object) -> None:
    with pytest.raises(TypeError):
        Money.parse(thing)  # type: ignore[arg-type]


@given(CENTS)
def test_money_survives_being_written_and_read(cents: int) -> None:
    assert Money.parse(str(Money(cents))) == Money(cents)


@given(CENTS)
def test_money_is_written_with_two_decimals(cents: int) -> None:
    text = str(Money(cents))
    assert text[-3] == "."
    assert Decimal(text) == Decimal(cents) / 100 == Money(cents).as_decimal()


@given(CENTS, CENTS)
def test_money_adds_and_subtracts_exactly(one: int, other: int) -> None:
    assert Money(one) + Money(other) == Money(one + other)
    assert Money(one) - Money(other) == Money(one - other)


def test_money_compares_by_amount() -> None:
    assert Money(1_00) < Money(2_00)
    assert max(Money(5), Money(3)) == Money(5)


@pytest.mark.parametrize(
    ("price", "thousandths", "cents"),
    [
        (150_00, 2_000, 300_00),
        (99_99, 500, 50_00),
        (1, 500, 1),
        (1, 499, 0),
        (33_33, 1_500, 50_00),
        (5, 100, 1),
    ],
)
def test_a_price_times_a_quantity_is_rounded_half_up_to_the_cent(
    price: int, thousandths: int, cents: int
) -> None:
    assert Money(price).times_thousandths(thousandths) == Money(cents)


@given(st.integers(0, 10**10), st.integers(0, 10**7))
def test_a_product_is_the_nearest_cent_and_the_higher_of_two_that_are_as_near(
    price: int, thousandths: int
) -> None:
    assert Money(price).times_thousandths(thousandths).cents == (2 * price * thousandths + 1_000) // 2_000


@pytest.mark.parametrize("quantity", [1.5, float("nan")])
def test_a_quantity_that_is_a_float_is_refused(quantity: float) -> None:
    with pytest.raises(TypeError):
        Money(150_00).times_thousandths(quantity)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cents", "rounded"),
    [(350_00, 350_00), (350_49, 350_00), (350_50, 351_00), (351_50, 352_00), (49, 0), (50, 1_00), (0, 0)],
)
def test_money_is_rounded_half_up_to_the_shilling_and_never_half_to_even(cents: int, rounded: int) -> None:
    assert Money(cents).to_whole_shilling() == Money(rounded)


@given(st.integers(0, 10**14))
def test_the_rounded_amount_is_the_nearest_whole_shilling(cents: int) -> None:
    expected = int((Decimal(cents) / 100).quantize(Decimal(1), ROUND_HALF_UP))
    assert Money(cents).to_whole_shilling().shillings == expected


def test_whole_shillings_are_given_only_where_no_cent_is_lost() -> None:
    assert Money(350_00).shillings == 350
    with pytest.raises(ValueError, match="round it to the shilling"):
        _ = Money(350_01).shillings
