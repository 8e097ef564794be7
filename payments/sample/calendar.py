"""When sample sessions begin: by the hours of Nairobi's day, the days of the week, and pay days."""

from bisect import bisect_right
from datetime import date, datetime, time, timedelta
from itertools import accumulate

from ledger.clock import NAIROBI

_HOURS = (4, 2, 1, 1, 2, 8, 25, 45, 55, 60, 65, 70, 90, 85, 65, 60, 65, 85, 110, 120, 100, 70, 35, 12)
"""How busy each hour of the day is, against the others."""
_WEEKDAYS = (95, 90, 95, 100, 125, 130, 80)
_PAY_DAYS, _ON_PAY_DAYS = (1, 2, 28, 29, 30, 31), 1.25
_AT_THE_END = timedelta(minutes=30)
"""No session begins so late that the next day would see its end."""


class Calendar:
    """The time from the first day to the last, both included, as days of Nairobi."""

    def __init__(self, first: date, last: date) -> None:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        self.end = datetime.combine(last + timedelta(days=1), time(), NAIROBI)
        self._hours = [datetime.combine(day, time(hour), NAIROBI) for day in days for hour in range(24)]
        weights = [_weight(day) * hour for day in days for hour in _HOURS]
        self._passed = list(accumulate(weights, initial=0.0))

    def moment(self, share: float) -> datetime:
        """Return when so large a share of all sessions has begun, 0 to below 1, to the millisecond."""
        passed = share * self._passed[-1]
        number = bisect_right(self._passed, passed) - 1
        within = (passed - self._passed[number]) / (self._passed[number + 1] - self._passed[number])
        moment = self._hours[number] + timedelta(milliseconds=int(3_600_000 * within))
        return min(moment, self.end - _AT_THE_END)


def _weight(day: date) -> float:
    return _WEEKDAYS[day.weekday()] * (_ON_PAY_DAYS if day.day in _PAY_DAYS else 1.0)
