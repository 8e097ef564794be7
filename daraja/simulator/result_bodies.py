"""The bodies that are posted to a ResultURL or a QueueTimeOutURL, with M-Pesa's keys and JSON types."""

import json
from dataclasses import dataclass
from datetime import datetime

from daraja.simulator.books import Booking, BookingKind
from daraja.simulator.identifiers import Conversation, receipt_date_code
from daraja.simulator.kenya_time import compact_stamp, dotted_stamp, in_kenya
from daraja.simulator.outcomes import PAID, RESULT_TEXTS
from daraja.simulator.simulator_settings import SimulatorSettings

Pairs = list[tuple[str, object]]

_TEXTS = {
    "2032": "The transaction receipt number does not exist.",
    "R000001": "The transaction has already been reversed.",
    "R000002": "The OriginalTransactionID is invalid.",
}
_REASONS = {
    BookingKind.PAYMENT: "Pay Bill Online",
    BookingKind.REVERSAL: "Transaction Reversal",
    BookingKind.SETTLEMENT: "Organization Settlement",
    BookingKind.PAYOUT: "Business Payment to Customer",
}
_IN_QUEUE_TOO_LONG = "1"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a transaction of a kind ended; `booking` is None if no money moved."""

    kind: BookingKind
    status: str
    shillings: int
    at: datetime
    booking: Booking | None


def reversal_result(
    settings: SimulatorSettings, conversation: Conversation, original_receipt: str, reversal: Booking
) -> bytes:
    """Write the result of a reversal that was done."""
    pairs: Pairs = [
        ("DebitAccountBalance", _account("Utility", reversal.balance_cents)),
        ("Amount", float(reversal.shillings)),
        ("TransCompletedTime", int(compact_stamp(reversal.at))),
        ("OriginalTransactionID", original_receipt),
        ("Charge", settings.reversal_charge_cents / 100),
        ("CreditPartyPublicName", _payer(reversal)),
        ("DebitPartyPublicName", _organisation(settings)),
    ]
    return _write(conversation, PAID, reversal.receipt, _as_set(settings, pairs))


def status_result(
    settings: SimulatorSettings, conversation: Conversation, ended: Ended, now: datetime
) -> bytes:
    """Write the result of a status request. One key comes twice and one has no value, as in the sample."""
    booking = ended.booking
    payer, organisation = _payer(booking) if booking else "", _organisation(settings)
    is_payment = booking is not None and booking.change_cents > 0
    pairs: Pairs = [
        ("DebitPartyName", payer if is_payment else organisation),
        ("CreditPartyName", organisation if is_payment else payer),
        ("OriginatorConversationID", conversation.originator_id),
        ("InitiatedTime", int(compact_stamp(ended.at))),
        ("DebitAccountType", "MMF Account For Customer" if is_payment else "Utility Account"),
        ("DebitPartyCharges", "Fee For C2B Payment|KES|0.00"),
        ("TransactionReason", None),
        ("ReasonType", _REASONS.get(ended.kind, "")),
        ("TransactionStatus", ended.status),
        ("FinalisedTime", int(compact_stamp(ended.at))),
        ("Amount", float(ended.shillings)),
        ("ConversationID", conversation.id),
        ("ReceiptNo", booking.receipt if booking else _placeholder(ended.at)),
        ("DebitPartyName", organisation if is_payment else payer),
    ]
    return _write(conversation, PAID, _placeholder(now), _as_set(settings, pairs))


def payout_result(settings: SimulatorSettings, conversation: Conversation, payout: Booking) -> bytes:
    """Write the result of a B2C payment that was made."""
    pairs: Pairs = [
        ("TransactionAmount", payout.shillings),
        ("TransactionReceipt", payout.receipt),
        ("ReceiverPartyPublicName", f"{payout.phone} - {payout.first_name}"),
        ("TransactionCompletedDateTime", dotted_stamp(payout.at)),
        ("B2CUtilityAccountAvailableFunds", payout.balance_cents / 100),
        ("B2CWorkingAccountAvailableFunds", 0.0),
        ("B2CRecipientIsRegisteredCustomer", "Y"),
        ("B2CChargesPaidAccountAvailableFunds", 0.0),
    ]
    return _write(conversation, PAID, payout.receipt, _as_set(settings, pairs))


def balance_result(
    settings: SimulatorSettings, conversation: Conversation, balance_cents: int, now: datetime
) -> bytes:
    """Write what the accounts hold: all of it is in the utility account. Type and code are text, as in the sample."""
    accounts = ("Working", 0), ("Utility", balance_cents), ("Charges Paid", 0), ("Organization Settlement", 0)
    pairs: Pairs = [
        ("AccountBalance", "&".join(_account(name, cents) for name, cents in accounts)),
        ("BOCompletedTime", int(compact_stamp(now))),
    ]
    return _write(conversation, PAID, _placeholder(now), _as_set(settings, pairs), types_are_text=True)


def failed_result(conversation: Conversation, code: str, now: datetime) -> bytes:
    """Write a result without parameters; in place of a receipt stands the date and zeros."""
    return _write(conversation, code, _placeholder(now), [])


def timeout_notice(conversation: Conversation, now: datetime) -> bytes:
    """Write what comes to a QueueTimeOutURL: undocumented, but most code expects the envelope of results."""
    return _write(
        conversation, _IN_QUEUE_TOO_LONG, _placeholder(now), [], "The request timed out in the queue."
    )


def _write(
    conversation: Conversation,
    code: str,
    transaction_id: str,
    pairs: Pairs,
    text: str | None = None,
    *,
    types_are_text: bool = False,
) -> bytes:
    result: dict[str, object] = {
        "ResultType": "0" if types_are_text else 0,
        "ResultCode": code if types_are_text or not code.isdecimal() else int(code),
        "ResultDesc": text or _TEXTS.get(code) or RESULT_TEXTS.get(code, f"Unexpected result {code}"),
        "OriginatorConversationID": conversation.originator_id,
        "ConversationID": conversation.id,
        "TransactionID": transaction_id,
    }
    if pairs:
        result["ResultParameters"] = {"ResultParameter": [_item(key, value) for key, value in pairs]}
    result["ReferenceData"] = {"ReferenceItem": {"Key": "QueueTimeoutURL", "Value": "internal"}}
    return json.dumps({"Result": result}).encode()


def _item(key: str, value: object) -> dict[str, object]:
    return {"Key": key} if value is None else {"Key": key, "Value": value}


def _placeholder(moment: datetime) -> str:
    return f"{receipt_date_code(in_kenya(moment))}0000000"


def _account(name: str, cents: int) -> str:
    return f"{name} Account|KES|{cents / 100:.2f}|{cents / 100:.2f}|0.00|0.00"


def _as_set(settings: SimulatorSettings, pairs: Pairs) -> Pairs:
    """Return the values as numbers, as documented, or as text, as the portal's older pages had them."""
    if not settings.result_values_as_text:
        return pairs
    return [(key, value if value is None else _text_of(value)) for key, value in pairs]


def _text_of(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _payer(booking: Booking) -> str:
    return f"{booking.masked_phone} - {booking.first_name}" if booking.phone else ""


def _organisation(settings: SimulatorSettings) -> str:
    return f"{settings.shortcode} - {settings.business_name}"
