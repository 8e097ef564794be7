"""Payments that customers make by hand (C2B): registering where M-Pesa reports them, and reading the reports."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from daraja import untrusted
from daraja.daraja_errors import MalformedNotice, Refused
from daraja.replies import DarajaAnswer, is_success, submission_error
from daraja.untrusted import Unreadable

REGISTER_PATH = "/mpesa/c2b/v2/registerurl"

WHEN_SILENT = ("Completed", "Cancelled")
"""What M-Pesa does with a payment when the validation gets no answer; spelt exactly so."""

REGISTRATION_DOUBT = "it may or may not have taken the addresses. Register them again."

_MAX_NAME = 100

_FORBIDDEN_WORDS: tuple[str, ...] = ("m-pesa", "mpesa", "safaricom", "exec", "exe", "cmd", "sql", "query")
"""The portal lists them for C2B. The sandbox took an STK path with `mpesa`: for STK avoid them, do not refuse them."""

RegistrationState = Literal["registered", "already_registered"]


@dataclass(frozen=True, slots=True)
class C2bRegistration:
    """The outcome of a registration. In production it can be made once; then only the portal can remove it."""

    state: RegistrationState
    description: str
    originator_conversation_id: str = ""


@dataclass(frozen=True, slots=True)
class C2bNotice:
    """What one validation or confirmation says. It is not signed, so the caller must find out whether it is true.

    `amount_cents` is exact. `completed_at` is aware UTC, None when unreadable. `bill_reference` was typed by the
    payer: treat it, and the names, as hostile text; a reference that was cut ends in CUT_MARK. `payer` is a masked
    number, or a hash. `balance_cents` is what the shortcode holds afterwards, None in a validation. Personal data
    stays out of the repr.
    """

    receipt: str
    amount_cents: int
    shortcode: str
    transaction_type: str = ""
    completed_at: datetime | None = None
    bill_reference: str = field(default="", repr=False)
    invoice_number: str = field(default="", repr=False)
    third_party_id: str = ""
    payer: str | None = field(default=None, repr=False)
    first_name: str = field(default="", repr=False)
    middle_name: str = field(default="", repr=False)
    last_name: str = field(default="", repr=False)
    balance_cents: int | None = field(default=None, repr=False)


def forbidden_words_in(url: str) -> tuple[str, ...]:
    """Return the forbidden words that occur anywhere in a URL, in any case, in the order of the list."""
    lowered = url.lower()
    return tuple(word for word in _FORBIDDEN_WORDS if word in lowered)


def registration_request(
    shortcode: str, confirmation_url: str, validation_url: str, response_type: str
) -> dict[str, Any]:
    """Return the body of a registration; raise Refused when M-Pesa could not take it."""
    if response_type not in WHEN_SILENT:
        raise Refused("DARAJA_INVALID_REQUEST", "The response type must be Completed or Cancelled.")
    return {
        "ShortCode": shortcode,
        "ResponseType": response_type,
        "ConfirmationURL": confirmation_url,
        "ValidationURL": validation_url,
    }


def read_registration(answer: DarajaAnswer) -> C2bRegistration:
    """Read the answer to a registration; raise Refused, Retryable or Uncertain when it was not taken.

    M-Pesa says "Urls are already registered" with the code of a server fault, so here its words must decide.
    """
    description = untrusted.text(answer.members.get("ResponseDescription"))
    if "already registered" in f"{answer.error_message} {description}".lower():
        return C2bRegistration("already_registered", answer.error_message or description)
    if answer.error_code is None and 200 <= answer.status < 300 and _is_taken(answer, description):
        return C2bRegistration(
            "registered", description, untrusted.originator_conversation_id(answer.members)
        )
    raise submission_error(answer, REGISTRATION_DOUBT)


def _is_taken(answer: DarajaAnswer, description: str) -> bool:
    absent = untrusted.code(answer.members.get("ResponseCode")) is None
    return is_success(answer) or (absent and "success" in description.lower())


def parse_c2b(body: bytes) -> C2bNotice:
    """Read the body of a validation or confirmation; raise MalformedNotice, and nothing else, when it is none."""
    try:
        notice = untrusted.read_json(body)
    except Unreadable as error:
        raise MalformedNotice(str(error)) from None
    if not isinstance(notice, dict):
        raise MalformedNotice("no_object")
    receipt = untrusted.genuine_receipt(notice.get("TransID"))
    if receipt is None:
        raise MalformedNotice("no_receipt")
    amount_cents = untrusted.amount_in_cents(notice.get("TransAmount"))
    if amount_cents is None:
        raise MalformedNotice("no_amount")
    shortcode = untrusted.code(notice.get("BusinessShortCode"))
    if shortcode is None:
        raise MalformedNotice("no_shortcode")
    return C2bNotice(
        receipt=receipt,
        amount_cents=amount_cents,
        shortcode=shortcode,
        transaction_type=_line(notice.get("TransactionType"), _MAX_NAME),
        completed_at=untrusted.moment(notice.get("TransTime")),
        bill_reference=untrusted.reference(notice.get("BillRefNumber")),
        invoice_number=_line(notice.get("InvoiceNumber"), _MAX_NAME),
        third_party_id=_line(notice.get("ThirdPartyTransID"), _MAX_NAME),
        payer=untrusted.payer(notice.get("MSISDN")),
        first_name=_line(notice.get("FirstName"), _MAX_NAME),
        middle_name=_line(notice.get("MiddleName"), _MAX_NAME),
        last_name=_line(notice.get("LastName"), _MAX_NAME),
        balance_cents=untrusted.balance_in_cents(notice.get("OrgAccountBalance")),
    )


def _line(value: object, max_characters: int) -> str:
    """Return clean text in one line; a number, which M-Pesa should write as text, becomes its digits."""
    number = untrusted.whole_number(value)
    return untrusted.text(value if number is None else str(number))[:max_characters]
