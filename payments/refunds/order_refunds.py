"""Refunds of orders: an operator decides that money of an order goes back, the whole or a part."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from ledger import clock
from ledger.application import PAYOUT, RECEIPT, Ledger
from ledger.errors import Conflict, Rejected, wrong_fields
from ledger.session.session import PaymentSession
from payments.operators.four_eyes import Decided, FourEyes
from payments.operators.operator import Operator
from payments.operators.proposals import Decision, Proposal
from payments.operators.stakes import Stakes
from payments.refunds.notes import parse_note

REFUND_ORDER = "refund_order"

MIN_RECEIPT_CHARACTERS = 8

_IS_OF_A_PAYMENT = """
SELECT EXISTS (SELECT FROM payment_refs WHERE kind = %(kind)s AND value = %(receipt)s)
    OR EXISTS (SELECT FROM mpesa_movements WHERE movement_key = 'payment ' || %(receipt)s) AS is_of_a_payment
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRefundRequest:
    """What an operator asks for: the order of a session, an amount in cents (None for all that is left), and why.

    `payout_receipt` is M-Pesa's receipt of money that was sent outside Daftari; without it the payment is reversed.
    `restock` says that the goods go back on the shelf.
    """

    session_id: UUID
    amount_cents: int | None
    payout_receipt: str | None
    reason: str
    restock: bool


class OrderRefundService:
    """Decides about refunds of orders. Safe to share between threads."""

    def __init__(self, ledger: Ledger, stakes: Stakes, four_eyes: FourEyes, *, is_automatic: bool) -> None:
        """`is_automatic`: the approval policy decides about what needs no second person."""
        self._ledger = ledger
        self._stakes = stakes
        self._four_eyes = four_eyes
        self._is_automatic = is_automatic

    def refund(
        self, wanted: OrderRefundRequest, *, by: Operator, request: str | None = None
    ) -> Proposal | int:
        """Give money of an order back; return the number of its refund, or the proposal where it needs a second person.

        A repeat of the same `request` returns the same refund. Raises InvalidValue, NotFound SESSION_NOT_FOUND,
        NotAllowed OWN_PAYMENT, and Rejected as `PaymentSession.refund_order` does.
        """
        decision = self._decision(wanted, request or str(uuid4()))
        self._check(decision, by)
        beside = _decided_beside(self._ledger.session(wanted.session_id), decision)
        decided = self._four_eyes.submit(decision, by, beside_cents=beside)
        return decided if isinstance(decided, Proposal) else self._carry_out(decided)

    def ask(
        self, session_id: UUID, reason: str, *, key_name: str, request: str | None = None
    ) -> Proposal | int:
        """Ask in the name of an API key that all money of an order goes back by reversal.

        A key decides nothing: the approval policy does, where it is automatic and no second person is needed, or it is
        proposed and an operator approves. Returns as `refund` does, and raises it but for OWN_PAYMENT.
        """
        wanted = OrderRefundRequest(
            session_id=session_id, amount_cents=None, payout_receipt=None, reason=reason, restock=False
        )
        decision, session = self._decision(wanted, request or str(uuid4())), self._ledger.session(session_id)
        asked_by, asker = f"key {key_name}", f"key:{key_name}"
        _command(decision, asked_by)(session)
        together = decision.amount_cents + _decided_beside(session, decision)
        if not self._is_automatic or self._four_eyes.needs_two(together):
            return self._four_eyes.propose(decision, asked_by, asker)
        return self._carry_out(self._four_eyes.decide_by_policy(decision, asked_by, asker))

    def waiting(self, session_id: UUID) -> Proposal | None:
        """Return the refund of a session's order that waits for a person, None if there is none."""
        return self._four_eyes.waiting(REFUND_ORDER, _subject(session_id))

    def approve_proposal(self, proposal: Proposal, *, by: Operator) -> None:
        """Carry out a refund that another proposed. Raises as `refund` does."""
        self._check(proposal, by)
        self._carry_out(self._four_eyes.approve(proposal, by))

    def _decision(self, wanted: OrderRefundRequest, request: str) -> Decision:
        session = self._ledger.session(wanted.session_id)
        return Decision(
            action=REFUND_ORDER,
            subject=_subject(wanted.session_id),
            session_id=wanted.session_id,
            amount_cents=session.totals.total_cents if wanted.amount_cents is None else wanted.amount_cents,
            arguments={
                "amount_cents": wanted.amount_cents,
                "payout_receipt": _receipt(wanted.payout_receipt),
                "reason": parse_note(wanted.reason, "reason"),
                "restock": wanted.restock,
                "request": request,
            },
        )

    def _check(self, decision: Decision, by: Operator) -> None:
        """Raise what the history refuses, too, so that nothing is proposed that cannot be done."""
        assert decision.session_id is not None
        session = self._ledger.session(decision.session_id)
        self._stakes.refuse_own(by, [session])
        self._refuse_payment(decision.arguments["payout_receipt"])
        _command(decision, by.name)(session)

    def _refuse_payment(self, payout: str | None) -> None:
        """Raise InvalidValue if a receipt is of money that came in."""
        if payout is None:
            return
        with self._ledger.database.connection() as connection:
            values = {"kind": RECEIPT, "receipt": payout}
            found = connection.execute(_IS_OF_A_PAYMENT, values).fetchone()
        if found is not None and found["is_of_a_payment"]:
            problem = "This receipt is of a payment that came in. Write that of the money that was sent back."
            raise wrong_fields({"payout_receipt": [problem]})

    def _carry_out(self, decided: Decided) -> int:
        session_id, payout = decided.decision.session_id, decided.decision.arguments["payout_receipt"]
        assert session_id is not None
        if payout is not None and not self._ledger.reserve(payout, PAYOUT, session_id):
            raise Rejected("PAYOUT_KNOWN", "This receipt is of another refund already.")
        _, refund = self._ledger.decide(session_id, partial(self._refund, decided=decided))
        self._four_eyes.end(decided)
        return refund

    def _refund(self, session: PaymentSession, decided: Decided) -> int:
        """Refund; raise Conflict if another part was decided meanwhile, so that both together need a second person."""
        decision = decided.decision
        together = decision.amount_cents + _decided_beside(session, decision)
        if not isinstance(decision, Proposal) and self._four_eyes.needs_two(together):
            raise Conflict
        return _command(decision, decided.by)(session)


