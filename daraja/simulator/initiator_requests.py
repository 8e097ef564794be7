"""The requests of the organisation's initiator, read as strictly as the gateway reads them.

Fields and limits: Safaricom's pages on reversals, transaction status, account balance and B2C, where
`RecieverIdentifierType` is spelt so.
"""

import re
from dataclasses import dataclass, field

from daraja.simulator.answers import invalid_field
from daraja.simulator.gateway_requests import (
    Document,
    is_callback_url,
    is_phone,
    read_amount,
    read_matching,
    read_phone,
    read_shortcode,
    read_text,
)
from daraja.simulator.simulator_settings import SimulatorSettings

_PAYER, _TILL, _SHORTCODE, _REVERSAL = "1", "2", "4", "11"
_IDENTIFIER_TYPES = (_PAYER, _TILL, _SHORTCODE, _REVERSAL)
"""The types of a party: a phone, a till, a shortcode, and the one that only reversals name. Lax takes any of them."""

_PAYOUT_COMMANDS = ("SalaryPayment", "BusinessPayment", "PromotionPayment")
_MAX_REMARKS = 100
_MAX_CREDENTIAL = 2_000

_RECEIPT = re.compile(r"[A-Z0-9]{10}")
_SHILLINGS = re.compile(r"[1-9][0-9]{0,6}")
_ORIGINATOR_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class InitiatorRequest:
    """What every request of an initiator holds."""

    initiator: str
    credential: str = field(repr=False)
    result_url: str = field(repr=False)
    timeout_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReversalRequest(InitiatorRequest):
    """A request to reverse a payment."""

    receipt: str
    shillings: int


@dataclass(frozen=True, slots=True)
class StatusRequest(InitiatorRequest):
    """A request for the status of a transaction, by receipt or by conversation id. Either may be "", not both."""

    receipt: str
    original_conversation_id: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PayoutRequest(InitiatorRequest):
    """A B2C payment to a phone. `originator_id` is the caller's own; "" by v1, where M-Pesa makes one."""

    phone: str = field(repr=False)
    shillings: int
    originator_id: str


def read_reversal(document: Document, settings: SimulatorSettings) -> ReversalRequest:
    """Read a reversal; raise GatewayRefusal 400.002.02 naming the first field that is wrong."""
    _require(document, "CommandID", "TransactionReversal")
    # 11 is documented; the portal's older pages and many clients say 4, and no refusal of it is recorded.
    _identifier_type(document, "RecieverIdentifierType", (_SHORTCODE, _REVERSAL), settings)
    read_shortcode(document, "ReceiverParty", settings.shortcode)
    receipt = read_matching(document, "TransactionID", _RECEIPT)
    return ReversalRequest(*_initiator(document, settings), receipt, read_amount(document))


def read_status(document: Document, settings: SimulatorSettings) -> StatusRequest:
    """Read a status request; raise GatewayRefusal 400.002.02 naming the first field that is wrong."""
    _require(document, "CommandID", "TransactionStatusQuery")
    _check_party(document, (_PAYER, _TILL, _SHORTCODE), settings)
    receipt, conversation = (
        read_text(document, name) if document.get(name) else ""
        for name in ("TransactionID", "OriginalConversationID")
    )
    if not receipt and not conversation:
        raise invalid_field("TransactionID")
    return StatusRequest(*_initiator(document, settings), receipt, conversation)


def read_balance(document: Document, settings: SimulatorSettings) -> InitiatorRequest:
    """Read a request for the account's balance; raise GatewayRefusal 400.002.02 naming the first wrong field."""
    _require(document, "CommandID", "AccountBalance")
    _check_party(document, (_TILL, _SHORTCODE), settings)
    return InitiatorRequest(*_initiator(document, settings))


def read_payout(document: Document, settings: SimulatorSettings, version: int) -> PayoutRequest:
    """Read a B2C payment, of v1 or v3; raise GatewayRefusal 400.002.02 naming the first field that is wrong."""
    by_caller = version > 1
    originator_id = read_matching(document, "OriginatorConversationID", _ORIGINATOR_ID) if by_caller else ""
    if read_text(document, "CommandID") not in _PAYOUT_COMMANDS:
        raise invalid_field("CommandID")
    shillings = int(read_matching(document, "Amount", _SHILLINGS))
    read_shortcode(document, "PartyA", settings.shortcode)
    phone = read_phone(document, "PartyB")
    return PayoutRequest(*_initiator(document, settings, "InitiatorName"), phone, shillings, originator_id)


def _check_party(document: Document, accepted: tuple[str, ...], settings: SimulatorSettings) -> None:
    """Raise GatewayRefusal unless PartyA is of its IdentifierType: a phone, or the organisation itself."""
    identifier_type = _identifier_type(document, "IdentifierType", accepted, settings)
    party = read_text(document, "PartyA")
    fits = is_phone(party) if identifier_type == _PAYER else party in (settings.shortcode, settings.till)
    if not fits:
        raise invalid_field("PartyA")


def _identifier_type(
    document: Document, name: str, accepted: tuple[str, ...], settings: SimulatorSettings
) -> str:
    identifier_type = read_text(document, name)
    if identifier_type not in (accepted if settings.strict else _IDENTIFIER_TYPES):
        raise invalid_field(name)
    return identifier_type


def _initiator(
    document: Document, settings: SimulatorSettings, name: str = "Initiator"
) -> tuple[str, str, str, str]:
    """Return the initiator's name and credential, and where the result and a time-out go."""
    credential = read_text(document, "SecurityCredential")
    if len(credential) > _MAX_CREDENTIAL:
        raise invalid_field("SecurityCredential")
    if settings.strict and not 2 <= len(read_text(document, "Remarks")) <= _MAX_REMARKS:
        raise invalid_field("Remarks")
    result_url, timeout_url = (_address(document, url) for url in ("ResultURL", "QueueTimeOutURL"))
    return read_text(document, name), credential, result_url, timeout_url


def _address(document: Document, name: str) -> str:
    url = read_text(document, name)
    if not is_callback_url(url):
        raise invalid_field(name)
    return url


def _require(document: Document, name: str, value: str) -> None:
    if read_text(document, name) != value:
        raise invalid_field(name)
