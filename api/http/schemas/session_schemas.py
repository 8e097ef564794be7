"""The guide's shapes of payment sessions: what comes in, and what is shown, key by key."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate

from api.http.framework.json import amount, amount_text
from api.http.framework.services import current_services
from api.http.schemas.fields import (
    Choice,
    DeliveryDay,
    Moment,
    Phone,
    RequestSchema,
    ResponseSchema,
    Text,
    TimeSlot,
    WholeNumber,
)
from api.http.schemas.line_items import CartItem, count_items, show_item
from api.http.schemas.pagination import Ordinal, PageQuery
from ledger.session.session import PaymentSession
from ledger.session.values import Status
from payments.checkout.next_action import NextAction
from projections.sessions import SessionRow

MAX_NAME_CHARACTERS = 100
MAX_ADDRESS_CHARACTERS = 500
MAX_INSTRUCTION_CHARACTERS = 500
MAX_WAIT_SECONDS = 30


class TypedPhone(Phone):
    """A phone number that is kept as it was typed beside the number that it means."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value, super()._deserialize(value, *args, **kwargs)


class DeliveryDetails(RequestSchema):
    """Where the order should go, and whom M-Pesa should ask."""

    full_name = Text(required=True, most=MAX_NAME_CHARACTERS, metadata={"example": "John Doe"})
    phone_number = TypedPhone(required=True, metadata={"example": "0712345678"})
    county_id = WholeNumber(required=True, metadata={"example": 1})
    subcounty_id = WholeNumber(required=True, metadata={"example": 5})
    detailed_address = Text(
        required=True, most=MAX_ADDRESS_CHARACTERS, metadata={"example": "123 Main Street, Apartment 4B"}
    )


