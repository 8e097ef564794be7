"""The requests for STK pushes and queries, read as strictly as the gateway reads them, and the fields of all requests.

Fields and limits: Safaricom's pages on M-Pesa Express. Numbers may come as JSON numbers or as numeric strings.
"""

import base64
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from daraja.simulator.answers import invalid_field, refusal
from daraja.simulator.kenya_time import is_compact_stamp

PAYBILL = "CustomerPayBillOnline"
BUY_GOODS = "CustomerBuyGoodsOnline"
MAX_SHILLINGS = 250_000
_MAX_REFERENCE = 12
_MAX_DESCRIPTION = 13
_MAX_URL = 2_000

_SHORTCODE = re.compile(r"[0-9]{5,7}")
_PHONE = re.compile(r"254[17][0-9]{8}")
_AMOUNT = re.compile(r"[0-9]{1,7}")
_CHECKOUT_ID = re.compile(r"ws_CO_[0-9]{18,26}")

Document = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PushRequest:
    """A push that is well-formed; amounts in whole shillings, phones as `254` and nine digits."""

    shortcode: str
    timestamp: str
    password: str = field(repr=False)
    transaction_type: str
    amount_shillings: int
    phone: str = field(repr=False)
    party_b: str
    callback_url: str = field(repr=False)
    account_reference: str
    description: str


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A query for one push."""

    shortcode: str
    timestamp: str
    password: str = field(repr=False)
    checkout_request_id: str = field(repr=False)


def is_phone(text: str) -> bool:
    """Tell whether the text is a number that M-Pesa could prompt: 254, then 7 or 1, then eight digits."""
    return _PHONE.fullmatch(text) is not None


def read_document(body: bytes) -> Document:
    """Read a JSON object; raise GatewayRefusal 400.002.05 for anything else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise refusal("payload") from None
    if not isinstance(document, dict):
        raise refusal("payload")
    return document


def read_push(document: Document, strict: bool) -> PushRequest:
    """Read a push; raise GatewayRefusal 400.002.02 naming the first field that is wrong."""
    shortcode, password, timestamp = _credentials(document)
    transaction_type = read_text(document, "TransactionType")
    if transaction_type not in (PAYBILL, BUY_GOODS):
        raise invalid_field("TransactionType")
    amount = read_amount(document)
    payer = read_matching(document, "PartyA", _PHONE)
    party_b = read_matching(document, "PartyB", _SHORTCODE)
    phone = read_matching(document, "PhoneNumber", _PHONE)
    if strict and phone != payer:
        raise invalid_field("PhoneNumber")
    return PushRequest(
        shortcode=shortcode,
        timestamp=timestamp,
        password=password,
        transaction_type=transaction_type,
        amount_shillings=amount,
        phone=phone,
        party_b=party_b,
        callback_url=_callback_url(document),
        account_reference=_limited(document, "AccountReference", _MAX_REFERENCE, strict),
        description=_description(document, strict),
    )


def read_query(document: Document) -> QueryRequest:
    """Read a query; raise GatewayRefusal 400.002.02 naming the first field that is wrong."""
    shortcode, password, timestamp = _credentials(document)
    checkout_request_id = read_matching(document, "CheckoutRequestID", _CHECKOUT_ID)
    return QueryRequest(shortcode, timestamp, password, checkout_request_id)


def check_merchant(request: PushRequest | QueryRequest, shortcode: str, passkey: str) -> None:
    """Raise GatewayRefusal unless the shortcode is this merchant's and the password was made with the passkey."""
    if request.shortcode != shortcode:
        raise refusal("unknown-merchant")
    expected = base64.b64encode(f"{shortcode}{passkey}{request.timestamp}".encode())
    if not hmac.compare_digest(expected, request.password.encode(errors="replace")):
        raise refusal("wrong-credentials")


def _credentials(document: Document) -> tuple[str, str, str]:
    shortcode = read_matching(document, "BusinessShortCode", _SHORTCODE)
    password = read_text(document, "Password")
    timestamp = read_text(document, "Timestamp")
    if not is_compact_stamp(timestamp):
        raise invalid_field("Timestamp")
    return shortcode, password, timestamp


def read_text(document: Document, name: str) -> str:
    """Return a field as text, whether it came as text or as a whole number; raise GatewayRefusal if it is blank."""
    value = document.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise invalid_field(name)
    return value


def read_shortcode(document: Document, name: str, shortcode: str) -> None:
    """Raise GatewayRefusal unless a field names our shortcode."""
    if read_matching(document, name, _SHORTCODE) != shortcode:
        raise invalid_field(name)


def read_phone(document: Document, name: str) -> str:
    """Return a payer's number; raise GatewayRefusal."""
    return read_matching(document, name, _PHONE)


def read_matching(document: Document, name: str, pattern: re.Pattern[str]) -> str:
    """Return a field that matches a pattern; raise GatewayRefusal."""
    value = read_text(document, name)
    if not pattern.fullmatch(value):
        raise invalid_field(name)
    return value


def _limited(document: Document, name: str, max_characters: int, strict: bool) -> str:
    value = read_text(document, name)
    if strict and len(value) > max_characters:
        raise invalid_field(name)
    return value


def read_amount(document: Document) -> int:
    """Return an amount of whole shillings that M-Pesa moves at once; raise GatewayRefusal."""
    shillings = int(read_matching(document, "Amount", _AMOUNT))
    if not 1 <= shillings <= MAX_SHILLINGS:
        raise invalid_field("Amount")
    return shillings


def _description(document: Document, strict: bool) -> str:
    if not strict and "TransactionDesc" not in document:
        return ""
    return _limited(document, "TransactionDesc", _MAX_DESCRIPTION, strict)


def _callback_url(document: Document) -> str:
    url = read_text(document, "CallBackURL")
    if not is_callback_url(url):
        raise invalid_field("CallBackURL")
    return url


def is_callback_url(url: str) -> bool:
    """Tell whether an address is one that the gateway takes: http(s), plain text, its host in lower case."""
    if len(url) > _MAX_URL or not url.isascii() or any(character <= " " for character in url):
        return False
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    # The sandbox refused a host with capitals, so what passes here passes there.
    return usable and parts.netloc == parts.netloc.lower()
