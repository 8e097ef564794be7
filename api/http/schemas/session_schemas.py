"""The checkout contract's schemas of payment sessions: requests and responses, key by key."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from itertools import chain, repeat
from typing import Any

from marshmallow import ValidationError, fields

from api.http.framework.json import amount, amount_text
from api.http.framework.services import current_services
from api.http.schemas.fields import (
    DeliveryDay,
    LenientSchema,
    Moment,
    Phone,
    ResponseSchema,
    Text,
    TimeSlot,
    WholeNumber,
    one_of,
)
from api.http.schemas.line_items import CartItem, count_items, show_item
from api.http.schemas.money_schemas import MoneyFields, show_money
from api.http.schemas.pagination import PagedList
from ledger.session.events import EVENT_CLASSES, PUBLIC_NAMES
from ledger.session.session import PaymentSession
from ledger.session.status_row import money_of
from ledger.session.values import Status
from ledger.store.caller_texts import LineTexts
from payments.checkout.next_action import NextAction
from projections.sessions import SessionRow

MAX_NAME_CHARACTERS = 100
MAX_ADDRESS_CHARACTERS = 500
MAX_INSTRUCTION_CHARACTERS = 500
EVENT_NAMES = sorted(PUBLIC_NAMES[event] for event in EVENT_CLASSES)


class TypedPhone(Phone):
    """A phone number together with the text that it was typed as."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value, super()._deserialize(value, *args, **kwargs)


class DeliveryDetails(LenientSchema):
    """Where to deliver the order, and which phone is to pay."""

    loads_by_field = True

    full_name = Text(required=True, most=MAX_NAME_CHARACTERS, metadata={"example": "John Doe"})
    phone_number = TypedPhone(required=True, metadata={"example": "0712345678"})
    county_id = WholeNumber(required=True, metadata={"example": 1})
    subcounty_id = WholeNumber(required=True, metadata={"example": 5})
    detailed_address = Text(
        required=True, most=MAX_ADDRESS_CHARACTERS, metadata={"example": "123 Main Street, Apartment 4B"}
    )


