"""Reconciliation by statement: M-Pesa's books are matched with ours, and the differences are reported.

A file is read and checked as a whole before anything is recorded. An import may be repeated: the same statement, one
that overlaps it, or the rest of an import that was interrupted change nothing where they agree.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog

from daraja.statement import Statement, StatementError, StatementRow, parse_statement
from ledger import clock
from ledger.errors import Rejected
from ledger.store.database import Database
from ledger.store.metadata import Cause, caused_by
from payments.reconciliation import lookups
from payments.reconciliation.import_log import InCommit, Reconciliation, Reconciliations
from payments.reconciliation.lookups import OurPayment
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.missing_payments import MissingPayments, Unpaid
from payments.reconciliation.movements import MatchResult, MatchVerdict, MovementKind
from payments.reconciliation.pull_progress import PullProgressStore
from payments.reconciliation.transactions import of_row

EDGE = timedelta(minutes=10)
"""At the ends of a statement's period a payment may lie on the other side by M-Pesa's clock."""

MAX_PAYMENTS = 1_000_000
MAX_LISTED = 1_000
"""Differences of each kind that are listed one by one; all are counted."""

Progress = Callable[[int, int], None]

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
    """A statement that is refused before anything is recorded. `row` is the number of the row at fault, if any."""

    def __init__(self, reason: str, message: str, row: int | None = None) -> None:
        super().__init__(CODES[reason], message)
        self.row = row


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `row` is the row of the file, `told` a sentence; no text of a payer is in it."""

    kind: str
    receipt: str | None
    amount_cents: int
    happened_at: datetime
    row: int | None = None
    session_id: UUID | None = None
    told: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What an import found: counts by kind, and the differences, at most MAX_LISTED of each kind."""

    rows: int
    period_from: datetime | None
    period_to: datetime | None
    counts: dict[str, int]
    differences: tuple[Difference, ...]

    @property
    def wants_a_person(self) -> bool:
        """Whether something is left that only an operator can settle."""
        return any(self.counts[kind] for kind in LOOKED_AT)


MEANINGS = {
    "posted": "match the ledger",
    "credited": "were missing from the ledger and are recorded now",
    "unknown": "unmatched payments: they belong to no session",
    "amount_differs": "have another amount in the ledger",
    "known_elsewhere": "name another session than the one that was credited",
    "refund_settled": "settle a refund",
    "reversal_unexpected": "were reversed although no refund was due",
    "not_acted_on": "could not be recorded now; the worker retries them",
    "missing_there": "are in the ledger but not in the statement",
    "found_unpaid": "attempts in doubt that the statement shows as unpaid; they have failed now",
    "not_ours": "are no payments: charges, settlements, transfers",
    "not_completed": "moved no money",
}
"""Every count there is, and what is said of what it counts. What was missing here is `credited` or `unknown`."""

LOOKED_AT = (
    "unknown",
    "amount_differs",
    "known_elsewhere",
    "reversal_unexpected",
    "not_acted_on",
    "missing_there",
)
"""What is left for an operator, or for another try."""

UNEXPLAINED = (MatchVerdict.UNKNOWN, MatchVerdict.NEW, MatchVerdict.KNOWN_ELSEWHERE)
"""Payments that may belong to an attempt which they do not name."""

LISTED = ("credited", "refund_settled", "found_unpaid", *LOOKED_AT)
"""Kinds that are listed one by one; the others are only counted."""


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
        self._pull_progress = pull_progress
        self._reconciliations = reconciliations
        self._missing_payments = missing_payments

    def reconcile(
        self,
        content: bytes,
        on_progress: Progress = lambda _, __: None,
        also: InCommit = lambda _, __: None,
    ) -> Reconciliation:
        """Import a statement, store what it found, and return that.

        `on_progress` is told after each batch how many rows are matched, and of how many; `also` stores more in the
        report's commit. Raises StatementRefused, before anything is recorded, and Unavailable, after which the same
        file is to be imported again.
        """
        started_at, digest = clock.now(), hashlib.sha256(content).hexdigest()
        statement = self._read(content)
        with caused_by(Cause.STATEMENT, source=digest):
            findings = self._match(statement, on_progress)
        if findings.period_from and findings.period_to:
            self._pull_progress.close_gaps_within(
                findings.period_from, findings.period_to, closed_by="statement", now=clock.now()
            )
        done = Reconciliation(uuid4(), started_at, clock.now(), digest, as_json(findings))
        self._reconciliations.add(done, also)
        _log.info("statement_reconciled", reconciliation_id=str(done.reconciliation_id), **findings.counts)
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

    def _match(self, statement: Statement, on_progress: Progress) -> Findings:
        completed, done, tally = statement.completed, 0, _Tally()
        movements = list(map(of_row, completed))
        rows = {movement.key: row for movement, row in zip(movements, completed, strict=True)}
        receipts, unexplained = set[str](), set[int]()
        for results in self._matcher.ingest_in_batches(movements):
            for result in results:
                tally.add(_difference(result, rows[result.movement.key]))
            receipts |= {r.movement.receipt for r in results if r.movement.kind == MovementKind.PAYMENT}
            unexplained |= {r.movement.amount_cents for r in results if r.verdict in UNEXPLAINED}
            done += len(results)
            on_progress(done, len(completed))
        moments = [row.completed_at for row in statement.rows]
        if moments:
            first, last = min(moments) + EDGE, max(moments) - EDGE
            for difference in self._act_on_missing(statement.shortcode, first, last, receipts, unexplained):
                tally.add(difference)
        tally.counts["not_completed"] = len(statement.rows) - len(completed)
        return Findings(
            rows=len(statement.rows),
            period_from=min(moments, default=None),
            period_to=max(moments, default=None),
            counts=tally.counts,
            differences=tuple(tally.listed),
        )

    def _act_on_missing(
        self,
        shortcode: str | None,
        since: datetime,
        until: datetime,
        receipts: Collection[str],
        unexplained_cents: Collection[int],
    ) -> Iterator[Difference]:
        recorded = lookups.paid_between(self._database, since, until, MAX_PAYMENTS)
        missing = [payment for payment in recorded if payment.receipt not in receipts]
        yield from map(_missing_there, missing)
        if shortcode in self._shortcodes:  # What another account's statement lacks proves nothing.
            self._missing_payments.miss(missing)
            unpaid = self._missing_payments.end_unpaid(since, until, unexplained_cents)
            yield from map(_found_unpaid, unpaid)


class _Tally:
    """Counts of differences by kind, and the first MAX_LISTED of each kind that is listed."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(MEANINGS, 0)
        self.listed: list[Difference] = []

    def add(self, difference: Difference) -> None:
        """Count a difference, and list it if there is room."""
        self.counts[difference.kind] += 1
        if difference.kind in LISTED and self.counts[difference.kind] <= MAX_LISTED:
            self.listed.append(difference)


