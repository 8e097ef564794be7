from decimal import Decimal
from typing import Any

import pytest
from marshmallow import ValidationError

from api.http.schemas.decimals import DecimalField
from api.http.schemas.fields import RequestSchema


class Shelf(RequestSchema):
    price = DecimalField(decimals=2, least=Decimal("0.01"), most=Decimal(1_000_000))


def load(value: Any) -> Decimal:
    return Shelf().load({"price": value})["price"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("150", "150.00"),
        ("150.5", "150.50"),
        (" 150.00 ", "150.00"),
        ("150.000", "150.00"),
        (150, "150.00"),
        (Decimal("150.5"), "150.50"),
        (Decimal("1.5E+2"), "150.00"),
        (Decimal("0." + "01" + "0" * 500), "0.01"),
        (1_000_000, "1000000.00"),
    ],
)
def test_a_figure_is_text_or_a_number_and_keeps_its_decimals(sent: Any, read: str) -> None:
    assert str(load(sent)) == read


@pytest.mark.parametrize(
    "sent",
    [
        0,
        -1,
        "-0.01",
        "0.001",
        Decimal("0.001"),
        Decimal("1.0" + "0" * 500 + "1"),
        "1000000.01",
        10**4_000,
        Decimal("1E+999999999"),
        Decimal("1E-999999999"),
        Decimal("-1E+999999999"),
        "1e3",
        "1,000",
        "1_000",
        "٣",
        "+1",
        ".5",
        "5.",
        "",
        " ",
        "NaN",
        "Infinity",
        "9" * 60_000,
        True,
        False,
        None,
        1.5,
        [],
        ["1"],
        {},
    ],
)
def test_a_figure_is_nothing_else(sent: Any) -> None:
    with pytest.raises(ValidationError, match=r"Write a number|may not be null"):
        load(sent)


def test_the_sentence_tells_the_bounds() -> None:
    with pytest.raises(ValidationError) as refusal:
        load("free")
    assert refusal.value.messages == {
        "price": ["Write a number from 0.01 to 1,000,000 with at most 2 decimals."]
    }