class NewSession(RequestSchema):
    """What a client sends to open a session for the caller's cart."""

    delivery_details = fields.Nested(DeliveryDetails, required=True)
    special_instructions = Text(
        least=0,
        most=MAX_INSTRUCTION_CHARACTERS,
        load_default=None,
        allow_none=True,
        metadata={"example": "Leave at the gate"},
    )
    delivery_time_slot = TimeSlot(load_default=None, allow_none=True, metadata={"example": "morning"})
    estimated_delivery_date = DeliveryDay(load_default=None, allow_none=True)

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> None:
        """Where other fields are wrong, say what is wrong with the place too: all of it comes in one answer."""
        read = error.valid_data if isinstance(error.valid_data, dict) else {}
        details = read.get("delivery_details") or {}
        if "county_id" in details and "subcounty_id" in details:
            wrong = current_services().checkout.wrong_place(details["county_id"], details["subcounty_id"])
            error.messages_dict.setdefault("delivery_details", {}).update(wrong)

    @post_load
    def _to_delivery(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        details = dict(data["delivery_details"])
        details["phone_number"], phone = details["phone_number"]
        day: date | None = data["estimated_delivery_date"]
        details["special_instructions"] = data["special_instructions"]
        details["delivery_time_slot"] = data["delivery_time_slot"]
        details["estimated_delivery_date"] = day.isoformat() if day else None
        return {"delivery": details, "phone": phone}


class InitiateRequest(RequestSchema):
    """What a client may send to start a payment."""

    phone_number = Phone(
        load_default=None,
        allow_none=False,
        metadata={"example": "0712345678", "description": "Ask this phone instead of the session's."},
    )


class SessionQuery(PageQuery):
    """The query of the list of sessions."""

    status = Choice(
        [str(status) for status in Status], metadata={"description": "Only sessions in this status."}
    )


class LongPollQuery(RequestSchema):
    """For how long a client waits for news, and beyond which version."""

    wait = Ordinal(
        load_default=0,
        validate=validate.Range(0, MAX_WAIT_SECONDS),
        metadata={"description": "Seconds to wait for news; 0 asks for the status as it is."},
    )
    after = Ordinal(
        metadata={"description": "The version that the client knows; the present one where it is left out."}
    )


class LastEvent(RequestSchema):
    """Where a stream goes on."""

    last_event_id = Ordinal(
        data_key="Last-Event-ID",
        metadata={
            "description": "The id of the last event that was received, which is the session's version."
        },
    )


class CartSnapshot(ResponseSchema):
    """The cart as it stood when the session was created. `rounding` is what rounding to the shilling added."""

    items = fields.List(fields.Nested(CartItem))
    total_items = fields.Decimal()
    total_cost = fields.Decimal()
    rounding = fields.Decimal()
    created_at = Moment()


class ShownDelivery(ResponseSchema):
    """The delivery details of a session."""

    full_name = fields.String()
    phone_number = fields.String()
    county_id = fields.Integer()
    subcounty_id = fields.Integer()
    detailed_address = fields.String()
    special_instructions = fields.String(allow_none=True)
    delivery_time_slot = fields.String(allow_none=True)
    estimated_delivery_date = fields.String(allow_none=True)


class OrderSummary(ResponseSchema):
    """The order of a session."""

    order_id = fields.Integer(metadata={"example": 789})
    order_number = fields.String(metadata={"example": "ORD-20240115-001"})
    order_status = fields.String(metadata={"example": "confirmed"})
    payment_status = fields.String(metadata={"example": "paid"})


class Reason(ResponseSchema):
    """Why a session failed: a stable code, and a sentence for people."""

    code = fields.String(metadata={"example": "CANCELLED_BY_USER"})
    message = fields.String()


class RetryAdvice(ResponseSchema):
    """What a buyer can do about a session."""

    reason = fields.Nested(Reason, allow_none=True)
    can_retry = fields.Boolean(
        metadata={
            "description": "Whether another try can succeed: `initiate_payment` again while the session is open, "
            "a new session once it is `failed` or `expired`."
        }
    )
    retry_after = fields.Integer(
        allow_none=True,
        metadata={"description": "Whole seconds until that try makes sense; null where it cannot succeed."},
    )
    in_doubt = fields.Boolean(
        metadata={"description": "Whether money may have moved without anybody knowing yet."}
    )
    next_check_at = Moment(
        allow_none=True, metadata={"description": "While in doubt: when M-Pesa is asked next."}
    )
    resolve_by = Moment(
        allow_none=True,
        metadata={"description": "While in doubt: by then it is known, or a person is looking at it."},
    )


class SessionFields(ResponseSchema):
    """The guide's keys of a session's status."""

    session_id = fields.UUID()
    session_status = fields.String(validate=validate.OneOf([str(status) for status in Status]))
    order = fields.Nested(OrderSummary, allow_none=True)
    expires_at = Moment()
    created_at = Moment()
    version = fields.Integer(metadata={"description": "Grows with every event of the session."})


class SessionStatus(RetryAdvice, SessionFields):
    """Where a session stands."""


class Purchase(SessionFields):
    """The guide's keys of a session."""

    user = fields.Integer()
    cart_snapshot = fields.Nested(CartSnapshot)
    delivery_details = fields.Nested(ShownDelivery)
    total_amount = fields.String(metadata={"example": "350.00"})
    delivery_fee = fields.String(metadata={"example": "50.00"})
    phone_number = fields.String()


class Session(RetryAdvice, Purchase):
    """A session as its owner sees it."""


class OrderName(ResponseSchema):
    """The names of an order."""

    order_id = fields.Integer()
    order_number = fields.String()


class ListEntry(ResponseSchema):
    """The guide's keys of a session in a list."""

    session_id = fields.UUID()
    session_status = fields.String()
    total_amount = fields.String()
    created_at = Moment()
    order_details = fields.Nested(OrderName, allow_none=True)


class ListedSession(RetryAdvice, ListEntry):
    """A session in a list."""


class SessionList(ResponseSchema):
    """A page of sessions, newest first."""

    count = fields.Integer()
    next = fields.String(allow_none=True)
    previous = fields.String(allow_none=True)
    results = fields.List(fields.Nested(ListedSession))


class Prompt(ResponseSchema):
    """A prompt that was sent. `checkout_request_id` is null where M-Pesa's answer was lost; ask for the status."""

    status = fields.String(metadata={"example": "success"})
    message = fields.String()
    session_id = fields.UUID()
    transaction_id = fields.Integer()
    checkout_request_id = fields.String(allow_none=True)
    customer_message = fields.String()


class Extension(ResponseSchema):
    """A session that was given more time."""

    status = fields.String(metadata={"example": "success"})
    message = fields.String()
    expires_at = Moment()


class Fact(ResponseSchema):
    """One fact about a session, as its owner may see it."""

    version = fields.Integer()
    event = fields.String(metadata={"example": "Paid"})
    happened_at = fields.String(metadata={"example": "2024-01-15T10:30:00.123456Z"})
    details = fields.Dict(metadata={"description": "What the event says; amounts are text in shillings."})


class History(ResponseSchema):
    """A session's facts, oldest first."""

    session_id = fields.UUID()
    events = fields.List(fields.Nested(Fact))


def show_session(
    session: PaymentSession, details: Mapping[str, Any], next_action: NextAction, now: datetime
) -> dict[str, Any]:
    """Return a session in the contract's shape; `details` are its delivery details in the clear."""
    return {
        "session_id": session.id,
        "user": session.user_id,
        "cart_snapshot": _show_cart(session),
        "delivery_details": details,
        "total_amount": amount_text(session.totals.total_cents),
        "delivery_fee": amount_text(session.totals.delivery_fee_cents),
        "phone_number": details["phone_number"],
        "session_status": session.status_at(now),
        "order": show_order(*(session.order or (None, None))),
        "created_at": session.created_on,
        "expires_at": session.expires_at,
        "version": session.version,
        **_show_retry_advice(session.failure, next_action),
    }


def show_status_of(row: SessionRow, next_action: NextAction) -> dict[str, Any]:
    """Return where a session stands."""
    return {
        "session_id": row.session_id,
        "session_status": row.session_status,
        "order": show_order(row.order_id, row.order_number),
        "expires_at": row.expires_at,
        "created_at": row.created_at,
        "version": row.version,
        **_show_retry_advice(_failure(row), next_action),
    }


def show_listed(row: SessionRow, next_action: NextAction) -> dict[str, Any]:
    """Return a session as a list shows it."""
    order = {"order_id": row.order_id, "order_number": row.order_number}
    return {
        "session_id": row.session_id,
        "session_status": row.session_status,
        "total_amount": amount_text(row.total_cents),
        "created_at": row.created_at,
        "order_details": order if row.order_id else None,
        **_show_retry_advice(_failure(row), next_action),
    }


def show_order(order_id: int | None, order_number: str | None) -> dict[str, Any] | None:
    """Return an order by its names: one that exists is confirmed and paid, because payment comes first."""
    if order_id is None:
        return None
    return {
        "order_id": order_id,
        "order_number": order_number,
        "order_status": "confirmed",
        "payment_status": "paid",
    }


def _show_retry_advice(failure: tuple[str, str] | None, next_action: NextAction) -> dict[str, Any]:
    return {
        "reason": failure and {"code": failure[0], "message": failure[1]},
        "can_retry": next_action.can_retry,
        "retry_after": next_action.retry_after,
        "in_doubt": next_action.in_doubt,
        "next_check_at": next_action.next_check_at,
        "resolve_by": next_action.resolve_by,
    }


def _failure(row: SessionRow) -> tuple[str, str] | None:
    return None if row.failure_code is None else (row.failure_code, row.failure_reason or "")


def _show_cart(session: PaymentSession) -> dict[str, Any]:
    return {
        "items": [show_item(line) for line in session.lines],
        "total_items": count_items(session.lines),
        "total_cost": amount(session.totals.goods_cents),
        "rounding": amount(session.totals.rounding_cents),
        "created_at": session.created_on,
    }
