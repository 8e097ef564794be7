"""Movements of money as M-Pesa reported them through any channel, and what came of matching each."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Json

from ledger.errors import Rejected
from ledger.session.values import Evidence
from ledger.store.database import Database
from ledger.store.movement_macs import COLUMNS, TOLD, genuine, movement_mac
from ledger.store.vault import Vault
from payments.operators.stakes import payer_digest
from payments.reconciliation import typed_references

_STORE = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence,
                             transaction_id, sealed_reference, payer_digest, linked_receipt, category, mac,
                             verdict, first_seen_at)
SELECT movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence,
       transaction_id, sealed_reference, payer_digest, linked_receipt, category, mac, 'new', %(now)s
FROM json_to_recordset(%(movements)s) AS movement (
    movement_key text, kind text, receipt text, money_in boolean, amount_cents bigint, happened_at timestamptz,
    evidence text, transaction_id bigint, sealed_reference text, payer_digest text, linked_receipt text,
    category text, mac text)
ON CONFLICT (movement_key) DO NOTHING
"""
_KNOWN = f"""
SELECT verdict, session_id, told, {COLUMNS} FROM mpesa_movements WHERE movement_key = ANY(%(keys)s)
"""  # noqa: S608 - made of names of our own
# A row that somebody wrote past the application is as M-Pesa tells it from now on, and nothing came of it.
_REPLACE_FORGED = """
UPDATE mpesa_movements AS movement
SET verdict = 'new', session_id = NULL, told = NULL, journal_ordinal = nullif(journal_ordinal, 0),
    evidence = genuine.evidence, amount_cents = genuine.amount_cents,
    happened_at = genuine.happened_at, transaction_id = genuine.transaction_id, mac = genuine.mac
FROM json_to_recordset(%(movements)s) AS genuine (
    movement_key text, evidence text, amount_cents bigint, happened_at timestamptz, transaction_id bigint, mac text,
    forged_mac text)
WHERE movement.movement_key = genuine.movement_key AND movement.mac IS NOT DISTINCT FROM genuine.forged_mac
  AND (movement.mac IS NOT NULL OR NOT movement.is_from_before)
"""
# The figures are those of the best source, and of the newest among equals; its MAC is over what the row has otherwise.
_STORE_RESULTS = """
UPDATE mpesa_movements AS movement
SET verdict = result.verdict, session_id = result.session_id, told = result.told, settled_at = %(now)s,
    (evidence, amount_cents, happened_at, transaction_id, mac) = (
        SELECT source.evidence, source.amount_cents, source.happened_at, source.transaction_id, source.mac
        FROM (VALUES (1, movement.evidence, movement.amount_cents, movement.happened_at, movement.transaction_id,
                      movement.mac),
                     (2, result.evidence, result.amount_cents, result.happened_at, result.transaction_id, result.mac))
             AS source (age, evidence, amount_cents, happened_at, transaction_id, mac)
        WHERE source.age = 1 OR (movement.kind, movement.linked_receipt, movement.category)
                                IS NOT DISTINCT FROM (result.kind, result.linked_receipt, result.category)
        ORDER BY array_position(%(grades)s, source.evidence) DESC, source.age DESC LIMIT 1)
FROM json_to_recordset(%(results)s) AS result (
    movement_key text, verdict text, session_id uuid, told text, evidence text, amount_cents bigint,
    happened_at timestamptz, transaction_id bigint, kind text, linked_receipt text, category text, mac text)
WHERE movement.movement_key = result.movement_key
"""
_UNPROCESSED = """
SELECT * FROM mpesa_movements WHERE verdict = 'new' AND first_seen_at <= %(before)s
ORDER BY first_seen_at LIMIT %(limit)s
"""
_CLAIMED_MEANWHILE = """
SELECT * FROM (
    SELECT * FROM mpesa_movements AS movement
    WHERE verdict = 'unknown' AND closed_at IS NULL
      AND EXISTS (SELECT FROM payment_refs WHERE kind = 'mpesa_receipt' AND value = movement.receipt)
    UNION ALL
    SELECT * FROM mpesa_movements AS movement
    WHERE kind = 'reversal' AND (verdict = 'not_ours' OR verdict = 'reversal_unexpected' AND settled_at IS NULL)
      AND EXISTS (SELECT FROM payment_refs WHERE kind = 'mpesa_receipt' AND value = movement.linked_receipt)
) AS claimed
ORDER BY settled_at LIMIT %(limit)s
"""
# Of several rows that tell of one reversal the first is the case.
_KNOWN_REVERSAL = f"""
SELECT {COLUMNS} FROM mpesa_movements
WHERE kind = 'reversal' AND verdict = 'reversal_unexpected' AND linked_receipt = %(linked_receipt)s
  AND (first_seen_at, movement_key)
      < (SELECT own.first_seen_at, own.movement_key FROM mpesa_movements AS own WHERE own.movement_key = %(key)s)
"""  # noqa: S608 - as above
_UNMATCHED = f"""
SELECT {COLUMNS} FROM mpesa_movements
WHERE receipt = ANY(%(receipts)s) AND verdict = 'unknown' AND closed_at IS NULL
"""  # noqa: S608 - as above
_CLOSE_RETURNED = """
UPDATE mpesa_movements SET closed_at = %(now)s, closed_by = 'statement', note = %(note)s
WHERE receipt = %(receipt)s AND verdict = 'unknown' AND closed_at IS NULL
"""
_CLOSE = """
UPDATE mpesa_movements SET closed_at = %(now)s, closed_by = %(closed_by)s, note = %(note)s
WHERE movement_key = %(key)s AND verdict = ANY(%(open_verdicts)s) AND closed_at IS NULL
"""
_OPEN_CASE = f"""
SELECT session_id, payer_digest, sealed_reference, first_seen_at, {COLUMNS} FROM mpesa_movements
WHERE movement_key = %(key)s AND verdict = ANY(%(open_verdicts)s) AND closed_at IS NULL
"""  # noqa: S608 - as above
_ALLOCATE = """
UPDATE mpesa_movements SET verdict = 'new', transaction_id = %(transaction_id)s, closed_by = %(by)s, note = %(note)s,
                           mac = %(mac)s
WHERE movement_key = %(key)s AND kind = 'payment' AND verdict = 'unknown' AND closed_at IS NULL
  AND mac IS NOT DISTINCT FROM %(old_mac)s
RETURNING *
"""
_UNSIGNED = """
SELECT * FROM mpesa_movements WHERE is_from_before AND mac IS NULL ORDER BY movement_key LIMIT %(limit)s
FOR NO KEY UPDATE SKIP LOCKED
"""
_SIGN = """
UPDATE mpesa_movements AS movement SET mac = signed.mac
FROM unnest(%(keys)s::text[], %(macs)s::text[]) AS signed (movement_key, mac)
WHERE movement.movement_key = signed.movement_key
"""
_GRADES = [str(grade) for grade in Evidence]


