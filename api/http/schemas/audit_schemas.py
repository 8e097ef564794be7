"""The queries of auditors, and how payments that they find are shown."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from marshmallow import Schema, ValidationError, fields, validate

from api.http.framework.lean import CONVERTS
from api.http.schemas.fields import (
    AwareMoment,
    Choice,
    Day,
    Moment,
    Phone,
    RequestSchema,
    ResponseSchema,
    Text,
    one_of,
)
from api.http.schemas.pagination import MAX_PAGE_SIZE, CursorText, KeysetList, KeysetQuery, Ordinal
from api.http.schemas.session_schemas import OrderSummary, Reason
from ledger.clock import DAY_YEARS, OUT_OF_CALENDAR
from ledger.errors import InvalidValue
from ledger.money import Money
from ledger.session.events import EVENT_CLASSES, PUBLIC_NAMES
from ledger.session.values import AttemptState, Evidence, RefundStatus, Status

MAX_USER = 2**63 - 1

_AMOUNT = re.compile(r"[0-9]{1,10}(\.[0-9]{1,2})?")
_POSITIONS = re.compile(r"[0-9]{1,5}:[0-9]{1,19}(,[0-9]{1,5}:[0-9]{1,19}){0,15}", re.ASCII)
MAX_ORIGIN = 2**15 - 1
MAX_EVENTS = 1_000
TOPICS = {PUBLIC_NAMES[event]: event.TOPIC for event in EVENT_CLASSES}
_REFERENCE = re.compile(r"[Dd]([0-9]{1,18})")


class UserNumber(fields.Integer):
    """The number of a user in a query."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if not re.fullmatch(r"[1-9][0-9]{0,18}", value) or int(value) > MAX_USER:
            raise ValidationError("Write the number of a user.")
        return int(value)


class Shillings(fields.String):
    """An amount in a query, in shillings with up to two decimals; loads to cents."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if not _AMOUNT.fullmatch(value):
            raise ValidationError("Write an amount like 350.00.")
        try:
            return Money.parse(value).cents
        except InvalidValue as error:
            raise ValidationError(error.message) from None


class AccountReference(fields.String):
    """The reference of an attempt at M-Pesa, D and the transaction id, in any letter case; loads to this id."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        match = _REFERENCE.fullmatch(value.strip())
        if match is None:
            raise ValidationError("Write an account reference like D456.")
        return int(match[1])


def is_in_calendar(day: date) -> None:
    """Raise ValidationError for a day outside the years that can be read."""
    if day.year not in DAY_YEARS:
        raise ValidationError(OUT_OF_CALENDAR)


class PaymentQuery(KeysetQuery):
    """What a payment is found by; filters may be combined."""

    receipt = Text(
        most=40, metadata={"description": "M-Pesa's receipt of money in or out.", "example": "UKG7Q2X9LM"}
    )
    order_number = Text(most=100, metadata={"example": "ORD-20240115-001"})
    reference = AccountReference(
        metadata={
            "description": "The account reference of an attempt, as M-Pesa shows it.",
            "example": "D456",
        }
    )
    checkout_reference = Text(
        most=128,
        metadata={"description": "What a shop's server called its checkout.", "example": "ORDER-1001"},
    )
    user = UserNumber(metadata={"description": "The number of the buyer."})
    day = Day(
        validate=is_in_calendar,
        metadata={"description": "The day of creation, in Nairobi.", "example": "2024-01-15"},
    )
    amount = Shillings(metadata={"description": "What was asked for, in shillings.", "example": "350.00"})
    status = Choice([str(status) for status in Status])
    evidence = Choice(
        [str(evidence) for evidence in Evidence], metadata={"description": "By what the payment is known."}
    )
    recorded_as_of = AwareMoment(
        metadata={"description": "The payments as they were by what was recorded until then."}
    )
    cursor = CursorText(UUID)


class PersonalFilters(Schema):
    """What names a person is no part of a URL, which proxies and browsers keep."""

    phone = Phone(data_key="Daftari-Phone", metadata={"description": "Only payments that name this phone."})
    checkout_id = Text(
        data_key="Daftari-Checkout-Request",
        most=100,
        metadata={
            "description": "Only the payment of this CheckoutRequestID.",
            "example": "ws_CO_150120241030",
        },
    )


