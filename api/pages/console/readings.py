"""What the dashboard shows, read once for all who look: a process keeps the newest figures of each period for a while.

They are kept for as long as twenty readings take, so that reading them costs the database a twentieth of a connection
of a process at most, however many people look and however large the store is.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, Thread
from time import monotonic
from typing import cast

import structlog
from flask import Flask, current_app

from api.http.framework.services import SERVICES, LazyServices
from api.http.streaming.long_poll import Stream
from api.http.streaming.notifier import ChangeNotifier
from ledger import clock
from ledger.errors import LedgerError
from payments.exceptions import work_list
from payments.exceptions.next_steps import Kind
from payments.exceptions.work_list import Tally
from payments.services import Services
from projections import dashboard
from projections.dashboard import Figures, Period

MIN_SECONDS = 2.0
KEPT_READINGS = 20
"""Figures are kept for as long as so many readings like theirs take."""
MAX_SECONDS = 300.0

_EXTENSION = "daftari_dashboard"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """The figures of a period and the open cases by kind, as read at once; `version` is the same while they are."""

    figures: Figures
    cases: dict[Kind, Tally]
    version: str


class Readings:
    """The newest reading of each period. Safe to share between threads."""

    def __init__(self, services: Callable[[], Services]) -> None:
        self._services = services
        self._one_at_a_time = Lock()
        self._refreshing = Lock()
        self._kept: dict[str, tuple[Reading, float]] = {}
        self._next_try = 0.0

    def get(self, period: Period) -> Reading:
        """Return a reading to show; raises Unavailable if there is none and it cannot be read.

        One that is no longer kept is shown for MAX_SECONDS more, while it is read anew: nobody waits for a large store.
        """
        reading, good_until = self._kept.get(period.name, (None, 0.0))
        if reading is not None and monotonic() < good_until + MAX_SECONDS:
            return self.latest(period) or reading
        return self._renewed(period)

    def _renewed(self, period: Period) -> Reading:
        """Return a reading that is still kept; the first who finds none reads it, and all who wait share it."""
        with self._one_at_a_time:
            reading, good_until = self._kept.get(period.name, (None, 0.0))
            began = monotonic()
            if reading is None or began >= good_until:
                reading = self._read(period)
                took = monotonic() - began
                keeps = min(max(MIN_SECONDS, KEPT_READINGS * took), MAX_SECONDS)
                self._kept[period.name] = reading, monotonic() + keeps
            return reading

    def latest(self, period: Period) -> Reading | None:
        """Return the newest reading at once, None before the first; have it read anew if it is old."""
        reading, good_until = self._kept.get(period.name, (None, 0.0))
        if monotonic() >= max(good_until, self._next_try) and self._refreshing.acquire(blocking=False):
            Thread(target=self._refresh, args=(period,), name="dashboard", daemon=True).start()
        return reading

    def _refresh(self, period: Period) -> None:
        try:
            self._renewed(period)
        except LedgerError as error:
            self._next_try = monotonic() + MIN_SECONDS
            _log.warning("dashboard_not_read", code=error.code)
        except Exception:  # noqa: BLE001 - the next try meets it again, and one fault may not end the stream of all
            self._next_try = monotonic() + MIN_SECONDS
            _log.exception("dashboard_not_read")
        finally:
            self._refreshing.release()

    def _read(self, period: Period) -> Reading:
        services, now = self._services(), clock.now()
        figures = dashboard.read(services.database, period, now)
        tallies = work_list.tally(
            services.database, now, alarms=services.alarms.open(now), macs=services.ledger.macs
        )
        cases = {kind: tally for kind, tally in tallies.items() if tally.cases}
        content = repr((figures.window.since, figures.now, figures.before, cases))
        return Reading(figures, cases, hashlib.sha256(content.encode()).hexdigest()[:16])


class FiguresStream(Stream):
    """Tells a page the version of its period's reading whenever there is another than it has."""

    def __init__(
        self,
        notifier: ChangeNotifier,
        user_id: int,
        seconds: float,
        readings: Readings,
        period: Period,
        seen: str,
    ) -> None:
        super().__init__(notifier, user_id, seconds)
        self._readings = readings
        self._period = period
        self._seen = seen

    def notify(self, *_: object) -> bool:
        """Go on: it waits for no session."""
        return True

    def on_tick(self, now_seconds: float) -> bool:
        """Send the version of the newest reading, if it is another."""
        reading = self._readings.latest(self._period)
        if reading is not None and reading.version != self._seen:
            self._seen = reading.version
            self.connection.send(b"data: %s\n\n" % self._seen.encode())
        return super().on_tick(now_seconds)


def install_readings(app: Flask) -> None:
    """Give the app the readings of its process."""
    app.extensions[_EXTENSION] = Readings(cast("LazyServices", app.extensions[SERVICES]).get)


def current_readings() -> Readings:
    """Return the readings of the current app."""
    return cast("Readings", current_app.extensions[_EXTENSION])
