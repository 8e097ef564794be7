"""The schemas of refunds."""

from dataclasses import asdict
from decimal import Decimal
from typing import Any
from uuid import UUID

from marshmallow import fields

from api.http.framework.json import amount
from api.http.schemas.catalogue_schemas import Flag
from api.http.schemas.decimals import DecimalField
from api.http.schemas.fields import AwareMoment, Choice, Moment, RequestSchema, ResponseSchema, Text, one_of
from api.http.schemas.pagination import RECORDED_AS_OF, CursorText, PagedList, PageQuery
from api.http.schemas.proposal_schemas import ShownProposal
from ledger.session.values import RefundState
from payments.refunds.notes import MAX_CHARACTERS
from projections.refunds import PaymentRefund

_STAYS = "It stays in the log for ever: no phone number, no name."


class RefundQuery(PageQuery):
    """The query of the list of refunds."""

    state = Choice(
        [str(state) for state in RefundState], metadata={"description": "Only refunds in this state."}
    )
    recorded_as_of = AwareMoment(metadata=RECORDED_AS_OF)
    cursor = CursorText(UUID, int)


class RefundReason(RequestSchema):
    """Why a refund is refused."""

    reason = Text(
        most=MAX_CHARACTERS, required=True, metadata={"description": f"Why the refund is held. {_STAYS}"}
    )


class RefundNote(RequestSchema):
    """What an operator found out or did."""

    note = Text(
        most=MAX_CHARACTERS, required=True, metadata={"description": f"What was found out or done. {_STAYS}"}
    )


class ShownRefund(ResponseSchema):
    """A refund. Values of an earlier refund attempt stay; `state` tells which of them count."""

    session_id = fields.UUID()
    refund = fields.Integer(metadata={"description": "Its number within the session, from 1."})
    attempt = fields.Integer()
    state = fields.String(validate=one_of(RefundState))
    amount = fields.Decimal(metadata={"example": 350.00})
    receipt = fields.String(allow_none=True, metadata={"description": "M-Pesa's receipt of the payment."})
    why = fields.String()
    due_at = Moment()
    approved_by = fields.String(allow_none=True)
    approved_at = Moment(allow_none=True)
    refused_by = fields.String(allow_none=True)
    refused_at = Moment(allow_none=True)
    refused_reason = fields.String(allow_none=True)
    requested_at = Moment(allow_none=True)
    conversation_id = fields.String(allow_none=True)
    in_doubt = fields.Boolean()
    doubted_at = Moment(allow_none=True)
    doubt_reason = fields.String(allow_none=True)
    done_at = Moment(allow_none=True)
    means = fields.String(
        allow_none=True,
        metadata={"description": "reversal, statement, by_hand, or outside: taken back without us."},
    )
    reversal_receipt = fields.String(allow_none=True)
    recorded_by = fields.String(allow_none=True)
    note = fields.String(allow_none=True)
    failures = fields.Integer()
    failed_at = Moment(allow_none=True)
    failure_code = fields.String(allow_none=True)
    failure_text = fields.String(allow_none=True)
    of_order = fields.Boolean(metadata={"description": "Whether it is money of the order that was made."})
    decided_by = fields.String(
        allow_none=True, metadata={"description": "Who decided that money of the order goes back."}
    )
    reason = fields.String(allow_none=True)
    restock = fields.Boolean()


class DecidedRefund(ShownRefund):
    """A refund after a decision; `proposal` is what waits for a second person, null if nothing does."""

    proposal = fields.Nested(ShownProposal, allow_none=True)


class OrderRefund(RequestSchema):
    """The request to give money of an order back."""

    reason = Text(
        most=MAX_CHARACTERS, required=True, metadata={"description": f"Why money goes back. {_STAYS}"}
    )
    amount = DecimalField(
        decimals=2,
        least=Decimal("0.01"),
        most=Decimal(10_000_000),
        load_default=None,
        allow_none=True,
        metadata={
            "description": "In shillings; by default all that is left of the order's money. M-Pesa reverses the whole "
            "only: a part needs `payout_receipt`.",
        },
    )
    payout_receipt = Text(
        most=20,
        load_default=None,
        allow_none=True,
        metadata={
            "description": "M-Pesa's receipt of the payout, if the money was sent outside Daftari. Without it the "
            "payment is reversed.",
            "example": "UKG7Q2X9LM",
        },
    )
    restock = Flag(
        load_default=False,
        metadata={"description": "Whether the goods go back on the shelf; once for an order."},
    )


class RefundedOrder(ResponseSchema):
    """What became of the decision: the `refund` of the order's money, or the `proposal` of it; the other is null."""

    refund = fields.Nested(ShownRefund, allow_none=True)
    proposal = fields.Nested(ShownProposal, allow_none=True)


class RefundList(PagedList):
    """A page of refunds, newest first."""

    results = fields.List(fields.Nested(ShownRefund))


def show_refund(refund: PaymentRefund) -> dict[str, Any]:
    """Return a refund with its amount in shillings."""
    return asdict(refund) | {"amount": amount(refund.amount_cents)}
