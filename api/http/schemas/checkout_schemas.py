"""The schemas of checkouts: what a shop's server sends to open a session, and what it is shown of one."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields, validate

from api.http.framework.lean import CONVERTS
from api.http.framework.services import current_services, current_settings
from api.http.schemas.catalogue_schemas import Line
from api.http.schemas.fields import RequestSchema, Text, WholeNumber
from api.http.schemas.line_items import CartItem
from api.http.schemas.pagination import CursorText, KeysetList, KeysetQuery
from api.http.schemas.session_schemas import (
    MAX_ADDRESS_CHARACTERS,
    MAX_INSTRUCTION_CHARACTERS,
    MAX_NAME_CHARACTERS,
    UNKNOWN_DELIVERY,
    CartSnapshot,
    ListedSession,
    Session,
    TypedPhone,
    show_session,
)
from ledger.money import Money
from ledger.session.session import PaymentSession
from ledger.store.caller_texts import LineTexts
from payments.checkout.checkout_rows import ReturnUrls
from payments.checkout.next_action import NextAction
from payments.checkout.server_checkouts import (
    LONGEST,
    PLAIN_AMOUNT,
    CheckoutTexts,
    WantedCheckout,
    WantedLine,
)
from payments.users.user_ids import MAX_CHARACTERS

MAX_LINES = 100
MAX_REFERENCE_CHARACTERS = 128
MAX_PRODUCT_ID_CHARACTERS = 128
MAX_UNIT_CHARACTERS = 32
MAX_METADATA = 20
MAX_METADATA_CHARACTERS = 500
MAX_URL_CHARACTERS = 2_000
MIN_SECONDS = 60

_AMOUNT = r"[0-9]{1,8}(\.[0-9]{1,2})?"
_QUANTITY = r"[0-9]{1,6}(\.[0-9]{1,3})?"
_NAME = r"[A-Za-z0-9_.-]{1,40}"
_URL = re.compile(r"(?P<origin>https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?)([/?#][!#-;=?-Z_a-z~]*)?")
"""An address without user, backslash, quotation mark or bracket, over which browsers and servers could disagree."""


class DecimalText(fields.String):
    """A number above or from 0, as decimal text in ASCII digits: no sign, no exponent, no blank."""

    def __init__(self, pattern: str, help_text: str, **kwargs: Any) -> None:
        super().__init__(metadata={"pattern": f"^{pattern}$"} | kwargs.pop("metadata", {}), **kwargs)
        self._pattern = re.compile(pattern, re.ASCII)
        self._help = help_text

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if not isinstance(value, str) or not self._pattern.fullmatch(value):
            raise ValidationError(self._help)
        return self._number(value)

    def _number(self, text: str) -> int:
        raise NotImplementedError


class AmountText(DecimalText):
    """An amount in shillings, as text with at most two decimals; loads to cents."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(_AMOUNT, "Write an amount as text, like 350.00.", **kwargs)

    def _number(self, text: str) -> int:
        return Money.parse(text).cents


class QuantityText(DecimalText):
    """A quantity above 0, as text with at most three decimals; loads to thousandths."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(_QUANTITY, "Write a quantity above 0 as text, like 2 or 1.5.", **kwargs)

    def _number(self, text: str) -> int:
        units, _, decimals = text.partition(".")
        thousandths = int(units + decimals.ljust(3, "0"))
        if not thousandths:
            raise ValidationError(self._help)
        return thousandths


class Metadata(fields.Dict):
    """The caller's own facts: a few texts by short names."""

    def __init__(self, **kwargs: Any) -> None:
        described = {
            "maxProperties": MAX_METADATA,
            "propertyNames": {"type": "string", "pattern": f"^{_NAME}$"},
        }
        super().__init__(
            keys=fields.String(
                validate=validate.Regexp(rf"{_NAME}\Z", error="Write 1 to 40 of A-Za-z0-9_.-")
            ),
            values=Text(least=0, most=MAX_METADATA_CHARACTERS),
            validate=validate.Length(max=MAX_METADATA, error=f"Send at most {MAX_METADATA} names."),
            metadata=described | kwargs.pop("metadata", {}),
            **kwargs,
        )


