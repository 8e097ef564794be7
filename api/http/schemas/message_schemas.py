"""The messages that servers get, in the feed and by webhook, and the query of the feed."""

from typing import Any

from marshmallow import ValidationError, fields, validate

from api.http.schemas.audit_schemas import LogCursor
from api.http.schemas.fields import AwareMoment, RequestSchema, ResponseSchema, one_of
from api.http.schemas.pagination import MAX_PAGE_SIZE, Ordinal
from ledger.session.values import Status
from payments.webhooks.messages import MESSAGE_TYPES


class MessageTypes(fields.String):
    """Types of messages with commas between; loads to a tuple."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        types = tuple(dict.fromkeys(value.split(",")))
        if not set(types) <= set(MESSAGE_TYPES):
            raise ValidationError(f"Write some of these, with commas between: {', '.join(MESSAGE_TYPES)}.")
        return types


class FeedQuery(RequestSchema):
    """Which messages are wanted, and behind which place."""

    after = LogCursor(metadata={"description": "What `next` carries; leave it out at the start."})
    limit = Ordinal(
        load_default=MAX_PAGE_SIZE,
        validate=validate.Range(1),
        metadata={"description": f"Messages a page; more than {MAX_PAGE_SIZE} means {MAX_PAGE_SIZE}."},
    )
    types = MessageTypes(
        load_default=MESSAGE_TYPES,
        metadata={"description": "Only messages of these types.", "example": "payment.paid,refund.done"},
    )
    from_ = AwareMoment(data_key="from", metadata={"description": "Recorded at this moment or later."})

    def made_of(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the fields with a limit that is not too large."""
        return data | {"limit": min(data["limit"], MAX_PAGE_SIZE)}


class RefundOfMessage(ResponseSchema):
    """The refund that a message is about."""

    number = fields.Integer(metadata={"description": "Of this session's refunds, from 1."})
    amount = fields.String(metadata={"example": "350.00"})
    of_order = fields.Boolean(metadata={"description": "Whether it is money of the order that was made."})
    why = fields.String(
        allow_none=True, metadata={"description": "Of `refund.due`: the reason, as a code; else null."}
    )
    means = fields.String(
        allow_none=True,
        metadata={
            "description": "Of `refund.done`: `reversal`, `statement`, `by_hand`, or `outside` where M-Pesa or the "
            "payer took the payment back."
        },
    )
    reversal_receipt = fields.String(
        allow_none=True, metadata={"description": "M-Pesa's receipt of the money that went back."}
    )


class MessageData(ResponseSchema):
    """The session as the event left it. No later event changes it."""

    session_id = fields.UUID()
    version = fields.Integer(
        metadata={"description": "Grows within the session: of two messages the higher one is the later."}
    )
    session_status = fields.String(validate=one_of(Status))
    amount = fields.String(metadata={"description": "What the session asks for.", "example": "350.00"})
    currency = fields.String(metadata={"example": "KES"})
    receipt = fields.String(
        allow_none=True, metadata={"description": "M-Pesa's receipt of the payment, if it was known."}
    )
    order_number = fields.String(allow_none=True)
    failure_code = fields.String(allow_none=True)
    refund = fields.Nested(RefundOfMessage, allow_none=True)
    reference = fields.String(
        allow_none=True, metadata={"description": "The caller's own; null for carts, and after an erasure."}
    )
    metadata = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        allow_none=True,
        metadata={"description": "The caller's own; null after an erasure."},
    )


class Message(ResponseSchema):
    """One message. A webhook has the id in its header `webhook-id`, and the rest as its body."""

    id = fields.String(metadata={"example": "msg_550e8400e29b41d4a716446655440000_4"})
    type = fields.String(validate=one_of(MESSAGE_TYPES))
    timestamp = fields.String(
        metadata={
            "format": "date-time",
            "description": "When it happened.",
            "example": "2024-01-15T10:30:00.25Z",
        }
    )
    data = fields.Nested(MessageData)


class MessageFeedPage(ResponseSchema):
    """A page of the feed, in the order of the log. It may be short, or empty, long before the end."""

    next = fields.String(metadata={"description": "Where the feed goes on, now or later."})
    has_more = fields.Boolean(metadata={"description": "Whether there is more to read at once."})
    results = fields.List(fields.Nested(Message))
