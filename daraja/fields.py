"""Single fields of what M-Pesa sends; each is read to a clean value, or to None when it is not what it should be."""

import re
from datetime import datetime

from daraja.eat import parse_transaction_date
from daraja.reading import whole_number

_RECEIPT = re.compile(r"[A-Z0-9]{1,40}")
_PLACEHOLDER = re.compile(r"[A-Z0-9]{0,4}0{6,}|0+")
_PHONE = re.compile(r"[0-9+* ]{1,40}")
_HASHED_PHONE = re.compile(r"[0-9A-Fa-f]{64}")


def receipt(value: object) -> str | None:
    """Return an M-Pesa receipt in capitals."""
    written = value.strip().upper() if isinstance(value, str) else ""
    return written if _RECEIPT.fullmatch(written) else None


def genuine_receipt(value: object) -> str | None:
    """Return a receipt that stands for a transaction; failed requests carry a date and zeros, as in UKF0000000."""
    found = receipt(value)
    return None if found is None or _PLACEHOLDER.fullmatch(found) else found


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
