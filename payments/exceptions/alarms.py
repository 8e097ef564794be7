"""Alarms of what runs out with time: the initiator's password, the certificate, and what M-Pesa's list still shows; and
of a log that is not followed, because somebody holds it back or no worker runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from ledger.store.database import Database
from ledger.store.positions import read_horizon_holder
from payments.worker.processes import FOLLOWERS
from projections.lags import lags

PASSWORD_LASTS = timedelta(days=90)
PASSWORD_WARNED = timedelta(days=75)
CERTIFICATE_WARNED = timedelta(days=30)
"""Before it ends; and for as long after that, because M-Pesa takes some certificates long after their end."""
PULL_LASTS = timedelta(hours=48)
PULL_WARNED = timedelta(hours=24)
FOLLOWED_WITHIN = timedelta(minutes=1)
"""How long the log may be held back, or an event wait for its followers."""

STORED_AT = """
SELECT max(updated_at) AS at FROM sealed_settings
WHERE name IN ('MPESA_INITIATOR_PASSWORD', 'MPESA_SECURITY_CREDENTIAL')
"""
PULLED = "SELECT pulled_until FROM pull_progress WHERE shortcode = %s"

INITIATOR_PASSWORD = "initiator_password"  # noqa: S105 - a kind of case
CERTIFICATE = "certificate"
PULL_BEHIND = "pull_behind"
HORIZON_HELD = "horizon_held"
FOLLOWERS_BEHIND = "followers_behind"


@dataclass(frozen=True, slots=True)
class AlarmTerms:
    """What is watched: since when the initiator's password holds, if a setting says so; when the certificate ends, if
    there is one; the shortcode whose payments are pulled, None if none are; and how soon the log has to be followed.
    """

    password_set_at: datetime | None
    certificate_ends_at: datetime | None
    pulled_shortcode: str | None
    followed_within: timedelta = FOLLOWED_WITHIN


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is warned of from `since` on; `ends_at` is when it runs out, if it does."""

    kind: str
    since: datetime
    ends_at: datetime | None = None
    detail: str = ""

    def row(self, zone: tzinfo) -> dict[str, Any]:
        """Return the alarm as a row of the work list, ready for JSON, that names the end in the time of a zone."""
        detail = self.detail
        if self.ends_at is not None:
            detail = f"runs out on {self.ends_at.astimezone(zone):%-d %B %Y %H:%M %Z}"
        return {"kind": self.kind, "since": self.since.isoformat(), "detail": detail}


def _is_long_over(alarm: Alarm, now: datetime) -> bool:
    ended_at = alarm.ends_at if alarm.kind == CERTIFICATE else None
    return ended_at is not None and now >= ended_at + CERTIFICATE_WARNED


class Alarms:
    """Reads what is watched. Safe to share between threads."""

    def __init__(self, database: Database, terms: AlarmTerms) -> None:
        self._database = database
        self._terms = terms

    def ends(self) -> dict[str, datetime]:
        """Return when each thing that is watched runs out, by its kind."""
        return {alarm.kind: alarm.ends_at for alarm in self._watched() if alarm.ends_at is not None}

    def open(self, now: datetime) -> list[Alarm]:
        """Return what is warned of now."""
        running_out = [
            alarm for alarm in self._watched() if alarm.since <= now and not _is_long_over(alarm, now)
        ]
        return running_out + list(self._not_followed(now))

    def _not_followed(self, now: datetime) -> Iterator[Alarm]:
        late = self._terms.followed_within.total_seconds()
        with self._database.connection() as connection:
            holder = read_horizon_holder(connection)
        if holder is not None and holder.seconds >= late:
            since = now - timedelta(seconds=holder.seconds)
            yield Alarm(HORIZON_HELD, since, detail=f"{holder}; to end it: {holder.ended_by}")
        behind = {name: lag for name, lag in lags(self._database, FOLLOWERS).items() if lag.seconds >= late}
        if behind:
            since = now - timedelta(seconds=max(lag.seconds for lag in behind.values()))
            detail = ", ".join(f"{name} by {lag.events} events" for name, lag in behind.items())
            yield Alarm(FOLLOWERS_BEHIND, since, detail=detail)

    def _watched(self) -> Iterator[Alarm]:
        set_at = self._terms.password_set_at or self._read(STORED_AT, "at")
        if set_at is not None:
            yield Alarm(INITIATOR_PASSWORD, set_at + PASSWORD_WARNED, set_at + PASSWORD_LASTS)
        ends_at = self._terms.certificate_ends_at
        if ends_at is not None:
            yield Alarm(CERTIFICATE, ends_at - CERTIFICATE_WARNED, ends_at)
        if self._terms.pulled_shortcode is not None:
            pulled_until = self._read(PULLED, "pulled_until", self._terms.pulled_shortcode)
            if pulled_until is not None:
                yield Alarm(PULL_BEHIND, pulled_until + PULL_WARNED, pulled_until + PULL_LASTS)

    def _read(self, statement: str, column: str, *values: object) -> datetime | None:
        with self._database.connection() as connection:
            row = connection.execute(statement.encode(), values).fetchone()
        moment: datetime | None = row[column] if row else None
        return moment