def parse_session_id(text: str) -> UUID:
    """Return the id of a session that an operator typed. Raises InvalidValue."""
    try:
        return UUID(text.strip())
    except ValueError:
        description = "Write the id of a session, such as 550e8400-e29b-41d4-a716-446655440000."
        raise wrong_fields({"session": [description]}) from None


def _subject(session_id: UUID) -> str:
    return f"order of session {session_id}"


def _decided_beside(session: PaymentSession, decision: Decision) -> int:
    """Return what other decisions give back of the order, in cents."""
    others = (refund for refund in session.order_refunds if refund.request != decision.arguments["request"])
    return sum(refund.amount_cents for refund in others if not refund.unasked)


def _command(decision: Decision, by: str) -> Callable[[PaymentSession], int]:
    arguments: dict[str, Any] = dict(decision.arguments)
    return partial(PaymentSession.refund_order, **arguments, decided_by=by, at=clock.now())


def _receipt(text: str | None) -> str | None:
    """Return a receipt in capitals, None if there is none; raise InvalidValue if it cannot be one."""
    if text is None or not text.strip():
        return None
    receipt = text.strip().upper()
    if not (receipt.isascii() and receipt.isalnum() and len(receipt) >= MIN_RECEIPT_CHARACTERS):
        raise wrong_fields({"payout_receipt": ["Write M-Pesa's receipt, such as UKG7Q2X9LM."]})
    return receipt
