"""Parses quantities from text into whole thousandths of a unit."""

import re

from ledger.errors import InvalidValue
from ledger.money import THOUSANDTHS_PER_UNIT
from ledger.session.cart import subtotal_cents

MAX_UNITS = 1_000
MEASURED_UNITS = frozenset({"kg", "g", "l", "ml", "litre"})
"""Units that may be bought in fractions; all others are sold whole."""

_TYPED = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))?")


def parse_quantity(text: object, unit_of_measure: str) -> int:
    """Read decimal text such as "2" or "0.250" into thousandths of the unit.

    Raises InvalidValue, with the field `quantity` named, unless it is above zero, at most MAX_UNITS, has at
    most three decimals, and is whole where the unit is not one of MEASURED_UNITS.
    """
    typed = _TYPED.fullmatch(text) if isinstance(text, str) else None
    if typed is None:
        raise _refusal('Write a quantity as text with at most three decimals, like "2" or "0.5".')
    thousandths = int(typed[1]) * THOUSANDTHS_PER_UNIT + int((typed[2] or "").ljust(3, "0"))
    if not 0 < thousandths <= MAX_UNITS * THOUSANDTHS_PER_UNIT:
        raise _refusal(f"A quantity is more than 0 and at most {MAX_UNITS}.")
    if thousandths % THOUSANDTHS_PER_UNIT and unit_of_measure.lower() not in MEASURED_UNITS:
        raise _refusal(f"This is sold by the {unit_of_measure}: ask for a whole number.")
    return thousandths


def require_price(price_cents: int, thousandths: int) -> None:
    """Raise InvalidValue, with the field `quantity` named, for a quantity whose price rounds to nothing."""
    if subtotal_cents(price_cents, thousandths) <= 0:
        raise _refusal("So little of it costs 0.00 shillings. Please take more.")


def _refusal(sentence: str) -> InvalidValue:
    return InvalidValue(sentence, {"quantity": [sentence]})
