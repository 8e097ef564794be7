"""Amounts of money as M-Pesa writes them, read to the cent and never rounded."""

import re
from decimal import Decimal

_AMOUNT_TEXT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
_NOTHING_TEXT = re.compile(r"0{1,15}(\.0{1,15})?")
_MAX_DIGITS = 40
_MAX_SHILLINGS = 10**13


def amount_in_cents(value: object) -> int | None:
    """Return a positive amount of shillings as whole cents, exactly, or None when it is not one.

    Takes an int, a Decimal, or plain digits with or without a point. The digits are counted before they are
    used: a number such as 1e400 never becomes an integer of 400 digits.
    """
    if isinstance(value, str) and _AMOUNT_TEXT.fullmatch(value.strip()):
        value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if not 0 < value < _MAX_SHILLINGS:
        return None
    _, digits, exponent = Decimal(value).as_tuple()
    if not isinstance(exponent, int) or len(digits) > _MAX_DIGITS or exponent < -_MAX_DIGITS:
        return None
    cents, rest = divmod(
        int(Decimal((0, digits, 0))) * 10 ** max(exponent + 2, 0), 10 ** max(-exponent - 2, 0)
    )
    return cents if rest == 0 else None


def balance_in_cents(value: object) -> int | None:
    """Return a balance written as text, which may be zero or below, as whole cents; None when it is not one."""
    written = value.strip() if isinstance(value, str) else ""
    digits = written.removeprefix("-")
    if _NOTHING_TEXT.fullmatch(digits):
        return 0
    cents = amount_in_cents(digits)
    return -cents if cents is not None and written.startswith("-") else cents
