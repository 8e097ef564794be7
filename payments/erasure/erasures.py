"""Erases a customer: one person proposes, another approves, unless the law or money on its way stands against it.

Proposals, holds and erasures are entries of the audit log, whose MAC only the application can make: an entry that was
written past it counts for nothing here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection

from ledger import clock
from ledger.errors import Rejected
from ledger.store.audit_log import CUSTOMER_ERASED, AuditLog
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.erasure.phones import phone_digests_of
from payments.refunds.notes import parse_note

PROPOSED = "erasure_proposed"
BY_RETENTION = "policy:retention"
"""The actor of an erasure that nobody asked for: the customer has not come back for years."""

HELD, RELEASED = "legal_hold_placed", "legal_hold_lifted"
HELD_AFTER_LIFT = timedelta(days=7)
"""For so long PostgreSQL heeds a hold that was lifted, see held_customers."""

_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('daftari erasure ' || %s, 0))"
_IS_BACK = "SELECT FROM payment_sessions WHERE user_id = %s AND created_at > %s LIMIT 1"
_STANDING = """
SELECT EXISTS (SELECT FROM customer_keys WHERE user_id = %(user)s AND wrapped_key IS NULL) AS is_erased,
       %(user)s IN (SELECT held_customers()) AS is_held,
       (SELECT count(*) FROM payment_sessions WHERE user_id = %(user)s) AS sessions,
       (SELECT count(*) FROM payment_sessions WHERE user_id = %(user)s AND (
            open_attempts > 0 OR refund_due_cents > 0 OR session_status = 'paid'
            OR (session_status IN ('pending', 'payment_initiated') AND expires_at > %(now)s))) AS under_way,
       (SELECT max(paid_at) FROM payment_sessions WHERE user_id = %(user)s) AS last_paid_at,
       (SELECT count(*) FROM payment_refunds JOIN payment_sessions USING (session_id)
         WHERE user_id = %(user)s AND payment_refunds.state <> 'refunded') AS open_refunds,
       (SELECT count(*) FROM daraja_inbox JOIN payment_sessions USING (session_id)
         WHERE user_id = %(user)s AND state = 'new') AS waiting_messages,
       (SELECT count(*) FROM daraja_inbox WHERE key_owner = %(user)s) AS messages,
       (SELECT count(*) FROM shop_orders WHERE user_id = %(user)s) AS orders,
       (SELECT count(*) FROM idempotency_keys WHERE user_id = %(user)s) AS kept_answers
"""
_BY_PHONE = """
SELECT (SELECT count(*) FROM daraja_inbox WHERE phone_digests && %(digests)s::text[]) AS messages,
       (SELECT count(*) FROM mpesa_movements WHERE payer_digest = ANY(%(digests)s::text[])
          AND verdict = 'unknown' AND closed_at IS NULL) AS unmatched
