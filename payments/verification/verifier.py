"""Verification runs: the invariants of ledger, read side, inbox and shop, each run stored for auditors."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from psycopg import Connection

from ledger import clock
from ledger.store.blocks import KeptName
from ledger.store.database import Database
from ledger.store.vault import Vault
from projections.integrity import verification_runs
from projections.integrity.invariants import Found, examine
from projections.integrity.verification_runs import VerificationRun
from projections.integrity.violations import Violation, stream
from shop import invariants as shop_invariants

MAX_EVENTS_TO_DOUBLE = 100_000
"""After a run over more events time alone decides: to count them each minute would cost too much."""

# What the rows of sessions say is compared with their events.
MISMADE_ORDERS = """
SELECT session_id, made.order_id,
       CASE WHEN made.order_id IS NULL THEN 'its order is not in the shop'
            WHEN session.session_status = 'order_created'
                THEN format('order %s is not what its events say', made.order_id)
            ELSE format('order %s was made without its money', made.order_id) END AS detail
FROM shop_orders AS made FULL JOIN (
    SELECT session_id, session_status, order_id, total_cents FROM payment_sessions
    WHERE shop = 'builtin' AND session_status IN ('paid', 'order_created')) AS session USING (session_id)
WHERE (made.order_id IS NULL AND session.session_status = 'order_created')
   OR (made.order_id IS NOT NULL AND made.total_cents IS DISTINCT FROM session.total_cents)
   OR (session.session_status = 'order_created' AND made.order_id IS DISTINCT FROM session.order_id)
ORDER BY session_id
"""


@dataclass(frozen=True, slots=True)
class Invariant:
    """One thing that must always be true, and the rules that ask the store for it; none where the store cannot tell."""

    number: int
    statement: str
    rules: tuple[str, ...]


INVARIANTS = (
    Invariant(1, "Each M-Pesa success is recorded on exactly one session, once.", ("receipts",)),
    Invariant(
        2,
        "A session with money has exactly one of: an order, a refund, or an open case.",
        ("money", "cases", "refunds"),
    ),
    Invariant(3, "There is no order without its money.", ("orders",)),
    Invariant(4, "Received = orders + refunded + held, to the cent.", ("sums",)),
    Invariant(5, "Versions run 1 to n, and every transition is legal.", ("versions", "transitions")),
    Invariant(
        6,
        "What was acknowledged survives a kill. (Shown by killing: the store does not know what it lost.)",
        (),
    ),
    Invariant(
        7,
        "Each acknowledged callback is in the inbox once, and each payment names what proves it.",
        ("letters", "sources"),
    ),
    Invariant(
        8, "Projections equal a fold of the log, row for row.", ("rows", "metrics", "refunds", "cases")
    ),
    Invariant(
        9,
        "Hash chains and signed blocks verify, and each event carries our MAC.",
        ("hash chain", "event macs", "blocks"),
    ),
    Invariant(
        10,
        "One idempotency key has one effect. (Held by a primary key, and shown by repeating requests.)",
        (),
    ),
    Invariant(11, "There is at most one live prompt a session and a phone.", ("prompts",)),
    Invariant(
        12,
        "No personal data are in the clear, and none of a customer who was erased can be read.",
        ("personal data", "erasures"),
    ),
    Invariant(13, "Stock is never negative, and is what was stocked minus what was sold.", ("shop",)),
)


class Verifier:
    """Verifies the whole store. Reads only, except for the record of the run, and may run beside a working system."""

    def __init__(self, database: Database, vault: Vault, *, prompt_seconds: int, every: timedelta) -> None:
        self._database = database
        self._vault = vault
        self._prompt_seconds = prompt_seconds
        self._every = every

    def run(self, kept_blocks: Iterable[KeptName] = ()) -> VerificationRun:
        """Check every invariant, store the run, and return it. Raises Unavailable.

        `kept_blocks` are names of signed blocks that were kept elsewhere and must still be there.
        """
        started_at = clock.now()
        found = examine_all(
            self._database,
            self._vault,
            is_idle=False,
            with_messages=True,
            prompt_seconds=self._prompt_seconds,
            kept_blocks=kept_blocks,
        )
        plain = [_plain(violation) for violation in found.violations]
        run = VerificationRun(uuid4(), started_at, clock.now(), found.events, version("daftari"), plain)
        verification_runs.keep(self._database, run)
        return run

    def is_due(self) -> bool:
        """Say whether the last run is long enough ago, or the log has doubled since."""
        last = verification_runs.last(self._database)
        if last is None:
            return verification_runs.count_events(self._database, at_most=1) > 0
        return clock.now() - last.started_at >= self._every or self._has_doubled(last)

    def _has_doubled(self, last: VerificationRun) -> bool:
        if last.events > MAX_EVENTS_TO_DOUBLE:
            return False
        wanted = max(1, 2 * last.events)
        return verification_runs.count_events(self._database, at_most=wanted) == wanted

    def last(self) -> VerificationRun | None:
        """Return the last completed run, None before the first."""
        return verification_runs.last(self._database)


def violations(database: Database, vault: Vault | None = None, **options: Any) -> list[Violation]:
    """Return every violation in ledger, read side and shop; takes the arguments of `examine`."""
    return examine_all(database, vault, **options).violations


def examine_all(database: Database, vault: Vault | None = None, **options: Any) -> Found:
    """Return what is wrong in ledger, read side and shop; takes the arguments of `examine`."""
    return examine(database, vault, also=_of_shop, **options)


def _of_shop(connection: Connection[Any]) -> Iterator[Violation]:
    for row in stream(connection, "orders", MISMADE_ORDERS):
        yield Violation("orders", row["detail"], row["session_id"])
    for detail in shop_invariants.check(connection):
        yield Violation("shop", detail)


def _plain(violation: Violation) -> dict[str, Any]:
    session_id = violation.session_id
    return {
        "rule": violation.rule,
        "told": violation.detail,
        "session_id": str(session_id) if session_id else None,
    }
