"""Decisions about much money are proposed by one person and approved by another; the buyer is neither.

A proposal changes nothing: at its approval it is decided again, by the history as it is then. Each decision, proposal,
approval and withdrawal is entered in the audit log before anything comes of it.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger import clock
from ledger.errors import LedgerError, NotAllowed, Rejected
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.key_ring import KeyRing
from payments.operators import proposals
from payments.operators.operator import AUTO_POLICY, Operator
from payments.operators.proposals import Decision, Proposal

_MOOT = frozenset({"CASE_NOT_OPEN", "REFUND_EXCEEDS_ORDER", "REFUND_NOT_DUE"})
"""Refusals after which what was proposed can never be done."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that is to be carried out now, with the names of all who took it."""

    decision: Decision
    by: str


class FourEyes:
    """Says whether a decision is carried out now, or waits for a second person: from `from_cents` on (None for never).

    Safe to share between threads. What is carried out must be decided by the history, so that a repeat changes nothing.
    """

    def __init__(
        self, database: Database, audit_log: AuditLog, keys: KeyRing, *, from_cents: int | None
    ) -> None:
        self._database = database
        self._audit_log = audit_log
        self._keys = keys
        self._from_cents = from_cents

    def needs_two(self, amount_cents: int) -> bool:
        """Whether a decision about an amount needs a second person."""
        return self._from_cents is not None and amount_cents >= self._from_cents

    def submit(self, decision: Decision, by: Operator, *, beside_cents: int = 0) -> Decided | Proposal:
        """Take a decision: it is to be carried out, or it becomes a proposal.

        `beside_cents` is what was decided about the same money before: the parts of a sum count together.
        Who decides what another has proposed approves it. Raises NotAllowed SECOND_PERSON_NEEDED for the proposer.
        """
        if not self.needs_two(beside_cents + decision.amount_cents):
            return self.submit_alone(decision, by)
        earlier, proposal = self._propose(decision, by.name, by.actor)
        return proposal if earlier is None else self.approve(earlier, by)

    def submit_alone(self, decision: Decision, by: Operator) -> Decided:
        """Take a decision that needs no second person."""
        self._audit_log.record(None, "decision", actor=by.actor, **_entry_of(decision))
        return Decided(decision, by.name)

    def propose(self, decision: Decision, by: str, actor: str) -> Proposal:
        """Propose in the name of who may not decide, the policy or an API key; return the proposal.

        No change if the same is proposed already. `by` is how events would name them, `actor` how the audit log does.
        """
        return self._propose(decision, by, actor)[1]

    def decide_by_policy(self, decision: Decision, asked_by: str, asker: str) -> Decided:
        """Take a decision that needs no person in the policy's name, as somebody asked; named as in `propose`."""
        entry = _entry_of(decision)
        entry["details"] |= {"asked_by": asker}
        self._audit_log.record(None, "decision", actor=AUTO_POLICY, **entry)
        return Decided(decision, f"{AUTO_POLICY}, asked by {asked_by}")

    def waiting(self, action: str, subject: str) -> Proposal | None:
        """Return the oldest open proposal of an action on a subject, None if there is none."""
        with self._database.connection() as connection:
            return proposals.open_about(connection, self._keys, action, subject, clock.now())

    def find(self, proposal_id: UUID) -> Proposal:
        """Return an open proposal. Raises Rejected CASE_NOT_OPEN."""
        with self._database.connection() as connection:
            proposal = proposals.find(connection, self._keys, proposal_id, clock.now())
        if proposal is None:
            raise _not_open()
        return proposal

    def approve(self, proposal: Proposal, by: Operator) -> Decided:
        """Approve a proposal as its second person. Raises NotAllowed SECOND_PERSON_NEEDED for the proposer."""
        if proposal.proposed_by == by.name:
            raise NotAllowed(
                "SECOND_PERSON_NEEDED",
                "You proposed this; another operator has to approve it before "
                f"{clock.in_nairobi(proposal.expires_at)}.",
            )
        self._audit_log.record(None, "decision_approved", actor=by.actor, **_entry_of(proposal))
        return Decided(proposal, f"{by.name}, proposed by {proposal.proposed_by}")

    def end(self, decided: Decided) -> None:
        """End the proposal, if there was one, once its decision has been carried out."""
        if isinstance(decided.decision, Proposal):
            self._end(decided.decision, "approved", decided.by)

    def end_if_moot(self, proposal: Proposal, refusal: LedgerError, by: Operator) -> None:
        """End a proposal that can never be carried out, by the refusal that it met."""
        if refusal.code in _MOOT:
            self._end(proposal, "lapsed", by.name)

    def withdraw(self, proposal: Proposal, by: Operator) -> None:
        """End a proposal without effect; its proposer may, and so may any other. Raises Rejected CASE_NOT_OPEN."""
        with self._database.transaction() as connection:
            if not proposals.end(connection, proposal, "withdrawn", by.name, clock.now()):
                raise _not_open()
            self._audit_log.record(connection, "decision_withdrawn", actor=by.actor, **_entry_of(proposal))

    def _propose(self, decision: Decision, by: str, actor: str) -> tuple[Proposal | None, Proposal]:
        """Return the same proposal as found, None if there was none; and the one that is open now."""
        now = clock.now()
        with self._database.transaction() as connection:
            earlier = proposals.open_like(connection, self._keys, decision, now)
            if earlier is not None:
                return earlier, earlier
            proposal = proposals.add(connection, self._keys, decision, by, now)
            self._audit_log.record(connection, "decision_proposed", actor=actor, **_entry_of(proposal))
        return None, proposal

    def _end(self, proposal: Proposal, outcome: str, by: str) -> None:
        with self._database.connection() as connection:
            proposals.end(connection, proposal, outcome, by, clock.now())


def _entry_of(decision: Decision) -> dict[str, Any]:
    """Return what the audit log says of a decision."""
    given = {name: value for name, value in decision.arguments.items() if value is not None}
    reason = next((given.pop(name) for name in sorted(proposals.NOTES & given.keys())), "")
    details = {"action": decision.action, "amount_cents": decision.amount_cents, **given}
    if isinstance(decision, Proposal):
        details |= {"proposal_id": str(decision.proposal_id), "proposed_by": decision.proposed_by}
    return {"subject": decision.subject, "reason": reason, "details": details}


def _not_open() -> Rejected:
    return Rejected("CASE_NOT_OPEN", "There is no such case, or somebody dealt with it already.")