"""


@dataclass(frozen=True)
class ErasurePlan:
    """What erasing a customer would do: how many rows of each kind, and the sentences that stand against it."""

    user_id: int
    counts: dict[str, int]
    obstacles: tuple[str, ...]
    proposed_by: str | None
    is_erased: bool


class Erasures:
    """Plans, proposes and carries out erasures, and keeps legal holds. Safe to share between threads.

    `by` is "user:42" or "cli:user:42". `retention` is how long after the last payment the data must be kept.
    """

    def __init__(self, database: Database, vault: Vault, audit_log: AuditLog, retention: timedelta) -> None:
        self._database = database
        self._vault = vault
        self._audit_log = audit_log
        self._retention = retention

    def plan(self, user_id: int) -> ErasurePlan:
        """Return what an erasure would do now; change nothing."""
        with self._database.connection() as connection:
            return self._plan(connection, user_id, phone_digests_of(connection, self._vault, user_id))

    def propose(self, user_id: int, *, by: str, reason: str) -> ErasurePlan:
        """Propose an erasure, for another person to approve. Raises Rejected, and InvalidValue for the reason."""
        reason = parse_note(reason, "reason")
        _refuse_own(user_id, by)
        self._refuse(self.plan(user_id))
        self._audit_log.record(None, PROPOSED, actor=by, subject=_subject(user_id), reason=reason)
        return self.plan(user_id)

    def approve(self, user_id: int, *, by: str) -> dict[str, int]:
        """Erase a customer as another person proposed; return how many rows of each kind were erased.

        Raises Rejected ERASURE_NOT_PROPOSED, ERASURE_NEEDS_ANOTHER, ERASURE_REFUSED, and ERASED.
        """
        _refuse_own(user_id, by)
        with self._database.transaction() as connection:
            connection.execute(_ONE_AT_A_TIME, (str(user_id),))
            digests = phone_digests_of(connection, self._vault, user_id)
            plan = self._plan(connection, user_id, digests)
            self._refuse(plan)
            if plan.proposed_by is None:
                raise Rejected(
                    "ERASURE_NOT_PROPOSED", "Somebody has to propose this erasure first, with a reason."
                )
            if _number(plan.proposed_by) == _number(by):
                raise Rejected(
                    "ERASURE_NEEDS_ANOTHER", "Another person than who proposed it must approve this."
                )
            return self._erase(connection, user_id, digests, by, {"proposed_by": plan.proposed_by})

    def erase_inactive(self, user_id: int, since: datetime) -> None:
        """Erase a customer without a session after `since`, as the retention of customers says.

        Raises Rejected if they came back, or if something stands against it; and Erased.
        """
        with self._database.transaction() as connection:
            connection.execute(_ONE_AT_A_TIME, (str(user_id),))
            if connection.execute(_IS_BACK, (user_id, since)).rowcount:
                raise Rejected("ERASURE_REFUSED", "The customer has a newer session.")
            digests = phone_digests_of(connection, self._vault, user_id)
            self._refuse(self._plan(connection, user_id, digests))
            self._erase(connection, user_id, digests, BY_RETENTION, {"no_session_since": since.isoformat()})

    def hold(self, user_id: int, *, by: str, reason: str, lift: bool = False) -> None:
        """Place a legal hold on a customer's data, or lift it. Raises InvalidValue for the reason."""
        reason = parse_note(reason, "reason")
        with self._database.transaction() as connection:
            connection.execute(_ONE_AT_A_TIME, (str(user_id),))
            kind = RELEASED if lift else HELD
            self._audit_log.record(connection, kind, actor=by, subject=_subject(user_id), reason=reason)

    def _erase(
        self, connection: Connection[Any], user_id: int, digests: list[str], by: str, details: dict[str, Any]
    ) -> dict[str, int]:
        counts = self._vault.erase(user_id, digests, connection)
        details |= {"erased": counts}
        self._audit_log.record(
            connection, CUSTOMER_ERASED, actor=by, subject=_subject(user_id), details=details
        )
        return counts

    def _plan(self, connection: Connection[Any], user_id: int, digests: list[str]) -> ErasurePlan:
        now = clock.now()
        row = connection.execute(_STANDING, {"user": user_id, "now": now}).fetchone()
        named = connection.execute(_BY_PHONE, {"digests": digests}).fetchone()
        assert row is not None
        assert named is not None
        counts = {name: row[name] for name in ("sessions", "orders", "kept_answers", "messages")}
        counts["messages_by_phone"] = named["messages"]
        row |= {"unmatched": named["unmatched"]}
        proposal = self._audit_log.latest(connection, _subject(user_id), (PROPOSED, CUSTOMER_ERASED))
        obstacles = tuple(self._obstacles(connection, user_id, row, now))
        proposed_by = proposal.actor if proposal is not None and proposal.kind == PROPOSED else None
        return ErasurePlan(user_id, counts, obstacles, proposed_by, row["is_erased"])

    def _obstacles(
        self, connection: Connection[Any], user_id: int, row: dict[str, Any], now: datetime
    ) -> Iterator[str]:
        hold = self._audit_log.latest(connection, _subject(user_id), (HELD, RELEASED))
        if hold is not None and hold.kind == HELD:
            yield f"A legal hold was placed on {clock.in_nairobi(hold.recorded_at)}; lift it first."
        elif row["is_held"] and (hold is None or hold.recorded_at <= now - HELD_AFTER_LIFT):
            yield (
                "A legal hold stands in the database that Daftari did not write; `daftari verify` names it. If there "
                f"is no case, type `daftari legal-hold {user_id} --by USER --reason TEXT --lift`: 7 days later "
                "PostgreSQL heeds it no more."
            )
        elif row["is_held"]:
            yield "A legal hold was lifted less than 7 days ago; until then PostgreSQL erases nothing."
        if row["last_paid_at"] is not None and row["last_paid_at"] + self._retention > now:
            until = row["last_paid_at"] + self._retention
            yield f"The law asks to keep the data of the last payment until {clock.in_nairobi(until)}{_LAW}."
        if row["under_way"] or row["open_refunds"]:
            yield "A payment or a refund of this customer is under way; it has to end first."
        if row["unmatched"]:
            yield "A payment from a phone of this customer belongs to no session yet; allocate or return it first."
        if row["waiting_messages"]:
            yield "Messages of M-Pesa about this customer still have to be acted on; try again in a minute."

    def _refuse(self, plan: ErasurePlan) -> None:
        if plan.is_erased:
            raise Erased
        if plan.obstacles:
            raise Rejected("ERASURE_REFUSED", " ".join(plan.obstacles))


_LAW = " (Tax Procedures Act 2015, section 23, and DAFTARI_RETENTION_DAYS)"


def _subject(user_id: int) -> str:
    return f"user:{user_id}"


def _number(actor: str) -> str:
    return actor.rpartition(":")[2]


def _refuse_own(user_id: int, by: str) -> None:
    if _number(by) == str(user_id):
        raise Rejected("ERASURE_NEEDS_ANOTHER", "No one decides about the erasure of their own data here.")
