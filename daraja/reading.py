"""Reading what Daraja, or anyone who pretends to be Daraja, has sent: bounded, exact in numbers, clean in text."""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

MAX_BYTES = 64 * 1024
"""No genuine body of the payment APIs comes near this."""

_MAX_TEXT = 300
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,128}")
_CODE = re.compile(r"[A-Za-z0-9._-]{1,40}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Unreadable(Exception):
    """A body that is not JSON, or JSON that says two things at once; the argument is a stable slug."""


def read_json(body: bytes, max_bytes: int = MAX_BYTES) -> Any:
    """Decode a JSON body; numbers with a point or an exponent become Decimal, so nothing is rounded.

    Raise Unreadable for all else: longer than `most_bytes`, not UTF-8, not JSON, NaN, a key given twice, nesting or
    numbers without end.
    """
    if len(body) > max_bytes:
        raise Unreadable("too_large")
    try:
        return json.loads(
            body.decode("utf-8-sig"),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unambiguous,
        )
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


def identifier(value: object) -> str | None:
    """Return an id of Daraja's (visible ASCII, at most 128 characters), or None when it cannot be one."""
    return value if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else None


def code(value: object) -> str | None:
    """Return a result, response or error code as text, whether it came as text or as a whole number, or None."""
    number = whole_number(value)
    text = str(number) if number is not None else value.strip() if isinstance(value, str) else ""
    return text if _CODE.fullmatch(text) else None


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


def member(value: object, key: str) -> Any:
    """Return a member of a JSON object, or None when there is none or the value is no object."""
    return value.get(key) if isinstance(value, dict) else None
