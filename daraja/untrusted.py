"""Values out of bodies from Daraja, or from anyone who poses as Daraja: bounded, exact numbers, clean text.

Each function returns a clean value, or None (text: '') for anything that is not what it should be.
"""

import json
import re
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn

from daraja.eat import parse_transaction_date

MAX_BYTES = 64 * 1024
"""No genuine body of the payment APIs comes near this."""

_MAX_TEXT = 300
_MAX_REFERENCE = 100
CUT_MARK = "…"
"""Ends a reference that was cut. No reference of ours has it, so what was cut names no payment."""

_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,128}")
_CODE = re.compile(r"[A-Za-z0-9._-]{1,40}")
_FAULT_CODE = re.compile(r"[A-Za-z0-9._-]{1,100}")
_AMOUNT_TEXT = re.compile(
    r"(?:kes|kshs?)?\.?\s*(?P<sign>-?)"
    r"(?P<whole>[0-9]{1,15}|[0-9]{1,3}(?P<separator>[, \u00a0\u202f])[0-9]{3}(?:(?P=separator)[0-9]{3}){0,3})"
    r"(?P<fraction>\.[0-9]{1,15})?",
    re.IGNORECASE,
)
_MAX_DIGITS = 40
_MAX_SHILLINGS = 10**13
_RECEIPT = re.compile(r"[A-Z0-9]{1,40}")
_PLACEHOLDER = re.compile(r"[A-Z0-9]{0,4}0{6,}|0+")
_PHONE = re.compile(r"[0-9+* ]{1,40}")
_HASHED_PHONE = re.compile(r"[0-9A-Fa-f]{64}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Unreadable(Exception):
    """A body that is not JSON, or JSON that says two things at once; the argument is a stable slug."""


def read_json(body: bytes, max_bytes: int = MAX_BYTES) -> Any:
    """Decode a JSON body; numbers with a point or an exponent become Decimal, so nothing is rounded.

    Raise Unreadable for all else: longer than `max_bytes`, not UTF-8, not JSON, NaN, a key given twice, nesting or
    numbers without end.
    """
    if len(body) > max_bytes:
        raise Unreadable("too_large")
    try:
        return _DECODER.decode(body.decode("utf-8-sig"))
    except RecursionError:
        raise Unreadable("too_deep") from None
    except (ValueError, ArithmeticError):
        raise Unreadable("not_json") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unreadable("repeated_key")
    return members


_DECODER = json.JSONDecoder(
    parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_unambiguous
)


def identifier(value: object) -> str | None:
    """Return an id of Daraja's (visible ASCII, at most 128 characters), or None when it cannot be one."""
    return value if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else None


def code(value: object) -> str | None:
    """Return a result, response or error code as text, whether it came as text or as a whole number, or None."""
    number = whole_number(value)
    text = str(number) if number is not None else value.strip() if isinstance(value, str) else ""
    return text if _CODE.fullmatch(text) else None


def fault_code(value: object) -> str | None:
    """Return a gateway's fault code, whose names are longer than M-Pesa's codes, as text, or None."""
    short = code(value)
    written = value.strip() if short is None and isinstance(value, str) else ""
    return written if _FAULT_CODE.fullmatch(written) else short


def whole_number(value: object) -> int | None:
    """Return a JSON number that is whole and of sane size (under 10^18) as an int, or None."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if not -(10**18) < value < 10**18 or value != int(value):
        return None
    return int(value)


def text(value: object) -> str:
    """Return text fit to be stored and shown: one line, no control characters, at most 300 characters; else ''."""
    return _UNPRINTABLE.sub(" ", value[:_MAX_TEXT]).strip() if isinstance(value, str) else ""


def reference(value: object) -> str:
    """Return the account number that a payer typed, as one line; beyond 100 characters it is cut and ends in CUT_MARK.

    M-Pesa documents 20 characters. A number, which it should write as text, becomes its digits.
    """
    number = whole_number(value)
    typed = str(number) if number is not None else value.strip() if isinstance(value, str) else ""
    kept = text(typed)
    if len(typed) <= _MAX_TEXT and len(kept) <= _MAX_REFERENCE:
        return kept
    return kept[: _MAX_REFERENCE - 1] + CUT_MARK


def member(value: object, key: str) -> Any:
    """Return a member of a JSON object, or None when there is none or the value is no object."""
    return value.get(key) if isinstance(value, dict) else None


def originator_conversation_id(members: dict[str, Any]) -> str:
    """Return the id under either of its spellings; C2B's answers leave out an "n"."""
    return (
        identifier(members.get("OriginatorConversationID"))
        or identifier(members.get("OriginatorCoversationID"))
        or ""
    )


def written_cents(written: str) -> int | None:
    """Return an amount of shillings as text writes it, exactly, as whole cents; None when it is not one.

    Thousands may be separated, by commas or by blanks: 1,150.00 or 1 150. A minus and KES may stand before.
    """
    match = _AMOUNT_TEXT.fullmatch(written.strip())
    if match is None:
        return None
    digits = match["whole"].replace(match["separator"] or ",", "") + (match["fraction"] or "")
    cents = _cents(Decimal(digits))
    return -cents if cents is not None and match["sign"] else cents


def amount_in_cents(value: object) -> int | None:
    """Return a positive amount of shillings, a number or text, as whole cents, exactly, or None when it is not one."""
    if isinstance(value, str):
        cents = written_cents(value)
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        cents = _cents(value)
    else:
        cents = None
    return cents if cents is not None and cents > 0 else None


def _cents(value: int | Decimal) -> int | None:
    """Turn shillings into whole cents; None below zero, beyond any sane amount, or if less than a cent would be lost.

    The digits are counted before they are used: a number such as 1e400 never becomes an integer of 400 digits.
    """
    if not 0 <= value < _MAX_SHILLINGS:
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
    return written_cents(value) if isinstance(value, str) else None


def receipt(value: object) -> str | None:
    """Return an M-Pesa receipt in capitals."""
    written = value.strip().upper() if isinstance(value, str) else ""
    return written if _RECEIPT.fullmatch(written) else None


def genuine_receipt(value: object) -> str | None:
    """Return a receipt that stands for a transaction; failed requests carry a date and zeros, as in UKF0000000."""
    written = receipt(value)
    return None if written is None or _PLACEHOLDER.fullmatch(written) else written


def moment(value: object) -> datetime | None:
    """Return M-Pesa's time, a number or text in EAT, as aware UTC."""
    written = value if isinstance(value, str) else whole_number(value)
    if written is None:
        return None
    try:
        return parse_transaction_date(written)
    except ValueError:
        return None


def phone(value: object) -> str | None:
    """Return a phone number as it came: whole, or masked with stars."""
    number = whole_number(value)
    written = str(number) if number is not None else value.strip() if isinstance(value, str) else ""
    return written if _PHONE.fullmatch(written) else None


def payer(value: object) -> str | None:
    """Return who paid, as C2B says it: a phone number, masked or whole, or the SHA-256 of one."""
    if isinstance(value, str) and _HASHED_PHONE.fullmatch(value.strip()):
        return value.strip().lower()
    return phone(value)
