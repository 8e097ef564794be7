"""The schema of what became of a session's money, beyond the checkout contract."""

from typing import Any

from marshmallow import fields

from api.http.framework.json import amount_text
from api.http.schemas.fields import ResponseSchema, one_of
from ledger.session.values import MoneyBack, RefundStatus


class MoneyFields(ResponseSchema):
    """What became of the money of a session."""

    receipt = fields.String(
        allow_none=True, metadata={"description": "M-Pesa's receipt of the payment.", "example": "UKG7Q2X9LM"}
    )
    refunded = fields.String(
        metadata={"description": "What went back of all that was received.", "example": "0.00"}
    )
    refund_status = fields.String(
        allow_none=True,
        validate=one_of(RefundStatus),
        metadata={
            "description": "Null if nothing goes back; `due` while a sum is still to go back, `partly_refunded` once "
            "a part of what was received went back, `refunded` once all of it did."
        },
    )


def show_money(receipt: str | None, money: MoneyBack) -> dict[str, Any]:
    """Return what became of the money: the payment's receipt, what went back, and how far that is."""
    return {
        "receipt": receipt,
        "refunded": amount_text(money.refunded_cents),
        "refund_status": money.status,
    }
