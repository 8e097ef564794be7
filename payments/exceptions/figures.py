"""What operators watch, as figures: read from tables when they are asked for, so that they survive every restart.

A read costs a bounded number of rows, each found by an index, however large the log is.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from ledger import clock
from ledger.errors import Unavailable
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.positions import read_horizon, read_horizon_holder
from payments.exceptions import work_list
from payments.exceptions.alarms import Alarms
from payments.operators.switches import Switch, Switches
from payments.verification.verifier import INVARIANTS, Verifier, run_that_counts
from payments.worker.processes import FOLLOWERS
from projections.lags import lags

Figures = Mapping[str, float | Mapping[str, float]]
"""Values by name; where a name has several, by what they are of."""

MAX_COUNTED = 10_000
"""Where counts and sums stop: so many are long beyond what anybody waits for."""

READ_AGAIN_AFTER = timedelta(seconds=1)
WAIT_SECONDS = 5.0
"""For so long at most somebody waits while another reads."""

HELD_LONG_SECONDS = 3.0
"""An ordinary write holds the log back for less."""

RULES = frozenset(rule for invariant in INVARIANTS for rule in invariant.rules)
OTHER_RULE = "other"

# Conditions match partial indexes. An open attempt is in doubt: money may have moved, and nobody knows yet.
# Of seconds, because a moment that somebody planted may be one that Python has not.
_WAITING = f"""
SELECT kind, greatest(0, extract(epoch FROM %(now)s::timestamptz) - extract(epoch FROM since))::float8 AS seconds
FROM (VALUES
    ('payment_in_doubt', (SELECT last_requested_at FROM payment_sessions WHERE open_attempts > 0
                          ORDER BY last_requested_at LIMIT 1)),
    ('refund_in_doubt', (SELECT min(doubted_at) FROM (
        SELECT doubted_at FROM payment_refunds WHERE state = 'requested' AND in_doubt
        ORDER BY due_at LIMIT {MAX_COUNTED}) AS doubted)),
    ('paid_without_order', (SELECT paid_at FROM payment_sessions WHERE session_status = 'paid'
                            ORDER BY paid_at LIMIT 1)),
    ('inbound_message', (SELECT min(received_at) FROM (
        SELECT received_at FROM daraja_inbox WHERE state = 'new' AND is_proven
        ORDER BY next_try_at LIMIT {MAX_COUNTED}) AS unread)),
    ('webhook_delivery', (SELECT min(queued_at) FROM (
        SELECT queued_at FROM webhook_endpoints AS endpoint JOIN webhook_deliveries AS delivery USING (endpoint_id)
        WHERE endpoint.state = 'enabled' AND delivery.state = 'pending' LIMIT {MAX_COUNTED}) AS untold))
) AS oldest (kind, since)
"""  # noqa: S608 - made of constants only
_MONEY_HELD = f"""
SELECT (SELECT sum(total_cents) FROM (
           SELECT total_cents FROM payment_sessions WHERE session_status = 'paid'
           ORDER BY paid_at LIMIT {MAX_COUNTED}) AS paid) AS paid_without_order,
       (SELECT sum(refund_due_cents) FROM (
           SELECT refund_due_cents FROM payment_sessions WHERE refund_due_cents > 0
           ORDER BY session_id LIMIT {MAX_COUNTED}) AS due) AS refund_due
"""  # noqa: S608 - as above
_DEAD_LETTERS = f"""
SELECT count(*) FILTER (WHERE is_known) AS messages, count(*) FILTER (WHERE NOT is_known) AS unauthenticated_messages,
       (SELECT count(*) FROM (SELECT FROM follower_failures WHERE state = 'set_aside'
                              LIMIT {MAX_COUNTED}) AS failed) AS events
FROM (SELECT is_proven OR session_id IS NOT NULL AS is_known FROM daraja_inbox WHERE state = 'set_aside'
      LIMIT {MAX_COUNTED}) AS message
