"""The schemas of refunds as a server sees them, which asks for them and decides about none."""

from typing import Any

from marshmallow import fields

from api.http.framework.json import amount
from api.http.schemas.fields import Moment, RequestSchema, ResponseSchema, Text, one_of
from ledger.session.values import RefundState
from payments.operators.proposals import Proposal
from payments.refunds.notes import MAX_CHARACTERS
from projections.refunds import PaymentRefund


class AskedRefund(RequestSchema):
    """Why the money of an order shall go back."""

    reason = Text(
        most=MAX_CHARACTERS,
        required=True,
        metadata={
            "description": "Why. It stays in the log for ever: no phone number, no name.",
            "example": "The goods were sold out.",
        },
    )


class SessionRefund(ResponseSchema):
    """A sum of a session that must go back, or has gone back."""

    refund = fields.Integer(metadata={"description": "Its number within the session, from 1.", "example": 1})
    state = fields.String(validate=one_of(RefundState), metadata={"example": "approved"})
    amount = fields.Decimal(metadata={"example": 350.00})
    receipt = fields.String(
        allow_none=True, metadata={"description": "M-Pesa's receipt of the payment.", "example": "UKG7Q2X9LM"}
    )
    why = fields.String(metadata={"example": "ORDER_REFUNDED"})
    of_order = fields.Boolean(metadata={"description": "Whether it is money of the order that was made."})
    reason = fields.String(allow_none=True, metadata={"example": "The goods were sold out."})
    due_at = Moment()
    done_at = Moment(allow_none=True)
    reversal_receipt = fields.String(allow_none=True)
    in_doubt = fields.Boolean(metadata={"description": "Whether M-Pesa has not said what became of it."})


class WaitingRefund(ResponseSchema):
    """A refund of the order that an operator has to approve."""

    amount = fields.Decimal(metadata={"example": 350.00})
    asked_at = Moment()
    expires_at = Moment(metadata={"description": "From then on it counts no more: ask again."})


class AnsweredRefund(ResponseSchema):
    """What became of the request: the `refund`, or what is `waiting` for an operator; the other is null."""

    refund = fields.Nested(SessionRefund, allow_none=True)
    waiting = fields.Nested(WaitingRefund, allow_none=True)


class SessionRefundList(ResponseSchema):
    """All refunds of a session, and the one of its order that is `waiting` for an operator."""

    results = fields.List(fields.Nested(SessionRefund))
    waiting = fields.Nested(WaitingRefund, allow_none=True)


def show_session_refund(refund: PaymentRefund) -> dict[str, Any]:
    """Return a refund with its amount in shillings."""
    names = SessionRefund().fields.keys() - {"amount"}
    return {name: getattr(refund, name) for name in names} | {"amount": amount(refund.amount_cents)}


def show_waiting(proposal: Proposal | None) -> dict[str, Any] | None:
    """Return what waits for an operator, None for nothing."""
    if proposal is None:
        return None
    return {
        "amount": amount(proposal.amount_cents),
        "asked_at": proposal.proposed_at,
        "expires_at": proposal.expires_at,
    }