CONVERTS[Metadata] = dict


class ReturnUrl(fields.String):
    """An address of one of the shop's own origins."""

    def __init__(self, **kwargs: Any) -> None:
        length = validate.Length(
            max=MAX_URL_CHARACTERS, error=f"Write at most {MAX_URL_CHARACTERS} characters."
        )
        super().__init__(validate=length, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        match = _URL.fullmatch(value) if isinstance(value, str) else None
        if match is None or match["origin"] not in current_settings().daftari_return_origins:
            raise ValidationError("Write an address that begins with an origin of DAFTARI_RETURN_ORIGINS.")
        return str(value)


class NewLine(RequestSchema):
    """One line of what is to be paid."""

    name = Line(required=True, most=200, metadata={"example": "Maize flour, 2 kg"})
    quantity = QuantityText(required=True, metadata={"example": "2"})
    unit_price = AmountText(
        required=True, metadata={"example": "150.00", "description": "Shillings for one."}
    )
    product_id = Line(most=MAX_PRODUCT_ID_CHARACTERS, metadata={"example": "SKU-0042"})
    unit = Line(most=MAX_UNIT_CHARACTERS, metadata={"example": "pc"})

    def made_of(self, data: dict[str, Any]) -> Any:
        """Return the line as it is wanted."""
        texts = LineTexts(data["name"], data.get("product_id"), data.get("unit"))
        return WantedLine(data["unit_price"], data["quantity"], texts)


class Buyer(RequestSchema):
    """Who is to pay. `id` is the shop's own name of them: the `sub` of their tokens, if they have any."""

    id = fields.String(
        validate=validate.Length(1, MAX_CHARACTERS, error=f"Write 1 to {MAX_CHARACTERS} characters."),
        metadata={"example": "8f14e45f-ceea-467f-a8f0-7d0c4c1b2a3e"},
    )
    phone_number = TypedPhone(metadata={"example": "0712345678"})
    name = Line(most=MAX_NAME_CHARACTERS, metadata={"example": "John Doe"})


class Delivery(RequestSchema):
    """Where to deliver it, for what fee."""

    full_name = Line(most=MAX_NAME_CHARACTERS, metadata={"example": "John Doe"})
    phone_number = TypedPhone(metadata={"example": "0712345678"})
    county_id = WholeNumber(metadata={"example": 1})
    subcounty_id = WholeNumber(metadata={"example": 5})
    detailed_address = Text(most=MAX_ADDRESS_CHARACTERS, metadata={"example": "123 Main Street"})
    special_instructions = Text(least=0, most=MAX_INSTRUCTION_CHARACTERS)
    fee = AmountText(load_default=0, metadata={"example": "50.00"})


class NewCheckout(RequestSchema):
    """The request to open a session: for `lines`, or for a plain `amount`."""

    reference = Line(
        most=MAX_REFERENCE_CHARACTERS,
        metadata={"example": "ORDER-1001", "description": "Your own name of it, unique among your key's."},
    )
    lines = fields.List(
        fields.Nested(NewLine),
        validate=validate.Length(1, MAX_LINES, error=f"Send 1 to {MAX_LINES} lines, or an amount."),
    )
    amount = AmountText(metadata={"example": "350.00", "description": "Shillings, in place of lines."})
    buyer = fields.Nested(Buyer, load_default=dict)
    delivery = fields.Nested(Delivery, load_default=dict)
    metadata = Metadata(load_default=dict, metadata={"example": {"term": "1"}})
    expires_in = WholeNumber(
        least=MIN_SECONDS,
        most=int(LONGEST.total_seconds()),
        metadata={"example": 900, "description": "Seconds until it expires; by default as for carts."},
    )
    success_url = ReturnUrl(metadata={"description": "Where the payment page leads once it is paid."})
    cancel_url = ReturnUrl(metadata={"description": "Where the payment page leads who gives up."})

    def made_of(self, data: dict[str, Any]) -> Any:
        """Return what is wanted."""
        if ("lines" in data) == ("amount" in data):
            raise ValidationError("Send either lines or an amount.", "amount")
        buyer, delivery = data["buyer"], data["delivery"]
        _refuse_wrong_place(delivery)
        return WantedCheckout(
            lines=tuple(data.get("lines") or [WantedLine(data["amount"])]),
            delivery_fee_cents=delivery.get("fee", 0),
            buyer_id=buyer.get("id"),
            phone=buyer["phone_number"][1] if "phone_number" in buyer else None,
            details=_details(buyer, delivery),
            reference=data.get("reference"),
            metadata=data["metadata"],
            lasts=timedelta(seconds=data["expires_in"]) if "expires_in" in data else None,
            urls=ReturnUrls(data.get("success_url"), data.get("cancel_url")),
        )


class CheckoutQuery(KeysetQuery):
    """The query of the list of checkouts."""

    reference = Line(
        most=MAX_REFERENCE_CHARACTERS, metadata={"example": "ORDER-1001", "description": "Only this one."}
    )
    cursor = CursorText(UUID)


class CheckoutItem(CartItem):
    """A line of a checkout: `product_name` and `product_id` are the caller's."""

    product_id = fields.String(allow_none=True)


class CheckoutSnapshot(CartSnapshot):
    """What is to be paid, line by line."""

    items = fields.List(fields.Nested(CheckoutItem))


class Checkout(Session):
    """A session as the server that opened it sees it: in the contract's form, with what the server told of it."""

    cart_snapshot = fields.Nested(CheckoutSnapshot)
    reference = fields.String(allow_none=True)
    metadata = Metadata()
    payment_url = fields.String(metadata={"description": "The payment page, for the buyer."})
    success_url = fields.String(allow_none=True)
    cancel_url = fields.String(allow_none=True)


class ListedCheckout(ListedSession):
    """A checkout in a list."""

    reference = fields.String(allow_none=True)


class CheckoutList(KeysetList):
    """A page of a key's checkouts, newest first."""

    results = fields.List(fields.Nested(ListedCheckout))


def show_checkout(
    session: PaymentSession, texts: CheckoutTexts, payment_url: str, next_action: NextAction, now: datetime
) -> dict[str, Any]:
    """Return a session as the server that opened it sees it."""
    lines = (line or LineTexts(PLAIN_AMOUNT) for line in texts.lines)
    return {
        **show_session(session, texts.details, next_action, now, lines),
        "reference": texts.reference,
        "metadata": texts.metadata,
        "payment_url": payment_url,
        "success_url": texts.urls.success_url,
        "cancel_url": texts.urls.cancel_url,
    }


def _details(buyer: dict[str, Any], delivery: dict[str, Any]) -> dict[str, Any] | None:
    """Return the delivery details as sessions of carts have them, None if nothing is known of them."""
    phone = delivery.get("phone_number") or buyer.get("phone_number")
    known = {name: delivery[name] for name in UNKNOWN_DELIVERY if name in delivery} | {
        "full_name": delivery.get("full_name", buyer.get("name")),
        "phone_number": phone and phone[0],
    }
    return None if set(known.values()) == {None} else {**UNKNOWN_DELIVERY, **known}


def _refuse_wrong_place(delivery: dict[str, Any]) -> None:
    county, subcounty = delivery.get("county_id"), delivery.get("subcounty_id")
    if (county is None) != (subcounty is None):
        raise ValidationError({"delivery": {"county_id": ["Name county and subcounty, or neither."]}})
    wrong = current_services().checkout.wrong_place(county, subcounty) if county and subcounty else {}
    if wrong:
        raise ValidationError({"delivery": wrong})
