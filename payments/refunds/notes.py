"""Notes of operators: they stay in the log for ever, so phone numbers are refused."""

import re
import unicodedata

from ledger.errors import wrong_fields

MAX_CHARACTERS = 200

_PHONE = re.compile(
    r"(?<![0-9A-Za-z])\(?(?:\+?[ ]?254|0)?\)?(?:[ ().-]{0,2})[17](?:[ ().-]{0,2}[0-9]){8}(?![0-9A-Za-z])"
)
_CHECKOUT_ID = "ws_co_"
_NOT_PLAIN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
"""The Unicode categories of characters that are invisible, or change how others are shown."""


def parse_note(text: str, field: str) -> str:
    """Return the text trimmed; raise InvalidValue for `field` if it may not be kept for ever.

    It has 1 to 200 characters, no control or invisible ones, and neither a phone number nor M-Pesa's name of a
    prompt, which holds one. Names cannot be told from other words: leave them out.
    """
    note = text.strip()
    if not 1 <= len(note) <= MAX_CHARACTERS:
        raise wrong_fields({field: [f"Write 1 to {MAX_CHARACTERS} characters."]})
    if any(unicodedata.category(character) in _NOT_PLAIN for character in note):
        raise wrong_fields(
            {field: ["Write one line of plain text, without control or invisible characters."]}
        )
    if _PHONE.search(_with_plain_digits(note)) or _CHECKOUT_ID in note.lower():
        description = (
            "Leave the phone number out, and whatever else is personal: this text is kept for ever. "
            "The session's id says whom it is about."
        )
        raise wrong_fields({field: [description]})
    return note


def _with_plain_digits(text: str) -> str:
    """Return the text with the digits of all scripts as 0 to 9."""
    digits = ((character, unicodedata.decimal(character, None)) for character in text)
    return "".join(character if digit is None else str(digit) for character, digit in digits)
