"""What operators decided about cases, by the audit log, whose entries carry MACs: all of it, or about one payment.

What ended without a person, by a statement or a late callback, is in the history of its session.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from ledger.clock import start_of_day
from ledger.session.session import PaymentSession
from ledger.store.audit_log import AuditEntry, AuditLog
from ledger.store.database import Database
from ledger.store.listing import Key
from payments.exceptions.next_steps import Kind
from payments.refunds.order_refunds import REFUND_ORDER
from projections.cases import Subject

MAX_WALKED = 5_000
"""So many decisions are looked at for a page at most."""
MAX_SHOWN = 50
MAX_OF_A_PAYER = 20

REFUND = "refund"
"""What a decision about a refund is about, where REFUND_ORDER is one that an order is refunded."""

_START, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_LAST_ID = UUID(int=(1 << 128) - 1)
_BATCH = 500

OF_PAYERS = """
SELECT movement_key, verdict FROM mpesa_movements
WHERE closed_by IS NOT NULL AND payer_digest = ANY(%(digests)s) ORDER BY happened_at DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which decisions are wanted: about a kind of case (REFUND and REFUND_ORDER too), of a day of Nairobi, of a user.

    What is None says nothing.
    """

    kind: str | None = None
    day: date | None = None
    user: int | None = None

    def fits(self, entry: AuditEntry) -> bool:
        """Whether an entry is about that kind, and by that user."""
        by = {f"user:{self.user}", f"cli:user:{self.user}"}
        return self.kind in (None, kind_of(entry)) and (self.user is None or entry.actor in by)


def closed_cases(
    audit_log: AuditLog, wanted: Wanted, *, after: Key | None, limit: int
) -> tuple[list[AuditEntry], Key | None]:
    """Return at most `limit` decisions, the latest first, and the key of the next page, None at the end.

    A page may be short, or empty, before the end: no more than MAX_WALKED decisions are looked at for it.
    """
    since, until = (_START, _END) if wanted.day is None else _span(wanted.day)
    key = min(after, (until, UUID(int=0))) if after else (until, UUID(int=0))
    found: list[AuditEntry] = []
    for _ in range(MAX_WALKED // _BATCH):
        walked = audit_log.decisions(since, key, _BATCH)
        for entry in walked:
            if len(found) == limit:
                return found, key
            key = entry.key
            if wanted.fits(entry):
                found.append(entry)
        if len(walked) < _BATCH:
            return found, None
    return found, key


def kind_of(entry: AuditEntry) -> str:
    """Return the kind of case that a decision is about, REFUND or REFUND_ORDER."""
    kind = entry.details.get("kind")
    if kind is not None:
        return str(kind)
    return REFUND_ORDER if entry.details.get("action") == REFUND_ORDER else REFUND


def decided_about(
    database: Database,
    audit_log: AuditLog,
    sessions: Iterable[PaymentSession],
    *,
    case: tuple[Kind, str] | None = None,
    payers: Iterable[str] = (),
) -> list[AuditEntry]:
    """Return the latest MAX_SHOWN decisions about a case, about sessions, and about payments of the same payers.

    `payers` are digests as `payer_digest` makes them. Proposals and withdrawals are among them.
    """
    subjects = {subject for session in sessions for subject in _subjects_of(session)}
    if case is not None:
        subjects.add(_subject_of(*case))
    digests = list(payers)
    if digests:
        with database.connection() as connection:
            values = {"digests": digests, "limit": MAX_OF_A_PAYER}
            rows = connection.execute(OF_PAYERS, values).fetchall()
        subjects |= {subject for row in rows for subject in _subjects_of_movement(row["movement_key"])}
    return audit_log.about(subjects, MAX_SHOWN) if subjects else []


def _span(day: date) -> tuple[datetime, datetime]:
    start = start_of_day(day)
    return start, start + timedelta(days=1)


def _subject_of(kind: Kind, case_id: str) -> str:
    session_id, _, rest = case_id.partition(".")
    subject, _, number = rest.partition(".")
    return f"refund {session_id} {number}" if subject == Subject.REFUND else f"{kind} {case_id}"


def _subjects_of(session: PaymentSession) -> Iterator[str]:
    """Yield the subjects that the audit log may have decisions about a session under."""
    yield f"order of session {session.id}"
    yield f"{Kind.ORDER_MISSING} {session.id}.{Subject.ORDER}.1"
    for number in session.refunds:
        yield f"refund {session.id} {number}"
    for number in session.attempts:
        yield f"{Kind.ATTEMPT_IN_DOUBT} {session.id}.{Subject.ATTEMPT}.{number}"
    for number in session.discrepancies:
        yield f"{Kind.CONTRADICTION} {session.id}.{Subject.DISCREPANCY}.{number}"
    for version in range(1, session.version + 1):
        yield f"{Kind.EVENT_DEAD_LETTERED} orders.{session.id}.{version}"
    for receipt in session.credits:
        yield from _subjects_of_movement(f"payment {receipt}")


def _subjects_of_movement(key: str) -> Iterator[str]:
    for kind in (Kind.MONEY_UNKNOWN, Kind.MONEY_CLAIMED_TWICE, Kind.MONEY_WENT_BACK):
        yield f"{kind} {key.replace(' ', '.', 1)}"
