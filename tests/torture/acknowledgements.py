"""What was acknowledged to a client, kept until the end, when each acknowledgement must hold."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True)
class Created:
    """A buyer was answered 201: this session is his, and comes to this total, in cents."""

    session_id: str
    user: int
    total_cents: int


@dataclass(frozen=True)
class Extended:
    """A buyer was answered 200: he may pay until then (whole seconds, as shown)."""

    session_id: str
    expires_at: str


@dataclass(frozen=True)
class Prompted:
    """A buyer was answered 200, or 202 without M-Pesa's id: a prompt is on its way, or may be."""

    session_id: str
    transaction_id: int
    checkout_request_id: str | None


@dataclass(frozen=True)
class Ordered:
    """A buyer was shown this order."""

    session_id: str
    order_id: int
    order_number: str


Promise = Created | Extended | Prompted | Ordered


class Promises:
    """Filled by many buyers at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.made: list[Promise] = []
        self.met = Counter[str]()
        self.broken: list[str] = []
        self.keys_of_user = Counter[int]()
        self.keys_of_session: dict[str, Counter[str]] = defaultdict(Counter)

    def keep(self, promise: Promise) -> None:
        """Write down what was acknowledged."""
        with self._lock:
            self.made.append(promise)

    def count(self, what: str) -> None:
        """Count something that a buyer met."""
        with self._lock:
            self.met[what] += 1

    def complain(self, sentence: str) -> None:
        """Write down something that must never be answered."""
        with self._lock:
            self.broken.append(sentence)

    def use_key_for_session(self, user: int) -> None:
        """Count a key under which a user asked for a session: it may have made one, and not two."""
        with self._lock:
            self.keys_of_user[user] += 1

    def use_key(self, session_id: str, command: str) -> None:
        """Count a key under which a session was asked for something: once at most it may have been done."""
        with self._lock:
            self.keys_of_session[session_id][command] += 1

    def kept(self) -> int:
        """Return how many acknowledgements there are."""
        with self._lock:
            return len(self.made)
