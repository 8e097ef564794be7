"""Movements of money that M-Pesa told us of, in whichever channel, and what was made of each."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ledger.application import RECEIPT
from ledger.errors import Rejected
from ledger.session.values import Evidence
from ledger.store.database import Database
from ledger.store.vault import SYSTEM_USER_ID, Vault

_NOTE = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence,
                             transaction_id, sealed_reference, linked_receipt, verdict, first_seen_at)
SELECT *, 'new', %s FROM unnest(%s::text[], %s::text[], %s::text[], %s::boolean[], %s::bigint[], %s::timestamptz[],
                                %s::text[], %s::bigint[], %s::text[], %s::text[])
ON CONFLICT (movement_key) DO NOTHING
"""
_KNOWN = """
SELECT movement_key, evidence, amount_cents, verdict, session_id, told FROM mpesa_movements WHERE movement_key = ANY(%s)
"""
_BETTER = "array_position({grades}, settled.evidence) >= array_position({grades}, movement.evidence)".format(
    grades=f"ARRAY{[str(grade) for grade in Evidence]}"
)
_SETTLE = f"""
UPDATE mpesa_movements AS movement
SET verdict = settled.verdict, session_id = settled.session_id, told = settled.told, settled_at = %s,
    evidence = CASE WHEN {_BETTER} THEN settled.evidence ELSE movement.evidence END,
    amount_cents = CASE WHEN {_BETTER} THEN settled.amount_cents ELSE movement.amount_cents END,
    happened_at = CASE WHEN {_BETTER} THEN settled.happened_at ELSE movement.happened_at END
FROM unnest(%s::text[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[])
     AS settled (movement_key, verdict, session_id, told, evidence, amount_cents, happened_at)
WHERE movement.movement_key = settled.movement_key
"""  # noqa: S608 - made of this file's constants only
_FIELDS = """
kind, receipt, money_in, amount_cents, happened_at, evidence, transaction_id, sealed_reference, linked_receipt,
movement_key
"""
_MOVEMENT = f"SELECT {_FIELDS} FROM mpesa_movements"  # noqa: S608 - a constant of ours
_UNPROCESSED = _MOVEMENT + " WHERE verdict = 'new' AND first_seen_at <= %s ORDER BY first_seen_at LIMIT %s"
_CLAIMED_MEANWHILE = (
    _MOVEMENT
    + """
WHERE verdict = 'unknown' AND closed_at IS NULL
  AND EXISTS (SELECT FROM payment_refs WHERE kind = %s AND value = mpesa_movements.receipt)
ORDER BY settled_at LIMIT %s
"""
)
_HELD = """
SELECT DISTINCT receipt FROM mpesa_movements WHERE receipt = ANY(%s) AND verdict = 'unknown' AND closed_at IS NULL
"""
_ASSIGN = f"""
UPDATE mpesa_movements SET verdict = 'new', transaction_id = %s, closed_by = %s, note = %s
WHERE movement_key = %s AND kind = 'payment' AND verdict = 'unknown' AND closed_at IS NULL
RETURNING {_FIELDS}
"""  # noqa: S608 - a constant of ours
_CLOSE_HELD = """
UPDATE mpesa_movements SET closed_at = %s, closed_by = %s, note = %s
WHERE receipt = %s AND verdict = 'unknown' AND closed_at IS NULL
"""
_CLOSE = """
UPDATE mpesa_movements SET closed_at = %s, closed_by = %s, note = %s
WHERE movement_key = %s AND verdict = ANY(%s) AND closed_at IS NULL
"""


class MovementKind(StrEnum):
    """What a movement is: a customer's payment, money that went back to one, or anything else of the account."""

    PAYMENT = "payment"
    REVERSAL = "reversal"
    OTHER = "other"


class Verdict(StrEnum):
    """What was made of a movement.

    NEW was kept and not acted on yet. POSTED agrees with what was known. CREDITED was news, and has been recorded.
    UNKNOWN is money without a session. KNOWN_ELSEWHERE is of a receipt that another session was credited with.
    REFUND_SETTLED is a refund's way back, REVERSAL_UNEXPECTED money that went back without one. NOT_OURS concerns no
    payment: charges, settlements, transfers.
    """

    NEW = "new"
    POSTED = "posted"
    CREDITED = "credited"
    AMOUNT_DIFFERS = "amount_differs"
    UNKNOWN = "unknown"
    KNOWN_ELSEWHERE = "known_elsewhere"
    REFUND_SETTLED = "refund_settled"
    REVERSAL_UNEXPECTED = "reversal_unexpected"
    NOT_OURS = "not_ours"


WANT_A_PERSON = (Verdict.UNKNOWN, Verdict.KNOWN_ELSEWHERE, Verdict.REVERSAL_UNEXPECTED)
"""Open until somebody closes them, or a better sighting settles them. An amount that differs is the session's case."""

FINAL = frozenset({Verdict.POSTED, Verdict.CREDITED, Verdict.REFUND_SETTLED, Verdict.NOT_OURS})
"""Seeing the same again is no news after these."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement as a witness tells it: `amount_cents` at `happened_at`, aware UTC, into the account or out of it.

    `transaction_id` is what the account reference names, where it is one of ours; else `reference` is what the payer
    typed, which may be anything. `linked_receipt` is the payment that a reversal belongs to. `reason_type` are
    M-Pesa's words, and part of the key of what is no payment.
    """

    kind: MovementKind
    receipt: str
    amount_cents: int
    happened_at: datetime
    evidence: Evidence
    money_in: bool = True
    transaction_id: int | None = None
    reference: str = field(default="", repr=False)
    linked_receipt: str | None = None
    reason_type: str = field(default="", repr=False)
    stored_key: str | None = None

    @property
    def key(self) -> str:
        """What makes it the same movement in every channel and every export."""
        if self.stored_key is not None:
            return self.stored_key
        if self.kind == MovementKind.PAYMENT:
            return f"payment {self.receipt}"
        words = f"{self.receipt}\0{self.reason_type.lower()}\0{self.money_in}\0{self.amount_cents}"
        return f"row {hashlib.sha256(words.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Settled:
    """A movement and what was made of it; `told` is a sentence for people, without personal data."""

    movement: Movement
    verdict: Verdict
    session_id: UUID | None = None
    told: str | None = None