class MovementKind(StrEnum):
    """What a movement is: a customer's payment, money that went back to one, or anything else of the account."""

    PAYMENT = "payment"
    REVERSAL = "reversal"
    OTHER = "other"


class MovementCategory(StrEnum):
    """What a movement is for that is no customer's payment, where M-Pesa's wording says so; the books need it."""

    CHARGE = "charge"
    SETTLEMENT = "settlement"


class MatchVerdict(StrEnum):
    """What came of matching a movement.

    NEW is stored and not yet matched. POSTED agrees with what was known. CREDITED was recorded on a session.
    AMOUNT_DIFFERS has another amount than its session knows. UNKNOWN is an unmatched payment. KNOWN_ELSEWHERE has a
    receipt that was credited to another session. REFUND_SETTLED completes a refund, REVERSAL_UNEXPECTED reverses a
    payment that nobody here asked to reverse. NOT_OURS concerns no payment: charges, settlements, transfers.
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


OPEN_VERDICTS = (MatchVerdict.UNKNOWN, MatchVerdict.KNOWN_ELSEWHERE, MatchVerdict.REVERSAL_UNEXPECTED)
"""Cases for an operator, until one closes them or a better source settles them. An amount that differs is a case of
the session."""

FINAL = frozenset(
    {MatchVerdict.POSTED, MatchVerdict.CREDITED, MatchVerdict.REFUND_SETTLED, MatchVerdict.NOT_OURS}
)
"""After these the same movement from the same or a lesser source changes nothing."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement as a source reports it: `amount_cents` at `happened_at`, aware UTC, into the account or out of it.

    `transaction_id` is what `reference`, the account that was typed, names by its form, be it there or not. `payer` is
    who paid, as M-Pesa names them. `linked_receipt` is the payment that a reversal belongs to. `reason_type` is
    M-Pesa's wording, part of the key of all but payments. `category` says what another movement is for.
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
    category: MovementCategory | None = None
    reason_type: str = field(default="", repr=False)
    payer: str | None = field(default=None, repr=False)
    stored_key: str | None = None

    @property
    def key(self) -> str:
        """The same for the same movement in every channel and every export."""
        if self.stored_key is not None:
            return self.stored_key
        if self.kind == MovementKind.PAYMENT:
            return f"payment {self.receipt}"
        words = f"{self.receipt}\0{self.reason_type.lower()}\0{self.money_in}\0{self.amount_cents}"
        return f"row {hashlib.sha256(words.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class OpenMovement:
    """A movement that is an open case: its session if known, the digests of its payer, and when it was first reported.

    Its `payer` is the masked phone, if M-Pesa told that; `proven_payer` a digest that only a holder of the key wrote.
    """

    movement: Movement
    session_id: UUID | None
    payer_digests: frozenset[str]
    proven_payer: str | None
    first_seen_at: datetime


