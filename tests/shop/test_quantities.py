import pytest

from ledger.errors import InvalidValue
from shop.quantities import parse_quantity


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [("2", 2_000), ("0.5", 500), ("1.250", 1_250), ("0.001", 1), ("1000", 1_000_000), ("007", 7_000)],
)
def test_decimal_text_becomes_thousandths(text: str, thousandths: int) -> None:
    assert parse_quantity(text, "kg") == thousandths


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0.000",
        "-1",
        "+1",
        "1.2345",
        "1000.001",
        "1001",
        ".5",
        "1.",
        "1e3",
        "NaN",
        "",
        " 1",
        "1\n",
        "1,5",
        "٣",
    ],
)
def test_any_other_text_is_refused_with_the_field_named(text: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        parse_quantity(text, "kg")
    assert list(refused.value.errors) == ["quantity"]


@pytest.mark.parametrize("value", [2, 2.0, True, None, ["2"], {"quantity": "2"}])
def test_only_text_is_a_quantity(value: object) -> None:
    with pytest.raises(InvalidValue):
        parse_quantity(value, "kg")


def test_half_an_egg_tray_is_refused() -> None:
    with pytest.raises(InvalidValue, match="whole number"):
        parse_quantity("0.5", "tray")


def test_whole_pieces_may_be_written_with_decimals() -> None:
    assert parse_quantity("3.000", "piece") == 3_000
