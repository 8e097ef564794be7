"""The one clock: plain, aware UTC datetimes, so that encoders and the domain never meet a test's fake class."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone

NAIROBI = timezone(timedelta(hours=3), "EAT")
"""East Africa Time, UTC+3 all the year round: the day of the shop and of M-Pesa."""

DAY_YEARS = range(1970, 9999)
"""The years of days that are asked for: arithmetic with the first and last days of a datetime fails."""
OUT_OF_CALENDAR = f"Choose days between {DAY_YEARS[0]} and {DAY_YEARS[-1]}."

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.date()


def start_of_day(day: date) -> datetime:
    """Return when a day begins in Nairobi, in UTC."""
    return _EPOCH + (day - _EPOCH_DAY) - NAIROBI.utcoffset(None)


def now() -> datetime:
    """Return the present moment as an aware datetime in UTC."""
    return _read()


def in_nairobi(moment: datetime) -> str:
    """Return a moment as people read it: `2024-01-15 13:30:00 EAT`."""
    return f"{moment.astimezone(NAIROBI):%Y-%m-%d %H:%M:%S} EAT"


@contextmanager
def read_from(source: Callable[[], datetime]) -> Iterator[None]:
    """Take the time from `source`, aware datetimes in UTC, in the whole process until the end of the block."""
    global _read  # noqa: PLW0603 - there is one clock, and every holder of `now` must see it change
    before, _read = _read, source
    try:
        yield
    finally:
        _read = before


def _machine_time() -> datetime:
    moment = datetime.now(UTC)
    # A sum has the class of its left side: never a fake one.
    return moment if type(moment) is type(_EPOCH) else _EPOCH + (moment - _EPOCH)


_read: Callable[[], datetime] = _machine_time