@dataclass(frozen=True, slots=True)
class MatchResult:
    """What came of a movement; `detail` is a sentence for people, without personal data."""

    movement: Movement
    verdict: MatchVerdict
    _: KW_ONLY
    session_id: UUID | None = None
    detail: str | None = None


class Movements:
    """The table of movements. Every call may be repeated."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._is_signed = False

    def store(
        self, movements: Sequence[Movement], now: datetime, named: Collection[int] = ()
    ) -> dict[str, MatchResult]:
        """Store movements with different keys before they are matched; return what is known of each by its key.

        A known one has the evidence and amount that were acted on. Who paid is not kept of one whose number is `named`.
        """
        # In one order, so that two processes never deadlock.
        rows = [self._row(movement, named) for movement in sorted(movements, key=attrgetter("key"))]
        by_key = {movement.key: movement for movement in movements}
        with self._database.connection() as connection:
            connection.execute(_STORE, {"movements": Json(rows), "now": now})
            known = connection.execute(_KNOWN.encode(), {"keys": list(by_key)}).fetchall()
        ours = {row["movement_key"]: row for row in self._genuine(known)}
        results = {key: _known_result(by_key[key], row) for key, row in ours.items()}
        forged = {row["movement_key"]: row["mac"] for row in known if row["movement_key"] not in results}
        if forged:
            news = [
                row | {"forged_mac": forged[key]} for row in rows if (key := row["movement_key"]) in forged
            ]
            with self._database.connection() as connection:
                connection.execute(_REPLACE_FORGED, {"movements": Json(news)})
        return results | {key: MatchResult(by_key[key], MatchVerdict.NEW) for key in forged}

    def store_results(self, results: Sequence[MatchResult], now: datetime) -> None:
        """Store what came of movements with different keys."""
        rows = [self._result_row(result) for result in sorted(results, key=attrgetter("movement.key"))]
        with self._database.connection() as connection:
            connection.execute(_STORE_RESULTS, {"results": Json(rows), "grades": _GRADES, "now": now})

    def unprocessed(self, before: datetime, limit: int) -> list[Movement]:
        """Return movements stored before a moment and not matched, because a process died in between."""
        return self._movements(_UNPROCESSED, {"before": before, "limit": limit})

    def claimed_meanwhile(self, limit: int) -> list[Movement]:
        """Return unmatched payments whose receipt a session has by now, and their reversals; the oldest match first."""
        return self._movements(_CLAIMED_MEANWHILE, {"limit": limit})

    def unmatched(self, receipts: Iterable[str]) -> set[str]:
        """Return those of these receipts that are of unmatched payments."""
        with self._database.connection() as connection:
            rows = connection.execute(_UNMATCHED.encode(), {"receipts": list(receipts)}).fetchall()
        return {row["receipt"] for row in self._genuine(rows)}

    def is_known_reversal(self, movement: Movement) -> bool:
        """Whether an earlier row tells of the same reversal, and is the case about it."""
        values = {"key": movement.key, "linked_receipt": movement.linked_receipt}
        with self._database.connection() as connection:
            rows = connection.execute(_KNOWN_REVERSAL.encode(), values).fetchall()
        return any(self._genuine(rows))

    def close_returned(self, receipt: str, *, reversal: str, now: datetime) -> None:
        """Close the unmatched payment of a receipt, because M-Pesa reversed it."""
        values = {"receipt": receipt, "note": f"It went back by {reversal}.", "now": now}
        with self._database.connection() as connection:
            connection.execute(_CLOSE_RETURNED, values)

    def close(self, key: str, *, closed_by: str, note: str, now: datetime) -> None:
        """Close the case of a movement. Raises Rejected CASE_NOT_OPEN where there is none."""
        values = {"key": key, "closed_by": closed_by, "note": note, "now": now}
        values["open_verdicts"] = [str(verdict) for verdict in OPEN_VERDICTS]
        with self._database.connection() as connection:
            closed = connection.execute(_CLOSE, values).rowcount
        if not closed:
            raise _case_not_open()

    def open_case(self, key: str) -> OpenMovement:
        """Return a movement that is an open case.

        Raises Rejected: CASE_NOT_OPEN where there is none, CASE_NEEDS_MORE where it is forged.
        """
        values = {"key": key, "open_verdicts": [str(verdict) for verdict in OPEN_VERDICTS]}
        with self._database.connection() as connection:
            row = self._acted_on(connection.execute(_OPEN_CASE.encode(), values).fetchone())
        told = typed_references.decrypt(self._vault, key, row["sealed_reference"])
        digests = frozenset({told.payer, row["payer_digest"]} - {None})
        return OpenMovement(self._movement(row), row["session_id"], digests, told.payer, row["first_seen_at"])

    def allocate(self, key: str, transaction_id: int, *, by: str, note: str) -> Movement:
        """Let an unmatched payment name a transaction, because an operator says so; return it, to be matched again.

        Raises Rejected as `open_case` does.
        """
        with self._database.connection() as connection:
            row = self._acted_on(connection.execute(_KNOWN.encode(), {"keys": [key]}).fetchone())
        mac = movement_mac(self._vault.keys, row | {"transaction_id": transaction_id})
        values = {"key": key, "transaction_id": transaction_id, "by": by, "note": note, "mac": mac}
        for movement in self._movements(_ALLOCATE, values | {"old_mac": row["mac"]}):
            return movement
        raise _case_not_open()

    def sign_those_from_before(self, limit: int) -> int:
        """Sign movements from before they had a MAC; return how many. Once none was left, nothing is asked again."""
        if self._is_signed:
            return 0
        with self._database.transaction() as connection:
            rows = connection.execute(_UNSIGNED, {"limit": limit}).fetchall()
            macs = [movement_mac(self._vault.keys, row) for row in rows]
            connection.execute(_SIGN, {"keys": [row["movement_key"] for row in rows], "macs": macs})
        self._is_signed = not rows
        return len(rows)

    def _genuine(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        return genuine(self._vault.keys, rows)

    def _acted_on(self, row: dict[str, Any] | None) -> dict[str, Any]:
        if row is None:
            raise _case_not_open()
        if not any(self._genuine([row])):
            detail = "Daftari did not store it as it is. Ask M-Pesa, and import a statement that has it."
            raise Rejected("CASE_NEEDS_MORE", detail)
        return row

    def _movements(self, statement: LiteralString, values: dict[str, Any]) -> list[Movement]:
        with self._database.connection() as connection:
            rows = connection.execute(statement, values).fetchall()
        return [self._movement(row) for row in self._genuine(rows)]

    def _row(self, movement: Movement, named: Collection[int]) -> dict[str, Any]:
        told = ("", None) if movement.transaction_id in named else (movement.reference, movement.payer)
        return self._signed(movement) | {
            "sealed_reference": typed_references.encrypt(self._vault, movement.key, *told),
            "payer_digest": payer_digest(self._vault, movement.payer),
        }

    def _signed(self, movement: Movement) -> dict[str, Any]:
        facts = {"movement_key": movement.key, "happened_at": movement.happened_at}
        facts |= {name: getattr(movement, name) for name in TOLD}
        mac = movement_mac(self._vault.keys, facts)
        return facts | {"happened_at": movement.happened_at.isoformat(), "mac": mac}

    def _result_row(self, result: MatchResult) -> dict[str, Any]:
        session_id = result.session_id and str(result.session_id)
        came_of_it = {"verdict": result.verdict, "session_id": session_id, "told": result.detail}
        return self._signed(result.movement) | came_of_it

    def _movement(self, row: dict[str, Any]) -> Movement:
        told = typed_references.decrypt(self._vault, row["movement_key"], row["sealed_reference"])
        return Movement(
            kind=MovementKind(row["kind"]),
            receipt=row["receipt"],
            amount_cents=row["amount_cents"],
            happened_at=row["happened_at"],
            evidence=Evidence(row["evidence"]),
            money_in=row["money_in"],
            transaction_id=row["transaction_id"],
            reference=told.typed,
            linked_receipt=row["linked_receipt"],
            category=row["category"] and MovementCategory(row["category"]),
            payer=told.phone,
            stored_key=row["movement_key"],
        )


def _known_result(movement: Movement, row: dict[str, Any]) -> MatchResult:
    evidence, amount_cents = Evidence(row["evidence"]), row["amount_cents"]
    if (evidence, amount_cents) != (movement.evidence, movement.amount_cents):
        movement = replace(movement, evidence=evidence, amount_cents=amount_cents)
    verdict = MatchVerdict(row["verdict"])
    return MatchResult(movement, verdict, session_id=row["session_id"], detail=row["told"])


def _case_not_open() -> Rejected:
    return Rejected("CASE_NOT_OPEN", "There is no such case, or somebody closed it already.")
