"""Exact decimal numbers in request bodies: decimal text or JSON numbers, never a float."""

import re
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields

_WRITTEN = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")


class DecimalField(fields.Field[Decimal]):
    """A number from `least` to `most` with at most `decimals` decimals, sent as text ("2.5") or as a JSON number.

    Loads to a Decimal with exactly that many decimals. Further zeros are accepted; other further digits are refused,
    not rounded.
    """

    def __init__(self, *, decimals: int, least: Decimal, most: Decimal, **kwargs: Any) -> None:
        shown = {
            "type": ["string", "number"],
            "pattern": rf"^[0-9]+(\.[0-9]{{1,{decimals}}})?$",
            "minimum": least,
            "maximum": most,
        }
        super().__init__(metadata=shown | kwargs.pop("metadata", {}), **kwargs)
        self._step = Decimal(1).scaleb(-decimals)
        self._least, self._max = least, most
        self._message = f"Write a number from {least} to {most:,} with at most {decimals} decimals."

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Decimal:
        number = _exact(value)
        # The range comes first: it keeps a number with a huge exponent from being written out.
        if number is None or not self._least <= number <= self._max:
            raise ValidationError(self._message)
        rounded = number.quantize(self._step)
        if rounded != number:
            raise ValidationError(self._message)
        return rounded


def _exact(value: object) -> Decimal | None:
    """Return the number that was sent, None if it is none; a boolean is a number only to Python."""
    if isinstance(value, str):
        text = value.strip()
        return Decimal(text) if _WRITTEN.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Decimal(value)
