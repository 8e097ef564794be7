"""Who waits for news of a payment, and the one thread of a process that looks for it.

It asks once for all of them, ten times a second while somebody waits, and not at all otherwise. Nothing on the way of
a payment knows that anybody waits, so waiting costs those who write nothing.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Event, Lock, Thread
from time import monotonic
from typing import cast
from uuid import UUID

import structlog
from flask import Flask, current_app

from ledger import clock
from ledger.errors import LedgerError, Unavailable
from ledger.session.values import Status
from payments.checkout.next_action import NextAction
from payments.services import Services
from projections import sessions
from projections.sessions import SessionRow

LOOK_EACH_SECONDS = 0.1
LOOK_EACH_SECONDS_IN_AN_OUTAGE = 1.0
RETRY_AFTER_SECONDS = 5

_EXTENSION = "daftari_notifier"

_log = structlog.get_logger(__name__)


class Subscriber(ABC):
    """One client that waits for a session to go beyond `version`."""

    wants_rows = False
    """Whether it is told what the session has become, and not only that there is news."""

    def __init__(self, row: SessionRow, version: int) -> None:
        self.user_id = row.user_id
        self.session_id = row.session_id
        self.version = version
        self.turns_at = turning_point(row)

    def is_overtaken(self, now: datetime) -> bool:
        """Whether time alone has changed the session by now."""
        return self.turns_at is not None and now >= self.turns_at

    @abstractmethod
    def notify(self, row: SessionRow | None, next_action: NextAction | None) -> bool:
        """Pass the news on, with the session's row where it is wanted; return whether the client waits for more."""

    @abstractmethod
    def on_tick(self, now_seconds: float) -> bool:
        """Let time pass without news, to a moment of the monotonic clock; return whether the client waits on."""


def turning_point(row: SessionRow) -> datetime | None:
    """Return when time alone will change what a session reads as: a pending one expires."""
    is_waiting = row.session_status == Status.PENDING and not row.open_attempts
    return row.expires_at if is_waiting else None


class ChangeNotifier:
    """The clients of this process that wait: `most` of them, half of those for one user at most.

    A waiter is admitted, which takes a place; then starts, and from then on may be told; then leaves. Safe to share
    between threads.
    """

    def __init__(self, services: Callable[[], Services], most: int) -> None:
        self._services = services
        self._max = most
        self._max_of_a_user = max(1, most // 2)
        self._lock = Lock()
        self._places: set[Subscriber] = set()
        self._of_user = Counter[int]()
        self._waiting: set[Subscriber] = set()
        self._somebody_waits = Event()
        self._closed = Event()
        self._thread: Thread | None = None
        self._is_cut_off = False

    def register(self, subscriber: Subscriber) -> None:
        """Take a place for a waiter. Raises Unavailable TOO_MANY_WAITING of this user, or NO_ROOM_TO_WAIT at all."""
        with self._lock:
            if self._of_user[subscriber.user_id] >= self._max_of_a_user:
                raise Unavailable(
                    f"You have {self._max_of_a_user} requests waiting for news already. End some of them, or ask "
                    "without waiting.",
                    code="TOO_MANY_WAITING",
                    retry_after_seconds=RETRY_AFTER_SECONDS,
                )
            if len(self._places) >= self._max:
                raise Unavailable(
                    "Too many clients are waiting for news at this moment. Ask without waiting, or try again shortly.",
                    code="NO_ROOM_TO_WAIT",
                    retry_after_seconds=RETRY_AFTER_SECONDS,
                )
            self._places.add(subscriber)
            self._of_user[subscriber.user_id] += 1

    def start(self, subscriber: Subscriber) -> None:
        """Look out for news for a waiter that has a place."""
        with self._lock:
            self._waiting.add(subscriber)
            if self._thread is None:
                self._thread = Thread(target=self._look_out, name="news", daemon=True)
                self._thread.start()
            self._somebody_waits.set()

    def leave(self, subscriber: Subscriber) -> None:
        """Give a waiter's place up; it is told nothing more. Nothing where it has left already."""
        with self._lock:
            self._waiting.discard(subscriber)
            if subscriber not in self._places:
                return
            self._places.remove(subscriber)
            self._of_user[subscriber.user_id] -= 1
            if not self._of_user[subscriber.user_id]:
                del self._of_user[subscriber.user_id]

    def close(self) -> None:
        """End the thread, if it runs."""
        self._closed.set()
        self._somebody_waits.set()
        if self._thread is not None:
            self._thread.join()

    def _look_out(self) -> None:
        while not self._closed.is_set():
            self._somebody_waits.wait()
            with self._lock:
                waiting = list(self._waiting)
                if not waiting and not self._closed.is_set():
                    self._somebody_waits.clear()
            try:
                self._serve(waiting)
            except Exception:  # noqa: BLE001 - the next round meets it again, and those who wait must not wait for ever
                _log.exception("news_not_told")
            self._closed.wait(LOOK_EACH_SECONDS_IN_AN_OUTAGE if self._is_cut_off else LOOK_EACH_SECONDS)

    def _serve(self, waiting: Sequence[Subscriber]) -> None:
        now, now_seconds = clock.now(), monotonic()
        versions = self._versions(waiting)
        with_changes = [
            subscriber
            for subscriber in waiting
            if versions.get(subscriber.session_id, 0) > subscriber.version or subscriber.is_overtaken(now)
        ]
        shown = self._shown(
            {subscriber.session_id for subscriber in with_changes if subscriber.wants_rows}, now
        )
        told = set(with_changes)
        for subscriber in waiting:
            if subscriber in told and shown is not None:
                stays = subscriber.notify(*shown.get(subscriber.session_id, (None, None)))
            else:
                stays = subscriber.on_tick(now_seconds)
            if not stays:
                self.leave(subscriber)

    def _versions(self, waiting: Sequence[Subscriber]) -> dict[UUID, int]:
        """The versions of the sessions that have gone beyond what somebody who waits for them knows."""
        known: dict[UUID, int] = {}
        for subscriber in waiting:
            known[subscriber.session_id] = min(
                subscriber.version, known.get(subscriber.session_id, subscriber.version)
            )
        try:
            found = sessions.versions_beyond(self._services().database, known) if known else {}
        except LedgerError as error:
            self._cut_off(error)
            return {}
        self._is_cut_off = False
        return found

    def _shown(
        self, session_ids: set[UUID], now: datetime
    ) -> dict[UUID, tuple[SessionRow, NextAction]] | None:
        """What these sessions have become; None where the database does not say, and the news has to wait."""
        if not session_ids:
            return {}
        try:
            rows = sessions.rows_of(self._services().database, session_ids, now)
            next_actions = self._services().next_actions.of(rows, now)
        except LedgerError as error:
            self._cut_off(error)
            return None
        return {
            row.session_id: (row, next_action) for row, next_action in zip(rows, next_actions, strict=True)
        }

    def _cut_off(self, error: LedgerError) -> None:
        if not self._is_cut_off:
            _log.warning("no_news_for_now", code=error.code)
        self._is_cut_off = True


def install_notifier(app: Flask, notifier: ChangeNotifier) -> None:
    """Give the app the notifier of its process."""
    app.extensions[_EXTENSION] = notifier


def current_notifier() -> ChangeNotifier:
    """Return the notifier of the current app."""
    return cast("ChangeNotifier", current_app.extensions[_EXTENSION])
