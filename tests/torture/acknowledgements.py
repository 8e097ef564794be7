"""What was acknowledged to clients, recorded until the audit, when each acknowledgement must hold."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True)
class Created:
    """A 201: the session is the buyer's, with this total in cents."""

    session_id: str
    user: int
    total_cents: int


@dataclass(frozen=True)
class Extended:
    """A 200: the session is open until then (whole seconds, as shown)."""

    session_id: str
    expires_at: str


@dataclass(frozen=True)
class Prompted:
    """A 200, or a 202 without M-Pesa's id: a prompt was sent, or may have been."""

    session_id: str
    transaction_id: int
    checkout_request_id: str | None


@dataclass(frozen=True)
class Ordered:
    """The status showed this order."""

    session_id: str
    order_id: int
    order_number: str


Acknowledgement = Created | Extended | Prompted | Ordered


class Acknowledgements:
    """All that clients saw in a run; safe for many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.records: list[Acknowledgement] = []
        self.counts = Counter[str]()
        self.violations: list[str] = []
        self.keys_of_user = Counter[int]()
        self.keys_of_session: dict[str, Counter[str]] = defaultdict(Counter)

    def record(self, acknowledgement: Acknowledgement) -> None:
        """Record an acknowledgement."""
        with self._lock:
            self.records.append(acknowledgement)

    def count(self, what: str) -> None:
        """Count an error that a client saw."""
        with self._lock:
            self.counts[what] += 1

    def report_violation(self, sentence: str) -> None:
        """Record an answer that must never be given."""
        with self._lock:
            self.violations.append(sentence)

    def use_key_for_session(self, user: int) -> None:
        """Count a key under which a user requested a session: it may have created one, not two."""
        with self._lock:
            self.keys_of_user[user] += 1

    def use_key(self, session_id: str, command: str) -> None:
        """Count a key of a command of a session: it may have taken effect once at most."""
        with self._lock:
            self.keys_of_session[session_id][command] += 1

    def total(self) -> int:
        """Return the number of acknowledgements."""
        with self._lock:
            return len(self.records)
