"""After the load: wait, within a bound, until no payment is under way."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from ledger.application import Ledger
from ledger.session.values import AttemptState
from ledger.store.database import Database
from ledger.store.key_ring import KeyRing
from tests.torture.system import System

PROMPTS_AND_LATE_CALLBACKS_SECONDS = 130.0
POLL_SECONDS = 1.0

_MESSAGES = "SELECT count(*) AS n FROM daraja_inbox WHERE state = 'new' AND is_proven"
_FAILURES = "SELECT count(*) AS n FROM follower_failures WHERE state = 'retrying'"
_REFUNDS = (
    "SELECT count(*) AS n FROM payment_refunds WHERE state IN ('approved', 'requested') AND NOT in_doubt"
)
_MOVING = "SELECT session_id FROM payment_sessions WHERE session_status IN ('pending', 'paid')"
_ATTEMPTS = "SELECT session_id FROM payment_sessions WHERE open_attempts > 0"


@dataclass(frozen=True)
class UnderWay:
    """How much is under way: open sessions and attempts, inbox messages, retried events, refunds.

    A refund whose result did not come has its case, for an operator. Attempts whose CheckoutRequestID never arrived
    are `in_doubt`: they cannot be queried, and a statement resolves them.
    """

    sessions: int
    attempts: int
    messages: int
    failures: int
    refunds: int
    in_doubt: int

    @property
    def is_nothing(self) -> bool:
        """Whether all is resolved, except what only a statement resolves."""
        return not (self.sessions or self.attempts or self.messages or self.failures)

    @property
    def wants_a_statement(self) -> bool:
        """Whether attempts are in doubt, or refunds are open whose result may be lost."""
        return bool(self.in_doubt or self.refunds)

    def __str__(self) -> str:
        counts = {
            "sessions": self.sessions,
            "attempts": self.attempts,
            "messages": self.messages,
            "events to retry": self.failures,
            "refunds": self.refunds,
            "in doubt": self.in_doubt,
        }
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def drain(system: System, within_seconds: float) -> tuple[float, UnderWay]:
    """Wait until nothing is under way; return the seconds it took, and what was left at the bound."""
    began = time.monotonic()
    with database_of(system) as database:
        ledger = Ledger(database, KeyRing(database, system.settings.daftari_master_key))
        while not (left := under_way(ledger)).is_nothing:
            if time.monotonic() - began > within_seconds:
                break
            time.sleep(POLL_SECONDS)
    return time.monotonic() - began, left


def under_way(ledger: Ledger) -> UnderWay:
    """Count what is under way."""
    attempts = in_doubt = 0
    with ledger.database.connection() as connection:
        sessions = connection.execute(_MOVING).rowcount
        messages, failures, refunds = (_count(connection, each) for each in (_MESSAGES, _FAILURES, _REFUNDS))
        open_sessions = [row["session_id"] for row in connection.execute(_ATTEMPTS)]
    for session_id in open_sessions:
        for attempt in ledger.session(session_id).open_attempts:
            can_resolve = attempt.checkout_sealed is not None or attempt.state == AttemptState.REQUESTED
            attempts += can_resolve
            in_doubt += not can_resolve
    return UnderWay(sessions, attempts, messages, failures, refunds, in_doubt)


@contextmanager
def database_of(system: System) -> Iterator[Database]:
    """Open a pool on the system's database, past the proxy."""
    with closing(Database(system.database_url, max_connections=4)) as database:
        yield database


def _count(connection: Connection[Any], statement: str) -> int:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row["n"])
