"""Reconciliation by statement: what M-Pesa's books have, brought together with ours, and the differences told.

A file is read and checked as a whole before anything is recorded. Recording may be repeated: the same statement, one
that overlaps it, or the rest of an import that was interrupted, are no news where they agree.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog

from daraja.statement import Statement, StatementError, StatementRow, parse_statement
from ledger import clock
from ledger.errors import Rejected
from ledger.store.database import Database
from payments.reconciliation import lookups
from payments.reconciliation.import_log import Reconciliation, Reconciliations
from payments.reconciliation.lookups import OurPayment
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.missing_payments import MissingPayments
from payments.reconciliation.movements import MatchResult, MatchVerdict, MovementKind
from payments.reconciliation.pull_progress import PullProgressStore
from payments.reconciliation.transactions import of_row

EDGE = timedelta(minutes=10)
"""At the ends of a statement's period a payment may lie on the other side by M-Pesa's clock."""

MAX_PAYMENTS = 1_000_000
MAX_TOLD = 1_000
"""Differences of each kind that are listed one by one; all are counted."""

_log = structlog.get_logger(__name__)


CODES = {
    "not_a_statement": "NOT_A_STATEMENT",
    "unreadable_row": "STATEMENT_UNREADABLE",
    "too_large": "STATEMENT_TOO_LARGE",
    "broken_balance": "STATEMENT_BALANCE_BROKEN",
    "other_shortcode": "STATEMENT_OF_ANOTHER",
}
"""The error code of each reason to refuse a statement."""


class StatementRefused(Rejected):
    """A statement that was not taken, before anything was recorded. `row` is where that was seen, if in a row."""

    def __init__(self, reason: str, message: str, row: int | None = None) -> None:
        super().__init__(CODES[reason], message)
        self.row = row


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing to look at. `row` is the file's, `told` a sentence; nothing in it is a stranger's text."""

    kind: str
    receipt: str | None
    amount_cents: int
    happened_at: datetime
    row: int | None = None
    session_id: UUID | None = None
    told: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What an import found: counts by kind, and the differences, at most MAX_TOLD of each kind."""

    rows: int
    period_from: datetime | None
    period_to: datetime | None
    counts: dict[str, int]
    differences: tuple[Difference, ...]

    @property
    def wants_a_person(self) -> bool:
        """Whether something is left that only a person can settle."""
        return any(self.counts[kind] for kind in LOOKED_AT)


KINDS = (
    "posted",
    "credited",
    "unknown",
    "amount_differs",
    "known_elsewhere",
    "refund_settled",
    "reversal_unexpected",
    "not_acted_on",
    "missing_there",
    "found_unpaid",
    "not_ours",
    "not_completed",
)
"""Every count there is. What was missing here is `credited` or `unknown`."""

LOOKED_AT = (
    "unknown",
    "amount_differs",
    "known_elsewhere",
    "reversal_unexpected",
    "not_acted_on",
    "missing_there",
)
"""What is left for a person, or for another try."""

UNEXPLAINED = (MatchVerdict.UNKNOWN, MatchVerdict.NEW, MatchVerdict.KNOWN_ELSEWHERE)
"""Money that may be of an attempt which it does not name."""

TOLD = ("credited", "refund_settled", "found_unpaid", *LOOKED_AT)
"""What is listed one by one; the rest is only counted."""


class Reconciler:
    """Imports statements of the account of these shortcodes."""

    def __init__(
        self,
        shortcodes: Collection[str],
        database: Database,
        matcher: Matcher,
        pull_progress: PullProgressStore,
        reconciliations: Reconciliations,
        missing_payments: MissingPayments,
    ) -> None:
        self._shortcodes = frozenset(shortcodes)
        self._database = database
        self._matcher = matcher
        self._pulling = pull_progress
        self._reconciliations = reconciliations
        self._absences = missing_payments

    def reconcile(self, content: bytes) -> Reconciliation:
        """Import a statement and keep what it found; return that.

        Raises StatementRefused, before anything is recorded, and Unavailable, after which the same file is to be
        imported again.
        """
        started_at = clock.now()
        statement = self._read(content)
        found = self._bring_together(statement)
        if found.period_from and found.period_to:
            self._pulling.close_gaps_within(
                found.period_from, found.period_to, closed_by="statement", now=clock.now()
            )
        digest = hashlib.sha256(content).hexdigest()
        done = Reconciliation(uuid4(), started_at, clock.now(), digest, as_json(found))
        self._reconciliations.add(done)
        _log.info("statement_reconciled", reconciliation_id=str(done.reconciliation_id), **found.counts)
        return done

    def _read(self, content: bytes) -> Statement:
        try:
            statement = parse_statement(content)
        except StatementError as error:
            raise StatementRefused(error.reason, error.message, error.row) from None
        if statement.shortcode and self._shortcodes and statement.shortcode not in self._shortcodes:
            raise StatementRefused(
                "other_shortcode",
                f"This statement is of {statement.shortcode}, and payments here go to "
                f"{' or '.join(sorted(self._shortcodes))}. Export the statement of that shortcode.",
            )
        return statement

    def _bring_together(self, statement: Statement) -> Found:
        rows = {of_row(row).key: row for row in statement.completed}
        settled = self._matcher.ingest([of_row(row) for row in statement.completed])
        differences = [_difference(each, rows[each.movement.key]) for each in settled]
        moments = [row.completed_at for row in statement.rows]
        if moments:
            receipts = {
                each.movement.receipt for each in settled if each.movement.kind == MovementKind.PAYMENT
            }
            missing = self._missing_there(min(moments), max(moments), receipts)
            differences += [_missed(payment) for payment in missing]
            if (
                statement.shortcode in self._shortcodes
            ):  # The silence of another account's books proves nothing.
                for payment in missing:
                    self._absences.miss(payment)
                differences += self._found_unpaid(min(moments), max(moments), settled)
        counts = dict.fromkeys(KINDS, 0) | {"not_completed": len(statement.rows) - len(statement.completed)}
        for difference in differences:
            counts[difference.kind] += 1
        return Found(
            len(statement.rows),
            min(moments, default=None),
            max(moments, default=None),
            counts,
            tuple(_bounded(differences)),
        )

    def _missing_there(self, first: datetime, last: datetime, receipts: set[str]) -> list[OurPayment]:
        ours = lookups.paid_between(self._database, first + EDGE, last - EDGE, MAX_PAYMENTS)
        return [payment for payment in ours if payment.receipt not in receipts]

    def _found_unpaid(
        self, first: datetime, last: datetime, settled: Iterable[MatchResult]
    ) -> list[Difference]:
        unexplained = {each.movement.amount_cents for each in settled if each.verdict in UNEXPLAINED}
        return [
            Difference(
                "found_unpaid",
                None,
                unpaid.amount_cents,
                unpaid.requested_at,
                session_id=unpaid.session_id,
                told=f"Attempt {unpaid.attempt} was in doubt; the statement has no payment for it.",
            )
            for unpaid in self._absences.end_unpaid(first + EDGE, last - EDGE, unexplained)
        ]


def as_json(found: Found) -> dict[str, Any]:
    """Return what was found in the form in which it is stored and shown: amounts in cents, moments ISO 8601."""
    return {
        "rows": found.rows,
        "period_from": found.period_from and found.period_from.isoformat(),
        "period_to": found.period_to and found.period_to.isoformat(),
        "wants_a_person": found.wants_a_person,
        "counts": found.counts,
        "differences": [
            {name: _plain(value) for name, value in asdict(difference).items()}
            for difference in found.differences
        ],
    }


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _difference(settled: MatchResult, row: StatementRow) -> Difference:
    movement = settled.movement
    kind = "not_acted_on" if settled.verdict == MatchVerdict.NEW else str(settled.verdict)
    return Difference(
        kind,
        movement.receipt,
        movement.amount_cents,
        row.completed_at,
        row.number,
        settled.session_id,
        settled.detail,
    )


def _missed(payment: OurPayment) -> Difference:
    return Difference(
        "missing_there",
        payment.receipt,
        payment.amount_cents,
        payment.paid_at,
        session_id=payment.session_id,
        told="It was recorded here, and the statement does not have it.",
    )


def _bounded(differences: Iterable[Difference]) -> Iterable[Difference]:
    told = dict.fromkeys(TOLD, 0)
    for difference in differences:
        if difference.kind in told and told[difference.kind] < MAX_TOLD:
            told[difference.kind] += 1
            yield difference
