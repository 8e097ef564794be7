"""Callback bodies: the truthful one, and the faulty ones that fixed numbers and chaos ask for.

The two shapes and the JSON types follow recorded STK callbacks: ResultCode a number (text only where the code is
not numeric), Amount with a decimal point, Balance without a Value, TransactionDate and PhoneNumber as numbers.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from daraja.simulator.kenya_time import compact_stamp
from daraja.simulator.outcomes import CANCELLED, PAID, callback_text
from daraja.simulator.prompts import PromptOutcome, StkPrompt

_JUNK = b"\x00x" * 524_288

Items = list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class CallbackContext:
    """What a callback is written from: a closed prompt, its outcome, and a receipt for a forger to use."""

    prompt: StkPrompt
    outcome: PromptOutcome
    spare_receipt: str


def compose(variant: str, context: CallbackContext) -> bytes:
    """Write the body of a callback in one of VARIANTS."""
    return VARIANTS[variant](context)


def _write(context: CallbackContext, code: str | int, items: Items | None = None) -> bytes:
    callback: dict[str, object] = {
        "MerchantRequestID": context.prompt.merchant_request_id,
        "CheckoutRequestID": context.prompt.checkout_request_id,
        "ResultCode": code,
        "ResultDesc": callback_text(str(code)),
    }
    if items is not None:
        callback["CallbackMetadata"] = {"Item": items}
    return json.dumps({"Body": {"stkCallback": callback}}).encode()


def _items(context: CallbackContext, **changed: object) -> Items:
    prompt = context.prompt
    values: dict[str, object] = {
        # The wire shows 350.0; whole shillings up to 250,000 are exact in a float.
        "Amount": float(prompt.amount_shillings),
        "MpesaReceiptNumber": context.outcome.receipt or context.spare_receipt,
        "Balance": None,
        "TransactionDate": int(compact_stamp(context.outcome.at)),
        "PhoneNumber": int(prompt.phone),
    }
    return [
        {"Name": name, "Value": value} if value is not None else {"Name": name}
        for name, value in (values | changed).items()
    ]


def _without(items: Items, name: str) -> Items:
    return [item for item in items if item["Name"] != name]


def _truthful(context: CallbackContext) -> bytes:
    code = context.outcome.code
    if code == PAID:
        return _write(context, 0, _items(context))
    return _write(context, int(code) if code.isdecimal() else code)


def _success(**changed: Callable[[StkPrompt], object]) -> Callable[[CallbackContext], bytes]:
    """Return a writer of success callbacks in which some items are computed from the prompt instead."""

    def write(context: CallbackContext) -> bytes:
        values = {name: value_of(context.prompt) for name, value_of in changed.items()}
        return _write(context, 0, _items(context, **values))

    return write


def _success_without(name: str) -> Callable[[CallbackContext], bytes]:
    return lambda context: _write(context, 0, _without(_items(context), name))


def _items_shuffled(context: CallbackContext) -> bytes:
    unknown: dict[str, object] = {"Name": "LoyaltyPoints", "Value": 3}
    return _write(context, 0, [unknown, *reversed(_items(context)), {"Name": "Remarks"}])


VARIANTS: dict[str, Callable[[CallbackContext], bytes]] = {
    "truthful": _truthful,
    "text-code": lambda context: _write(context, "0", _items(context)),
    "cancelled": lambda context: _write(context, int(CANCELLED)),
    "forged": _success(),
    "amount-of-one": _success(Amount=lambda _: 1.0),
    "amount-plus-one": _success(Amount=lambda prompt: float(prompt.amount_shillings + 1)),
    "amount-as-text": _success(Amount=lambda prompt: str(prompt.amount_shillings)),
    "amount-missing": _success_without("Amount"),
    "phone-masked": _success(PhoneNumber=lambda prompt: f"{prompt.phone[:6]}***{prompt.phone[-3:]}"),
    "phone-missing": _success_without("PhoneNumber"),
    "receipt-missing": _success_without("MpesaReceiptNumber"),
    "items-shuffled": _items_shuffled,
    "empty-object": lambda _: b"{}",
    "truncated": lambda context: _truthful(context)[:-25],
    "junk": lambda _: _JUNK,
}
