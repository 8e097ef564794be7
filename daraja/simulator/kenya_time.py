"""East Africa Time as M-Pesa writes it: UTC+3 all the year round, never the host's zone."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

Clock = Callable[[], datetime]
"""Returns the present moment as an aware datetime in UTC."""

_EAT = timezone(timedelta(hours=3), "EAT")


class SimulatedClock:
    """A clock that can be advanced; `moved` is by how much."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.moved = timedelta(0)

    def now(self) -> datetime:
        """Return the present moment as the simulator sees it."""
        return self._clock() + self.moved


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def in_kenya(moment: datetime) -> datetime:
    """Return an aware moment as it reads on a clock in Nairobi."""
    return moment.astimezone(_EAT)


def compact_stamp(moment: datetime) -> str:
    """Return `YYYYMMDDHHmmss` in EAT, the form of TransactionDate."""
    return in_kenya(moment).strftime("%Y%m%d%H%M%S")


def is_compact_stamp(text: str) -> bool:
    """Tell whether the text is exactly fourteen digits that name a real date and time."""
    if not re.fullmatch(r"[0-9]{14}", text):
        return False
    try:
        datetime.strptime(f"{text}+0300", "%Y%m%d%H%M%S%z")
    except ValueError:
        return False
    return True


def dashed_stamp(moment: datetime) -> str:
    """Return `DD-MM-YYYY HH:MM:SS` in EAT, the form of the organisation statement."""
    return in_kenya(moment).strftime("%d-%m-%Y %H:%M:%S")


def dotted_stamp(moment: datetime) -> str:
    """Return `DD.MM.YYYY HH:MM:SS` in EAT, the form of B2C's results."""
    return in_kenya(moment).strftime("%d.%m.%Y %H:%M:%S")


def parse_kenyan(text: str) -> datetime:
    """Read `YYYY-MM-DD`, with or without a time, as an aware moment: in EAT unless it names a zone; or ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=_EAT)