class LogCursor(fields.String):
    """Where the log was read up to: `origin:position`, of several origins with commas between; loads to a dict."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        parts = [part.split(":") for part in value.split(",")] if _POSITIONS.fullmatch(value) else []
        positions = {int(origin): int(position) for origin, position in parts}
        is_possible = all(
            origin <= MAX_ORIGIN and position <= MAX_USER for origin, position in positions.items()
        )
        if len(positions) != len(parts) or not positions or not is_possible:
            raise ValidationError("Follow `next` as it is.")
        return positions


def log_cursor(positions: Mapping[int, int]) -> str:
    """Return positions as a LogCursor loads them."""
    return ",".join(f"{origin}:{position}" for origin, position in sorted(positions.items()))


class EventQuery(RequestSchema):
    """Which events of the log are wanted; filters may be combined."""

    after = LogCursor(metadata={"description": "What `next` carries; leave it out at the start."})
    page_size = Ordinal(
        load_default=MAX_PAGE_SIZE,
        validate=validate.Range(1),
        metadata={"description": f"Events a page; more than {MAX_EVENTS} means {MAX_EVENTS}."},
    )
    type = Choice(sorted(TOPICS), metadata={"description": "Only events of this name.", "example": "Paid"})
    user = UserNumber(metadata={"description": "Only events of this buyer's sessions."})
    receipt = Text(
        most=40,
        metadata={
            "description": "Only events of the session it was credited to, or that was refunded by it."
        },
    )
    actor = Text(most=100, metadata={"description": "Only what this actor caused, as in `user:42`."})
    from_ = AwareMoment(data_key="from", metadata={"description": "Recorded at this moment or later."})
    to = AwareMoment(metadata={"description": "Recorded before this moment."})


class LogEvents(ResponseSchema):
    """A page of the log, in the order of positions."""

    next = fields.String(
        allow_none=True,
        metadata={"description": "Where the log goes on, now or later; null once `to` is passed for good."},
    )
    has_more = fields.Boolean(metadata={"description": "Whether there is more to read at once."})
    results = fields.List(fields.Dict())


class FoundPaymentFields(ResponseSchema):
    """A payment that was found."""

    session_id = fields.UUID()
    user = fields.Integer()
    session_status = fields.String(validate=one_of(Status))
    version = fields.Integer()
    total_amount = fields.String(metadata={"example": "350.00"})
    received = fields.String()
    refund_due = fields.String()
    refunded = fields.String()
    receipt = fields.String(allow_none=True)
    evidence = fields.String(allow_none=True, validate=one_of(Evidence))
    order = fields.Nested(OrderSummary, allow_none=True)
    failure_code = fields.String(allow_none=True)
    created_at = Moment()
    paid_at = Moment(allow_none=True)


class FoundPayments(KeysetList):
    """Payments, the newest first."""

    results = fields.List(fields.Nested(FoundPaymentFields))


def _to_the_microsecond(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


class RecordMoment(fields.DateTime):
    """The time of a record: to the microsecond, so that it leads to this record as `as_of`."""

    def _serialize(self, value: datetime | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else _to_the_microsecond(value)


CONVERTS |= {RecordMoment: _to_the_microsecond}


class ToldEvent(ResponseSchema):
    """One event of a payment's story. `words` is null for a forged event, and for what follows one."""

    version = fields.Integer()
    event = fields.String(metadata={"example": "Paid"})
    happened_at = Moment()
    recorded_at = RecordMoment(metadata={"example": "2024-01-15T10:30:05.123456Z"})
    words = fields.String(allow_none=True)
    moved_to = fields.String(allow_none=True, metadata={"description": "The new status, if it changed."})
    is_genuine = fields.Boolean()
    caused_by = fields.Dict(metadata={"description": "The cause, and who acted."})


class MoneyByReceipt(ResponseSchema):
    """What came under one receipt of M-Pesa, and what of it went back."""

    receipt = fields.String()
    attempt = fields.Integer()
    amount = fields.String()
    evidence = fields.String(validate=one_of(Evidence))
    is_ = fields.String(data_key="is", attribute="is", metadata={"description": "payment or surplus"})
    refunded = fields.String()


class PaymentMoney(ResponseSchema):
    """The money of a payment, in shillings."""

    asked = fields.String()
    received = fields.String()
    paid = fields.String()
    surplus = fields.String()
    refund_due = fields.String()
    refunded = fields.String()
    refund_status = fields.String(allow_none=True, validate=one_of(RefundStatus))
    by_receipt = fields.List(fields.Nested(MoneyByReceipt))


class ShownAttempt(ResponseSchema):
    """One attempt of a payment."""

    attempt = fields.Integer()
    transaction_id = fields.Integer()
    account_reference = fields.String(metadata={"example": "D456"})
    state = fields.String(validate=one_of(AttemptState))
    requested_at = Moment()
    merchant_request_id = fields.String(allow_none=True)
    receipt = fields.String(allow_none=True)
    received = fields.String()


class SessionVerification(ResponseSchema):
    """The session verified by itself, as it is stored now: hashes, MACs, rows, and the blocks that cover it."""

    holds = fields.Boolean()
    events = fields.Integer()
    violations = fields.List(fields.Dict())
    blocks = fields.List(fields.String(), metadata={"description": "Names of signed blocks."})
    events_in_no_block_yet = fields.Integer()


class ShownPayment(ResponseSchema):
    """Everything about one payment, without personal data.

    Where its first event is forged, nothing else is known than its story and the verification.
    """

    session_id = fields.UUID()
    user = fields.Integer()
    session_status = fields.String(validate=one_of(Status))
    version = fields.Integer()
    evidence = fields.String(allow_none=True, validate=one_of(Evidence))
    created_at = Moment()
    expires_at = Moment()
    paid_at = Moment(allow_none=True)
    order = fields.Nested(OrderSummary, allow_none=True)
    reason = fields.Nested(Reason, allow_none=True)
    money = fields.Nested(PaymentMoney)
    attempts = fields.List(fields.Nested(ShownAttempt))
    refunds = fields.List(fields.Dict())
    discrepancies = fields.List(fields.Dict())
    story = fields.List(fields.Nested(ToldEvent))
    verification = fields.Nested(SessionVerification)


class MessageBeside(ResponseSchema):
    """M-Pesa's message as it came. `body` is null once it was erased."""

    inbox_id = fields.UUID()
    channel = fields.String(allow_none=True)
    received_at = Moment(allow_none=True)
    body = fields.String(allow_none=True)


class ShownStep(ToldEvent):
    """One event, the state after it, what the buyer was shown, and M-Pesa's message that caused it."""

    recorded = fields.Dict(metadata={"description": "The event as the log has it."})
    state = fields.Dict(
        allow_none=True, metadata={"description": "The status row after it; amounts are cents."}
    )
    buyer_saw = fields.Dict(allow_none=True, metadata={"description": "The status that the buyer was shown."})
    message = fields.Nested(MessageBeside, allow_none=True)


class PaymentSteps(ResponseSchema):
    """A payment step by step."""

    session_id = fields.UUID()
    steps = fields.List(fields.Nested(ShownStep))