"""  # noqa: S608 - as above
_BLOCKS = """
SELECT coalesce(block.number, 0)::float8 AS daftari_block_height,
       coalesce(extract(epoch FROM clock_timestamp() - block.signed_at), 0)::float8 AS daftari_block_seconds,
       coalesce(extract(epoch FROM clock_timestamp() - (
           SELECT recorded_at FROM payment_events
           WHERE origin = %(origin)s AND position > coalesce(block.until_position, 0)
           ORDER BY position LIMIT 1)), 0)::float8 AS daftari_unsigned_seconds
FROM (VALUES (1)) AS one LEFT JOIN LATERAL (
    SELECT number, signed_at, until_position FROM signed_blocks WHERE origin = %(origin)s ORDER BY number DESC LIMIT 1
) AS block ON true
"""


class Watched:
    """Reads the figures, for all who ask at once together. Safe to share between threads."""

    def __init__(
        self,
        database: Database,
        macs: EventMacs | None,
        alarms: Alarms,
        switches: Switches,
        verifier: Verifier,
    ) -> None:
        self._database = database
        self._macs = macs
        self._alarms = alarms
        self._switches = switches
        self._verifier = verifier
        self._reading = Lock()
        self._known: tuple[datetime, Figures] | None = None

    def figures(self) -> Figures:
        """Return the figures as they were at most a second ago: ages in seconds, money in cents. Raises Unavailable."""
        if not self._reading.acquire(timeout=WAIT_SECONDS):
            raise Unavailable
        try:
            now = clock.now()
            if self._known is None or not timedelta() <= now - self._known[0] < READ_AGAIN_AFTER:
                self._known = now, self._read(now)
            return self._known[1]
        finally:
            self._reading.release()

    def _read(self, now: datetime) -> Figures:
        with self._database.connection() as connection:
            holder = read_horizon_holder(connection)
            origin, _ = read_horizon(connection)
            waiting = connection.execute(_WAITING.encode(), {"now": now}).fetchall()
            money, dead, blocks = (
                connection.execute(statement.encode(), {"origin": origin}).fetchone() or {}
                for statement in (_MONEY_HELD, _DEAD_LETTERS, _BLOCKS)
            )
        behind = lags(self._database, FOLLOWERS)
        tallies = work_list.tally(self._database, now, alarms=self._alarms.open(now), macs=self._macs)
        is_held = holder is not None and holder.seconds >= HELD_LONG_SECONDS
        return {
            "daftari_open_cases": {str(kind): float(tally.cases) for kind, tally in tallies.items()},
            "daftari_seconds_left": {
                kind: (ends_at - now).total_seconds() for kind, ends_at in self._alarms.ends().items()
            },
            "daftari_switched_off": {name: float(self._switches.off(name) is not None) for name in Switch},
            "daftari_follower_events_behind": {name: float(lag.events) for name, lag in behind.items()},
            "daftari_follower_seconds_behind": {name: lag.seconds for name, lag in behind.items()},
            "daftari_horizon_seconds": {
                "transaction": holder.seconds if holder is not None and is_held else 0.0
            },
            "daftari_oldest_waiting_seconds": {row["kind"]: row["seconds"] or 0.0 for row in waiting},
            "daftari_money_held_cents": _floats(money),
            "daftari_dead_letters": _floats(dead),
            **blocks,
            **self._verified(now),
        }

    def _verified(self, now: datetime) -> Figures:
        runs = self._verifier.latest()
        run = run_that_counts(*runs)
        found = Counter(_rule(violation) for violation in run.violations) if run else Counter()
        return {
            "daftari_verified_seconds": {
                str(each.form): (now - each.finished_at).total_seconds() for each in runs if each
            },
            "daftari_invariant_violations": {
                rule: float(found[rule]) for rule in (*sorted(RULES), OTHER_RULE)
            },
        }


def _rule(violation: Mapping[str, Any]) -> str:
    rule = violation.get("rule")
    return rule if rule in RULES else OTHER_RULE


def _floats(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value or 0) for name, value in row.items()}