def as_json(findings: Findings) -> dict[str, Any]:
    """Return the findings as they are stored and shown: amounts in cents, moments in ISO 8601."""
    return {
        "rows": findings.rows,
        "period_from": findings.period_from and findings.period_from.isoformat(),
        "period_to": findings.period_to and findings.period_to.isoformat(),
        "wants_a_person": findings.wants_a_person,
        "counts": findings.counts,
        "differences": [
            {name: _plain(value) for name, value in asdict(difference).items()}
            for difference in findings.differences
        ],
    }


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _difference(result: MatchResult, row: StatementRow) -> Difference:
    return Difference(
        kind="not_acted_on" if result.verdict == MatchVerdict.NEW else str(result.verdict),
        receipt=result.movement.receipt,
        amount_cents=result.movement.amount_cents,
        happened_at=row.completed_at,
        row=row.number,
        session_id=result.session_id,
        told=result.detail,
    )


def _missing_there(payment: OurPayment) -> Difference:
    return Difference(
        kind="missing_there",
        receipt=payment.receipt,
        amount_cents=payment.amount_cents,
        happened_at=payment.paid_at,
        session_id=payment.session_id,
        told="It was recorded here, and the statement does not have it.",
    )


def _found_unpaid(unpaid: Unpaid) -> Difference:
    return Difference(
        kind="found_unpaid",
        receipt=None,
        amount_cents=unpaid.amount_cents,
        happened_at=unpaid.requested_at,
        session_id=unpaid.session_id,
        told=f"Attempt {unpaid.attempt} was in doubt; the statement has no payment for it.",
    )
