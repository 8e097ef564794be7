"""Callback bodies: the truthful one, and the crooked ones that fixed numbers ask for.

The two shapes and the JSON types follow recorded STK callbacks: ResultCode a number (text only where the code is
not numeric), Amount with a decimal point, Balance without a Value, TransactionDate and PhoneNumber as numbers.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from daraja.simulator.kenya_time import compact_stamp
from daraja.simulator.outcomes import CANCELLED, PAID, callback_text
from daraja.simulator.prompts import PromptOutcome, StkPrompt

CONTENT_TYPE = "application/json;charset=UTF-8"
_JUNK = b"\x00x" * 524_288

Items = list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a callback is written from: a closed prompt, its outcome, and a receipt for a forger to use."""

    prompt: StkPrompt
    outcome: PromptOutcome
    spare_receipt: str


def compose(variant: str, occasion: Occasion) -> bytes:
    """Write the body of a callback in one of VARIANTS."""
    return VARIANTS[variant](occasion)


def _write(occasion: Occasion, code: str | int, items: Items | None = None) -> bytes:
    callback: dict[str, object] = {
        "MerchantRequestID": occasion.prompt.merchant_request_id,
        "CheckoutRequestID": occasion.prompt.checkout_request_id,
        "ResultCode": code,
        "ResultDesc": callback_text(str(code)),
    }
    if items is not None:
        callback["CallbackMetadata"] = {"Item": items}
    return json.dumps({"Body": {"stkCallback": callback}}).encode()


def _items(occasion: Occasion, **changed: object) -> Items:
    prompt = occasion.prompt
    values: dict[str, object] = {
        # The wire shows 350.0; whole shillings up to 250,000 are exact in a float.
        "Amount": float(prompt.amount_shillings),
        "MpesaReceiptNumber": occasion.outcome.receipt or occasion.spare_receipt,
        "Balance": None,
        "TransactionDate": int(compact_stamp(occasion.outcome.at)),
        "PhoneNumber": int(prompt.phone),
    }
    return [
        {"Name": name, "Value": value} if value is not None else {"Name": name}
        for name, value in (values | changed).items()
    ]


def _without(items: Items, name: str) -> Items:
    return [item for item in items if item["Name"] != name]


def _truthful(occasion: Occasion) -> bytes:
    code = occasion.outcome.code
    if code == PAID:
        return _write(occasion, 0, _items(occasion))
    return _write(occasion, int(code) if code.isdecimal() else code)


def _success(**changed: Callable[[StkPrompt], object]) -> Callable[[Occasion], bytes]:
    """Return a writer of success callbacks in which some items are worked out anew from the prompt."""

    def write(occasion: Occasion) -> bytes:
        values = {name: work_out(occasion.prompt) for name, work_out in changed.items()}
        return _write(occasion, 0, _items(occasion, **values))

    return write


def _success_without(name: str) -> Callable[[Occasion], bytes]:
    return lambda occasion: _write(occasion, 0, _without(_items(occasion), name))


def _items_shuffled(occasion: Occasion) -> bytes:
    unknown: dict[str, object] = {"Name": "LoyaltyPoints", "Value": 3}
    return _write(occasion, 0, [unknown, *reversed(_items(occasion)), {"Name": "Remarks"}])


VARIANTS: dict[str, Callable[[Occasion], bytes]] = {
    "truthful": _truthful,
    "text-code": lambda occasion: _write(occasion, "0", _items(occasion)),
    "cancelled": lambda occasion: _write(occasion, int(CANCELLED)),
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
    "truncated": lambda occasion: _truthful(occasion)[:-25],
    "junk": lambda _: _JUNK,
}
