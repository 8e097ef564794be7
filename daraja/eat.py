"""East Africa Time as M-Pesa writes it: UTC+3 all the year, converted here and never by the host's own zone."""

import re
from datetime import UTC, datetime, timedelta, timezone

EAT = timezone(timedelta(hours=3), "EAT")

CLOCK_SKEW = timedelta(minutes=10)
"""How far M-Pesa's clock and ours may be apart."""

MPESA_BEGAN = datetime(2007, 3, 6, tzinfo=EAT)
"""No payment is older than M-Pesa."""

_DIGITS = re.compile(r"[0-9]{14}")
_WITH_DASHES = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


def timestamp(now: datetime) -> str:
    """Write an aware moment as Daraja's `YYYYMMDDHHmmss` in EAT; raise ValueError for a naive one."""
    if now.utcoffset() is None:
        raise ValueError("A timestamp for Daraja is made from an aware datetime.")
    moment = now.astimezone(EAT)
    return f"{moment.year:04}{moment.month:02}{moment.day:02}{moment.hour:02}{moment.minute:02}{moment.second:02}"


def with_dashes(now: datetime) -> str:
    """Write an aware moment as `YYYY-MM-DD HH:mm:ss` in EAT; raise ValueError for a naive one."""
    digits = timestamp(now)
    date, time = (digits[:4], digits[4:6], digits[6:8]), (digits[8:10], digits[10:12], digits[12:])
    return f"{'-'.join(date)} {':'.join(time)}"


def parse_transaction_date(written: int | str) -> datetime:
    """Read M-Pesa's time as an aware UTC datetime; raise ValueError when it is none.

    Callbacks write a 14-digit number in EAT; `YYYY-MM-DD HH:MM:SS`, reported by one source, is understood
    too.
    """
    if isinstance(written, bool):
        raise ValueError("A truth value is not a time.")
    text = str(written).strip() if isinstance(written, str) or 0 <= written < 10**14 else ""
    if _WITH_DASHES.fullmatch(text):
        text = "".join(character for character in text if character.isdigit())
    if not _DIGITS.fullmatch(text):
        raise ValueError("A time from M-Pesa has 14 digits: YYYYMMDDHHmmss.")
    year, rest = int(text[:4]), text[4:]
    month, day, hour, minute, second = (int(rest[start : start + 2]) for start in range(0, 10, 2))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=EAT).astimezone(UTC)
    except OverflowError:
        raise ValueError("This time lies before the calendar begins.") from None


def guess_moment(written: str) -> datetime | None:
    """Read a time of undocumented form as aware UTC: in the zone that it names, else in EAT; or None."""
    try:
        return parse_transaction_date(written)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(written.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=EAT)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def is_plausible(reported: datetime, *, arrived_at: datetime, since: datetime = MPESA_BEGAN) -> bool:
    """Say whether a payment can be of a reported time: from `since` until the report arrived, give or take a skew."""
    return since - CLOCK_SKEW <= reported <= arrived_at + CLOCK_SKEW
