"""The STK callback: untrusted bytes in, a typed value or MalformedCallback out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from daraja import untrusted
from daraja.codes import ResultMeaning, meaning_of
from daraja.daraja_errors import MalformedCallback
from daraja.untrusted import Unreadable

_MAX_ITEMS = 100

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class StkCallback:
    """What one STK callback says. It is not signed, so the caller must find out whether it is true.

    `amount_cents` is exact, or None when there was none or none that is a whole number of cents. `unusable`
    names the items that were there and could not be used: `amount`, `receipt`, `transaction_date`, `phone`. A
    success may come without any of them. `transaction_date` is aware UTC. Phone and CheckoutRequestID, which
    holds the phone, are personal data and stay out of the repr.
    """

    merchant_request_id: str
    checkout_request_id: str = field(repr=False)
    result_code: str
    result_desc: str
    amount_cents: int | None = None
    receipt: str | None = None
    transaction_date: datetime | None = None
    phone: str | None = field(default=None, repr=False)
    unusable: tuple[str, ...] = ()

    @property
    def meaning(self) -> ResultMeaning:
        """Return what the result code means."""
        return meaning_of(self.result_code)


def parse_callback(body: bytes) -> StkCallback:
    """Read the body of an STK callback; raise MalformedCallback, and nothing else, if it is none.

    The result code may be a number or text and becomes text. Items are read by name; repeats that agree
    count once.
    """
    try:
        callback = untrusted.member(untrusted.member(untrusted.read_json(body), "Body"), "stkCallback")
    except Unreadable as error:
        raise MalformedCallback(str(error)) from None
    if not isinstance(callback, dict):
        raise MalformedCallback("no_stk_callback")
    items = _Items(callback)
    return StkCallback(
        merchant_request_id=_required(
            untrusted.identifier(callback.get("MerchantRequestID")), "no_merchant_request_id"
        ),
        checkout_request_id=_required(
            untrusted.identifier(callback.get("CheckoutRequestID")), "no_checkout_request_id"
        ),
        result_code=_required(untrusted.code(callback.get("ResultCode")), "no_result_code"),
        result_desc=untrusted.text(callback.get("ResultDesc")),
        amount_cents=items.read("Amount", "amount", untrusted.amount_in_cents),
        receipt=items.read("MpesaReceiptNumber", "receipt", untrusted.receipt),
        transaction_date=items.read("TransactionDate", "transaction_date", untrusted.moment),
        phone=items.read("PhoneNumber", "phone", untrusted.phone),
        unusable=tuple(items.unusable),
    )


class _Items:
    """The metadata of a callback by name, and the names of items that could not be used."""

    def __init__(self, callback: dict[str, Any]) -> None:
        items = untrusted.member(callback.get("CallbackMetadata"), "Item")
        listed = items if isinstance(items, list) else [items]
        self._values: dict[str, list[object]] = {}
        for item in listed[:_MAX_ITEMS]:
            name, value = untrusted.member(item, "Name"), untrusted.member(item, "Value")
            if isinstance(name, str) and value is not None:
                self._values.setdefault(name, []).append(value)
        self.unusable: list[str] = []

    def read(self, name: str, label: str, parse: Callable[[object], Value | None]) -> Value | None:
        """Return the one value that all items of this name agree on, or None."""
        values = {parse(value) for value in self._values.get(name, ())}
        if len(values) > 1 or None in values:
            self.unusable.append(label)
            return None
        return values.pop() if values else None


def _required(value: str | None, reason: str) -> str:
    if value is None:
        raise MalformedCallback(reason)
    return value