class Movements:
    """The table of movements. Everything may be repeated."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def note(self, movements: Sequence[Movement], now: datetime) -> dict[str, Settled]:
        """Keep movements with different keys, before anything is made of them; return what is known of each by key.

        A known one is returned with the evidence and the amount that were acted on.
        """
        ordered = sorted(
            movements, key=lambda movement: movement.key
        )  # In one order, so that two never deadlock.
        columns = zip(*(self._columns(movement) for movement in ordered), strict=True)
        with self._database.connection() as connection:
            connection.execute(_NOTE, (now, *map(list, columns)))
            rows = connection.execute(_KNOWN, ([movement.key for movement in ordered],)).fetchall()
        by_key = {movement.key: movement for movement in movements}
        return {row["movement_key"]: _settled(by_key[row["movement_key"]], row) for row in rows}

    def settle(self, outcomes: Sequence[Settled], now: datetime) -> None:
        """Write down what was made of movements with different keys."""
        ordered = sorted(outcomes, key=lambda settled: settled.movement.key)
        columns = zip(
            *(
                (
                    settled.movement.key,
                    str(settled.verdict),
                    settled.session_id,
                    settled.told,
                    str(settled.movement.evidence),
                    settled.movement.amount_cents,
                    settled.movement.happened_at,
                )
                for settled in ordered
            ),
            strict=True,
        )
        with self._database.connection() as connection:
            connection.execute(_SETTLE, (now, *map(list, columns)))

    def unprocessed(self, before: datetime, limit: int) -> list[Movement]:
        """Return movements that were kept before a moment and not acted on, because a process died in between."""
        with self._database.connection() as connection:
            rows = connection.execute(_UNPROCESSED, (before, limit)).fetchall()
        return [self._movement(row) for row in rows]

    def claimed_meanwhile(self, limit: int) -> list[Movement]:
        """Return money that belonged to no session when it was seen, and whose receipt a session has by now.

        Those looked at longest ago come first, so that none is passed over for ever.
        """
        with self._database.connection() as connection:
            rows = connection.execute(_CLAIMED_MEANWHILE, (RECEIPT, limit)).fetchall()
        return [self._movement(row) for row in rows]

    def held(self, receipts: Iterable[str]) -> set[str]:
        """Return those of these receipts whose money is with us and belongs to no session."""
        with self._database.connection() as connection:
            return {row["receipt"] for row in connection.execute(_HELD, (list(receipts),)).fetchall()}

    def close_returned(self, receipt: str, *, reversal: str, now: datetime) -> None:
        """Money that belonged to no session went back by itself."""
        with self._database.connection() as connection:
            connection.execute(_CLOSE_HELD, (now, "statement", f"It went back by {reversal}.", receipt))

    def close(self, key: str, *, closed_by: str, note: str, now: datetime) -> None:
        """A person has dealt with a movement. Raises Rejected CASE_NOT_OPEN where it does not wait for one."""
        wanting = [str(verdict) for verdict in WANT_A_PERSON]
        with self._database.connection() as connection:
            closed = connection.execute(_CLOSE, (now, closed_by, note, key, wanting)).rowcount
        if not closed:
            raise Rejected("CASE_NOT_OPEN", "There is no such case, or somebody closed it already.")

    def assign(self, key: str, transaction_id: int, *, by: str, note: str) -> Movement:
        """Let money of nobody name a transaction, because a person says so; what comes of it is still to be found.

        Raises Rejected CASE_NOT_OPEN where it does not wait for that.
        """
        with self._database.connection() as connection:
            row = connection.execute(_ASSIGN, (transaction_id, by, note, key)).fetchone()
        if row is None:
            raise Rejected("CASE_NOT_OPEN", "There is no such case, or somebody closed it already.")
        return self._movement(row)

    def _columns(self, movement: Movement) -> tuple[Any, ...]:
        typed = movement.reference if movement.transaction_id is None else ""
        return (
            movement.key,
            str(movement.kind),
            movement.receipt,
            movement.money_in,
            movement.amount_cents,
            movement.happened_at,
            str(movement.evidence),
            movement.transaction_id,
            self._vault.encrypt(SYSTEM_USER_ID, typed) if typed else None,
            movement.linked_receipt,
        )

    def _movement(self, row: dict[str, Any]) -> Movement:
        encrypted = row["sealed_reference"]
        return Movement(
            kind=MovementKind(row["kind"]),
            receipt=row["receipt"],
            amount_cents=row["amount_cents"],
            happened_at=row["happened_at"],
            evidence=Evidence(row["evidence"]),
            money_in=row["money_in"],
            transaction_id=row["transaction_id"],
            reference=self._vault.decrypt(SYSTEM_USER_ID, encrypted) if encrypted else "",
            linked_receipt=row["linked_receipt"],
            stored_key=row["movement_key"],
        )


def _settled(movement: Movement, row: dict[str, Any]) -> Settled:
    known = replace(movement, evidence=Evidence(row["evidence"]), amount_cents=row["amount_cents"])
    return Settled(known, Verdict(row["verdict"]), row["session_id"], row["told"])
