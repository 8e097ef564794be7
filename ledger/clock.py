"""The one clock: plain, aware UTC datetimes, so that encoders and the domain never meet a test's fake class."""

from datetime import UTC, datetime, timedelta, timezone

NAIROBI = timezone(timedelta(hours=3), "EAT")
"""East Africa Time, UTC+3 all the year round: the day of the shop and of M-Pesa."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """Return the present moment as an aware datetime in UTC."""
    return _EPOCH + (datetime.now(UTC) - _EPOCH)  # A sum has the class of its left side: never a fake one.
