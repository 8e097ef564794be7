"""Phone numbers that M-Pesa can prompt: always twelve digits, `2547XXXXXXXX` or `2541XXXXXXXX`."""

import re
from dataclasses import dataclass, field

from ledger.errors import InvalidValue

PHONE_HELP = "Write a Kenyan mobile number such as 0712345678 or +254712345678."

_SEPARATORS = re.compile(r"[ \u00a0\u2007\u202f().\-\u2010\u2011]+")
_TYPED = re.compile(r"(?:\+?0{0,3}254)?0?([17][0-9]{8})")
_SHOWN = re.compile(r"(254[17])(?:[0-9]{4}|\*{2,8})([0-9]{3,4})")
_SAID = re.compile(r"(?<![0-9A-Za-z_-])\+?(?:254|0)[17][0-9]{8}(?![0-9A-Za-z_-])")
_WRITTEN = re.compile(
    r"(?<![0-9A-Za-z])(?:\+?254[ .-]?|0)[17][0-9]{2}[ .-]?[0-9]{3}[ .-]?[0-9]{3}(?![0-9A-Za-z])"
)
_MAX_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A mobile number in M-Pesa's form. Its text is personal data, so its repr hides it."""

    digits: str = field(repr=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"254[17][0-9]{8}", self.digits):
            raise ValueError("A PhoneNumber is 254, then 7 or 1, then eight digits.")

    @classmethod
    def parse(cls, text: object) -> "PhoneNumber":
        """Read a number as people type it; raise InvalidValue for anything that M-Pesa could not prompt.

        Operator prefixes are not judged: numbers have been portable since 2011 and the ranges grow.
        """
        if not isinstance(text, str) or len(text) > _MAX_CHARACTERS:
            raise InvalidValue(PHONE_HELP)
        typed = _TYPED.fullmatch(_SEPARATORS.sub("", text.strip()))
        if typed is None:
            raise InvalidValue(PHONE_HELP)
        return cls("254" + typed.group(1))

    def __str__(self) -> str:
        return self.digits


def holds_phone(text: str) -> bool:
    """Return whether a text holds what may be a number, so that it must not be kept in the clear."""
    return _SAID.search(text) is not None


def may_hold_phone(text: str) -> bool:
    """Return whether a text may hold a number as people write them: in groups, or behind a word and a hyphen.

    Other numbers may look like one, so it is for where a mistake costs little.
    """
    return _WRITTEN.search(text) is not None


def masked(phone: str) -> str | None:
    """Return a number of which people see the ends alone, `2547****4567`: a whole one, or one that M-Pesa masked.

    None for anything else, such as a hash.
    """
    found = _SHOWN.fullmatch(_SEPARATORS.sub("", phone))
    return f"{found[1]}****{found[2]}" if found else None