class NewSession(LenientSchema):
    """The request to create a session for the caller's cart."""

    loads_by_field = True

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
        """If other fields are wrong, check the place too, so that one response names all of it."""
        read = error.valid_data if isinstance(error.valid_data, dict) else {}
        details = read.get("delivery_details") or {}
        if "county_id" in details and "subcounty_id" in details:
            wrong = current_services().checkout.wrong_place(details["county_id"], details["subcounty_id"])
            error.messages_dict.setdefault("delivery_details", {}).update(wrong)

    def made_of(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the delivery details as they were written, and the phone in them."""
        details = dict(data["delivery_details"])
        details["phone_number"], phone = details["phone_number"]
        day: date | None = data["estimated_delivery_date"]
        details["special_instructions"] = data["special_instructions"]
        details["delivery_time_slot"] = data["delivery_time_slot"]
        details["estimated_delivery_date"] = day.isoformat() if day else None
        return {"delivery": details, "phone": phone}


class InitiateRequest(LenientSchema):
    """The request to send a prompt."""

    loads_by_field = True

    phone_number = Phone(
        load_default=None,
        allow_none=False,
        metadata={
            "example": "0712345678",
            "description": "Send the prompt to this phone instead of the session's.",
        },
    )


class CartSnapshot(ResponseSchema):
    """The cart when the session was created. `rounding` is what rounding to the shilling added."""

    items = fields.List(fields.Nested(CartItem))
    total_items = fields.Decimal()
    total_cost = fields.Decimal()
    rounding = fields.Decimal()
    created_at = Moment()


class ShownDelivery(ResponseSchema):
    """The delivery details of a session; those of a checkout of a server may be unknown."""

    full_name = fields.String(allow_none=True)
    phone_number = fields.String(allow_none=True)
    county_id = fields.Integer(allow_none=True)
    subcounty_id = fields.Integer(allow_none=True)
    detailed_address = fields.String(allow_none=True)
    special_instructions = fields.String(allow_none=True)
    delivery_time_slot = fields.String(allow_none=True)
    estimated_delivery_date = fields.String(allow_none=True)


class OrderSummary(ResponseSchema):
    """The order of a session."""

    order_id = fields.Integer(allow_none=True, metadata={"example": 789})
    order_number = fields.String(metadata={"example": "ORD-20240115-001"})
    order_status = fields.String(metadata={"example": "confirmed"})
    payment_status = fields.String(metadata={"example": "paid"})


class Reason(ResponseSchema):
    """Why a session failed: a stable code, and a message for people."""

    code = fields.String(metadata={"example": "CANCELLED_BY_USER"})
    message = fields.String()


class RetryAdvice(ResponseSchema):
    """Whether and when the buyer can try again."""

    reason = fields.Nested(Reason, allow_none=True)
    can_retry = fields.Boolean(
        metadata={
            "description": "Whether another attempt can succeed: `initiate_payment` again while the session is open, "
            "a new session once it is `failed` or `expired`."
        }
    )
    retry_after = fields.Integer(
        allow_none=True,
        metadata={"description": "Whole seconds until that attempt makes sense; null if it cannot succeed."},
    )
    in_doubt = fields.Boolean(
        metadata={"description": "Whether money may have moved without confirmation yet."}
    )
    next_check_at = Moment(
        allow_none=True, metadata={"description": "While in doubt: when M-Pesa is queried next."}
    )
    resolve_by = Moment(
        allow_none=True,
        metadata={
            "description": "While in doubt: by then the outcome is known, or an operator has the case."
        },
    )
    paused = fields.String(
        allow_none=True,
        metadata={"description": "Why the shop sends no prompts at all for now; null while it does."},
    )


class SessionFields(ResponseSchema):
    """The contract's keys of a session's status."""

    session_id = fields.UUID()
    session_status = fields.String(validate=one_of(Status))
    order = fields.Nested(OrderSummary, allow_none=True)
    expires_at = Moment()
    created_at = Moment()
    version = fields.Integer(metadata={"description": "Grows with every event of the session."})


class SessionStatus(RetryAdvice, MoneyFields, SessionFields):
    """The status of a session."""


class SessionDetails(SessionFields):
    """The contract's keys of a session."""

    user = fields.Integer()
    cart_snapshot = fields.Nested(CartSnapshot)
    delivery_details = fields.Nested(ShownDelivery)
    total_amount = fields.String(metadata={"example": "350.00"})
    delivery_fee = fields.String(metadata={"example": "50.00"})
    phone_number = fields.String(allow_none=True)


class Session(RetryAdvice, MoneyFields, SessionDetails):
    """A session as its owner sees it."""


class OrderName(ResponseSchema):
    """The id and number of an order."""

    order_id = fields.Integer(allow_none=True)
    order_number = fields.String()


class ListEntry(ResponseSchema):
    """The contract's keys of a session in a list."""

    session_id = fields.UUID()
    session_status = fields.String(validate=one_of(Status))
    total_amount = fields.String()
    created_at = Moment()
    order_details = fields.Nested(OrderName, allow_none=True)


class ListedSession(RetryAdvice, MoneyFields, ListEntry):
    """A session in a list."""


class SessionList(PagedList):
    """A page of sessions, newest first."""

    results = fields.List(fields.Nested(ListedSession))


class Prompt(ResponseSchema):
    """A prompt that was sent. `checkout_request_id` is null if M-Pesa's response was lost; check the status."""

    status = fields.String(metadata={"example": "success"})
    message = fields.String()
    session_id = fields.UUID()
    transaction_id = fields.Integer()
    checkout_request_id = fields.String(allow_none=True)
    customer_message = fields.String()


class PaymentUrl(ResponseSchema):
    """Where a session's payment page is."""

    payment_url = fields.Url(metadata={"example": "https://pay.example.co.ke/pay/pl_AaIg0tcMfBOgTw…/"})


class Extension(ResponseSchema):
    """A session that was extended."""

    status = fields.String(metadata={"example": "success"})
    message = fields.String()
    expires_at = Moment()


class ShownEvent(ResponseSchema):
    """One event of a session, as its owner may see it."""

    version = fields.Integer()
    event = fields.String(validate=one_of(EVENT_NAMES), metadata={"example": "Paid"})
    happened_at = fields.String(metadata={"example": "2024-01-15T10:30:00.123456Z"})
    details = fields.Dict(metadata={"description": "The data of the event; amounts are text in shillings."})


class History(ResponseSchema):
    """A session's events, oldest first."""

    session_id = fields.UUID()
    events = fields.List(fields.Nested(ShownEvent))


UNKNOWN_DELIVERY: Mapping[str, Any] = dict.fromkeys(ShownDelivery().fields)
"""The delivery details of a session that has none."""


def show_session(
    session: PaymentSession,
    details: Mapping[str, Any] | None,
    next_action: NextAction,
    now: datetime,
    texts: Iterable[LineTexts | None] = (),
) -> dict[str, Any]:
    """Return a session in the contract's form.

    `details` are its delivery details in the clear, `texts` those of its lines, if their names are its caller's.
    """
    details = details or UNKNOWN_DELIVERY
    return {
        "session_id": session.id,
        "user": session.user_id,
        "cart_snapshot": _show_cart(session, texts),
        "delivery_details": details,
        "total_amount": amount_text(session.totals.total_cents),
        "delivery_fee": amount_text(session.totals.delivery_fee_cents),
        "phone_number": details["phone_number"],
        "session_status": session.status_at(now),
        "order": show_order(*(session.order or (None, None))),
        "created_at": session.created_on,
        "expires_at": session.expires_at,
        "version": session.version,
        **show_money(session.paid.receipt if session.paid else None, money_of(session)),
        **_show_retry_advice(session.failure, next_action),
    }


def show_status_of(row: SessionRow, next_action: NextAction) -> dict[str, Any]:
    """Return the status of a session."""
    return {
        "session_id": row.session_id,
        "session_status": row.session_status,
        "order": show_order(row.order_id, row.order_number),
        "expires_at": row.expires_at,
        "created_at": row.created_at,
        "version": row.version,
        **show_money(row.receipt, row.money),
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
        "order_details": order if row.order_number else None,
        **show_money(row.receipt, row.money),
        **_show_retry_advice(_failure(row), next_action),
    }


def show_order(order_id: int | None, order_number: str | None) -> dict[str, Any] | None:
    """Return an order, None without a number: one that exists is confirmed and paid, because payment comes first."""
    if order_number is None:
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
        "paused": next_action.paused,
    }


def _failure(row: SessionRow) -> tuple[str, str] | None:
    return None if row.failure_code is None else (row.failure_code, row.failure_reason or "")


def _show_cart(session: PaymentSession, texts: Iterable[LineTexts | None]) -> dict[str, Any]:
    return {
        "items": list(map(show_item, session.lines, chain(texts, repeat(None)))),
        "total_items": count_items(session.lines),
        "total_cost": amount(session.totals.goods_cents),
        "rounding": amount(session.totals.rounding_cents),
        "created_at": session.created_on,
    }
