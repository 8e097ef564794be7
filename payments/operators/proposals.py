"""Decisions that wait for a second person. Rows are only added: what was proposed, and how it ended.

Each proposal has a MAC of a key that the database never sees, so that one that was written past the application is
none.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection
from psycopg.types.json import Jsonb

from ledger.errors import LedgerError
from ledger.store.canonical import canonical_json
from ledger.store.key_ring import AUDIT_LOG, KeyRing

VALID_FOR = timedelta(days=7)
"""Then a proposal counts no more: what it was about has to be looked at anew."""

NOTES = frozenset({"note", "reason"})
"""Arguments that are words for people."""

_DIFFER = NOTES | {"request"}
"""Decisions that differ in these arguments alone are the same."""

_FORMAT = "daftari decision proposal v1"
_NAMES = (
    "proposal_id, action, subject, session_id, amount_cents, arguments, proposed_by, proposed_at, expires_at,"
    " key_id, mac"
)
_IS_OPEN = """
expires_at > %(now)s
AND NOT EXISTS (SELECT FROM decision_proposal_ends AS done WHERE done.proposal_id = proposal.proposal_id)
"""
# One at a time for a subject, so that of two people at once the second approves what the first proposes.
LOCK_SUBJECT = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 17))"
OPEN_ABOUT = f"""
SELECT {_NAMES} FROM decision_proposals AS proposal
WHERE action = %(action)s AND subject = %(subject)s AND {_IS_OPEN} ORDER BY proposed_at
"""  # noqa: S608 - made of this file's constants only
ONE = (
    f"SELECT {_NAMES} FROM decision_proposals AS proposal WHERE proposal_id = %(proposal_id)s AND {_IS_OPEN}"  # noqa: S608 - as above
)
ADD = f"""
INSERT INTO decision_proposals ({_NAMES})
VALUES (%(proposal_id)s, %(action)s, %(subject)s, %(session_id)s, %(amount_cents)s, %(arguments)s,
        %(proposed_by)s, %(proposed_at)s, %(expires_at)s, %(key_id)s, %(mac)s)
"""  # noqa: S608 - as above
END = """
INSERT INTO decision_proposal_ends (proposal_id, outcome, ended_by, ended_at) VALUES (%s, %s, %s, %s)
ON CONFLICT (proposal_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done: an `action` on a `subject` within an amount in cents, with its `arguments` as JSON values.

    `session_id` is the session that it is about, None if there is none.
    """

    action: str
    subject: str
    session_id: UUID | None
    amount_cents: int
    arguments: Mapping[str, Any]

    def is_same_as(self, other: "Decision") -> bool:
        """Whether both would do the same, whatever they say about it."""
        mine, theirs = (
            {name: value for name, value in decision.arguments.items() if name not in _DIFFER}
            for decision in (self, other)
        )
        return (self.action, self.subject, mine) == (other.action, other.subject, theirs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal(Decision):
    """A decision that one person, or the policy, proposed; it counts until `expires_at`."""

    proposal_id: UUID
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime


def find(connection: Connection[Any], keys: KeyRing, proposal_id: UUID, now: datetime) -> Proposal | None:
    """Return a proposal that is open, None if there is none."""
    rows = connection.execute(ONE, {"proposal_id": proposal_id, "now": now}).fetchall()
    return next(_genuine(keys, rows), None)


def open_like(
    connection: Connection[Any], keys: KeyRing, decision: Decision, now: datetime
) -> Proposal | None:
    """Return the open proposal of the same decision, None if there is none.

    Until the transaction ends, nobody else proposes about its subject.
    """
    connection.execute(LOCK_SUBJECT, (decision.subject,))
    about = {"action": decision.action, "subject": decision.subject, "now": now}
    found = _genuine(keys, connection.execute(OPEN_ABOUT, about).fetchall())
    return next((proposal for proposal in found if decision.is_same_as(proposal)), None)


def open_about(
    connection: Connection[Any], keys: KeyRing, action: str, subject: str, now: datetime
) -> Proposal | None:
    """Return the oldest open proposal of an action on a subject, None if there is none."""
    about = {"action": action, "subject": subject, "now": now}
    return next(_genuine(keys, connection.execute(OPEN_ABOUT, about).fetchall()), None)


def add(connection: Connection[Any], keys: KeyRing, decision: Decision, by: str, now: datetime) -> Proposal:
    """Store a decision as proposed; return the proposal."""
    proposal = Proposal(
        action=decision.action,
        subject=decision.subject,
        session_id=decision.session_id,
        amount_cents=decision.amount_cents,
        arguments=dict(decision.arguments),
        proposal_id=uuid4(),
        proposed_by=by,
        proposed_at=now,
        expires_at=now + VALID_FOR,
    )
    key_id, key = keys.current(AUDIT_LOG)
    values = {name: getattr(proposal, name) for name in Proposal.__dataclass_fields__}
    values |= {"arguments": Jsonb(proposal.arguments), "key_id": key_id, "mac": _mac(proposal, key_id, key)}
    connection.execute(ADD, values)
    return proposal


def end(connection: Connection[Any], proposal: Proposal, outcome: str, by: str, now: datetime) -> bool:
    """End a proposal; return False if it had ended."""
    return connection.execute(END, (proposal.proposal_id, outcome, by, now)).rowcount == 1


def _genuine(keys: KeyRing, rows: Iterable[dict[str, Any]]) -> Iterator[Proposal]:
    for row in rows:
        key_id, mac = row.pop("key_id"), bytes(row.pop("mac"))
        proposal = Proposal(**row)
        try:
            expected = _mac(proposal, key_id, keys.key(AUDIT_LOG, key_id))
        except LedgerError:
            continue
        if hmac.compare_digest(expected, mac):
            yield proposal


def _mac(proposal: Proposal, key_id: int, key: bytes) -> bytes:
    content = [
        _FORMAT,
        key_id,
        str(proposal.proposal_id),
        proposal.action,
        proposal.subject,
        proposal.session_id and str(proposal.session_id),
        proposal.amount_cents,
        dict(proposal.arguments),
        proposal.proposed_by,
        proposal.proposed_at.astimezone(UTC).isoformat(),
        proposal.expires_at.astimezone(UTC).isoformat(),
    ]
    return hmac.digest(key, canonical_json(content), "sha256")
