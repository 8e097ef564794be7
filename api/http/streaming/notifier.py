"""The change notifier: one thread of a process that tells its subscribers when their session changes.

It polls once for all of them, ten times a second while there are any, and not at all otherwise. The code that writes
knows nothing of subscribers, so they cost a payment nothing.
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

CHECK_EVERY_SECONDS = 0.1
CHECK_EVERY_SECONDS_IN_AN_OUTAGE = 1.0
RETRY_AFTER_SECONDS = 5
SHARES = 20
"""How many users it takes to hold every slot, where there are enough slots for that."""

MIN_OF_A_USER = 4
"""A buyer's tabs, where there are few slots; but no more than half of these."""

_EXTENSION = "daftari_notifier"

_log = structlog.get_logger(__name__)


class Subscriber(ABC):
    """One client that waits for a session to go beyond `version`, or, without a session, for time to pass."""

    wants_rows = False
    """Whether it is given the changed session, or only told that there is a change."""

    def __init__(self, user_id: int, row: SessionRow | None = None, version: int = 0) -> None:
        self.user_id = user_id
        self.session_id = row.session_id if row else None
        self.version = version
        self.expires_at = expiry_of(row) if row else None

    def is_expired(self, now: datetime) -> bool:
        """Tell whether the session has expired by now, which no event may say yet."""
        return self.expires_at is not None and now >= self.expires_at

    @abstractmethod
    def notify(self, row: SessionRow | None, next_action: NextAction | None) -> bool:
        """Pass a change on, with the session's row if it is wanted; return whether the client goes on waiting."""

    @abstractmethod
    def on_tick(self, now_seconds: float) -> bool:
        """Let time pass without a change, up to a monotonic time; return whether the client goes on waiting."""


def expiry_of(row: SessionRow) -> datetime | None:
    """Return when a session expires without an event, None if it cannot: only a pending one does."""
    is_waiting = row.session_status == Status.PENDING and not row.open_attempts
    return row.expires_at if is_waiting else None


class ChangeNotifier:
    """Notifies the subscribers of this process: at most `most` of them, and of one user a twentieth, or MIN_OF_A_USER.

    A subscriber registers, which takes a slot; then starts, and may be notified from then on; then leaves. Safe to
    share between threads.
    """

    def __init__(self, services: Callable[[], Services], most: int) -> None:
        self._services = services
        self._max = most
        self._max_of_a_user = max(most // SHARES, min(MIN_OF_A_USER, max(1, most // 2)))
        self._lock = Lock()
        self._registered: set[Subscriber] = set()
        self._of_user = Counter[int]()
        self._waiting: set[Subscriber] = set()
        self._has_subscribers = Event()
        self._closed = Event()
        self._thread: Thread | None = None
        self._is_interrupted = False

    def register(self, subscriber: Subscriber) -> None:
        """Take a slot for a subscriber. Raises Unavailable TOO_MANY_WAITING for its user, or NO_ROOM_TO_WAIT."""
        with self._lock:
            if self._of_user[subscriber.user_id] >= self._max_of_a_user:
                raise Unavailable(
                    f"You already have {self._max_of_a_user} requests waiting for changes. End some of them, or ask "
                    "without waiting.",
                    code="TOO_MANY_WAITING",
                    retry_after_seconds=RETRY_AFTER_SECONDS,
                )
            if len(self._registered) >= self._max:
                raise Unavailable(
                    "Too many clients are waiting for changes. Ask without waiting, or try again shortly.",
                    code="NO_ROOM_TO_WAIT",
                    retry_after_seconds=RETRY_AFTER_SECONDS,
                )
            self._registered.add(subscriber)
            self._of_user[subscriber.user_id] += 1

    def start(self, subscriber: Subscriber) -> None:
        """Watch for changes for a registered subscriber."""
        with self._lock:
            self._waiting.add(subscriber)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="change-notifier", daemon=True)
                self._thread.start()
            self._has_subscribers.set()

    def leave(self, subscriber: Subscriber) -> None:
        """Give up a subscriber's slot, unless it has left already; it is not notified any more."""
        with self._lock:
            self._waiting.discard(subscriber)
            if subscriber not in self._registered:
                return
            self._registered.remove(subscriber)
            self._of_user[subscriber.user_id] -= 1
            if not self._of_user[subscriber.user_id]:
                del self._of_user[subscriber.user_id]

    def close(self) -> None:
        """End the thread, if it runs."""
        self._closed.set()
        self._has_subscribers.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._has_subscribers.wait()
            with self._lock:
                waiting = list(self._waiting)
                if not waiting and not self._closed.is_set():
                    self._has_subscribers.clear()
            try:
                self._notify(waiting)
            except Exception:  # noqa: BLE001 - the next round meets it again, and no client may wait for ever
                _log.exception("change_notification_failed")
            self._closed.wait(
                CHECK_EVERY_SECONDS_IN_AN_OUTAGE if self._is_interrupted else CHECK_EVERY_SECONDS
            )

    def _notify(self, waiting: Sequence[Subscriber]) -> None:
        now, now_seconds = clock.now(), monotonic()
        versions = self._versions(waiting)
        changed = {
            subscriber
            for subscriber in waiting
            if (subscriber.session_id and versions.get(subscriber.session_id, 0) > subscriber.version)
            or subscriber.is_expired(now)
        }
        wanted = {subscriber.session_id for subscriber in changed if subscriber.wants_rows}
        rows = self._rows({session_id for session_id in wanted if session_id}, now)
        for subscriber in waiting:
            if subscriber in changed and subscriber.session_id and rows is not None:
                stays = subscriber.notify(*rows.get(subscriber.session_id, (None, None)))
            else:
                stays = subscriber.on_tick(now_seconds)
            if not stays:
                self.leave(subscriber)

    def _versions(self, waiting: Sequence[Subscriber]) -> dict[UUID, int]:
        """Return the versions of the sessions that have gone beyond what a subscriber knows."""
        known: dict[UUID, int] = {}
        for subscriber in waiting:
            if subscriber.session_id is not None:
                known[subscriber.session_id] = min(
                    subscriber.version, known.get(subscriber.session_id, subscriber.version)
                )
        try:
            found = sessions.versions_beyond(self._services().database, known) if known else {}
        except LedgerError as error:
            self._interrupted(error)
            return {}
        self._is_interrupted = False
        return found

    def _rows(
        self, session_ids: set[UUID], now: datetime
    ) -> dict[UUID, tuple[SessionRow, NextAction]] | None:
        """Return these sessions as they are now; None if the database does not answer, and the changes have to wait."""
        if not session_ids:
            return {}
        try:
            rows = sessions.rows_of(self._services().database, session_ids, now)
            next_actions = self._services().next_actions.of(rows, now)
        except LedgerError as error:
            self._interrupted(error)
            return None
        return {
            row.session_id: (row, next_action) for row, next_action in zip(rows, next_actions, strict=True)
        }

    def _interrupted(self, error: LedgerError) -> None:
        if not self._is_interrupted:
            _log.warning("change_notification_interrupted", code=error.code)
        self._is_interrupted = True


def install_notifier(app: Flask, notifier: ChangeNotifier) -> None:
    """Give the app the notifier of its process."""
    app.extensions[_EXTENSION] = notifier


def current_notifier() -> ChangeNotifier:
    """Return the notifier of the current app."""
    return cast("ChangeNotifier", current_app.extensions[_EXTENSION])
