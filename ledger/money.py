"""Money is whole cents of a Kenyan shilling: an integer that cannot be a float, a boolean or NaN."""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from ledger.errors import InvalidValue

CENTS_PER_SHILLING = 100
THOUSANDTHS_PER_UNIT = 1_000

_WRITTEN = re.compile(r"(-?[0-9]{1,13})(?:\.([0-9]{1,2})0{0,4})?")
"""Bounded, because text from outside could name a number too long to compute with, or to compute exactly."""


@dataclass(frozen=True, order=True, slots=True)
class Money:
    """An amount in cents; `Money(350_00)` is three hundred and fifty shillings."""

    cents: int

    def __post_init__(self) -> None:
        if type(self.cents) is not int:
            raise TypeError(f"Money takes whole cents as an int, not {type(self.cents).__name__}.")

    @classmethod
    def parse(cls, text: str) -> "Money":
        """Read decimal text such as "350.00" or "350"; raise InvalidValue if it is not whole cents."""
        written = _WRITTEN.fullmatch(text)
        if written is None:
            raise InvalidValue("This is not an amount in whole cents; write it like 350.00.")
        return cls(int(written[1] + (written[2] or "").ljust(2, "0")))

    def __add__(self, other: "Money") -> "Money":
        return Money(self.cents + other.cents)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.cents - other.cents)

    def times_thousandths(self, quantity_thousandths: int) -> "Money":
        """Multiply by a quantity given in thousandths, rounded half up to the cent."""
        exact = Decimal(self.cents) * quantity_thousandths / THOUSANDTHS_PER_UNIT
        return Money(int(exact.to_integral_value(ROUND_HALF_UP)))

    def to_whole_shilling(self) -> "Money":
        """Round half up to the shilling, because M-Pesa takes whole shillings only."""
        shillings = (Decimal(self.cents) / CENTS_PER_SHILLING).to_integral_value(ROUND_HALF_UP)
        return Money(int(shillings) * CENTS_PER_SHILLING)

    @property
    def shillings(self) -> int:
        """The amount in whole shillings; raise ValueError if cents would be lost."""
        if self.cents % CENTS_PER_SHILLING:
            raise ValueError("This amount has cents; round it to the shilling first.")
        return self.cents // CENTS_PER_SHILLING

    def as_decimal(self) -> Decimal:
        """The amount in shillings with two decimals, as the checkout contract prints it."""
        return Decimal(self.cents).scaleb(-2)

    def __str__(self) -> str:
        return f"{self.as_decimal():.2f}"
