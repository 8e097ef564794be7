"""The requests of the organisation's operator, read as strictly as the gateway reads them.

Fields and limits: Safaricom's pages on reversals and transaction status. `RecieverIdentifierType` is spelt so there.
"""

import re
from dataclasses import dataclass, field

from daraja.simulator.answers import invalid_field
from daraja.simulator.stk_requests import (
    Document,
    is_callback_url,
    read_amount,
    read_shortcode,
    read_text,
)

_RECEIPT = re.compile(r"[A-Z0-9]{10}")
_MAX_REMARKS = 100
_MAX_CREDENTIAL = 2_000


@dataclass(frozen=True, slots=True)
class InitiatorRequest:
    """What every request of an operator holds."""

    initiator: str
    credential: str = field(repr=False)
    shortcode: str
    result_url: str = field(repr=False)
    timeout_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReversalRequest(InitiatorRequest):
    """To give a payment back."""

    receipt: str
    shillings: int


@dataclass(frozen=True, slots=True)
class StatusRequest(InitiatorRequest):
    """To say how a transaction ended: that with a receipt, or that which a request made. Either may be "", not both."""

    receipt: str
    original_conversation_id: str = field(repr=False)


def read_reversal(document: Document, shortcode: str) -> ReversalRequest:
    """Read a reversal; raise GatewayRefusal 400.002.02 naming the first field that is wrong."""
    _require(document, "CommandID", "TransactionReversal")
    _require(document, "RecieverIdentifierType", "11")
    read_shortcode(document, "ReceiverParty", shortcode)
    receipt = read_text(document, "TransactionID")
    if not _RECEIPT.fullmatch(receipt):
        raise invalid_field("TransactionID")
    return ReversalRequest(
        *_operator(document), shortcode, *_addresses(document), receipt, read_amount(document)
    )


def read_status(document: Document, shortcode: str) -> StatusRequest:
    """Read a question after a transaction; raise GatewayRefusal 400.002.02 naming the first field that is wrong."""
    _require(document, "CommandID", "TransactionStatusQuery")
    _require(document, "IdentifierType", "4")
    read_shortcode(document, "PartyA", shortcode)
    receipt, conversation = (
        read_text(document, name) if document.get(name) else ""
        for name in ("TransactionID", "OriginalConversationID")
    )
    if not receipt and not conversation:
        raise invalid_field("TransactionID")
    return StatusRequest(*_operator(document), shortcode, *_addresses(document), receipt, conversation)


def _operator(document: Document) -> tuple[str, str]:
    credential = read_text(document, "SecurityCredential")
    if len(credential) > _MAX_CREDENTIAL:
        raise invalid_field("SecurityCredential")
    if not 2 <= len(read_text(document, "Remarks")) <= _MAX_REMARKS:
        raise invalid_field("Remarks")
    return read_text(document, "Initiator"), credential


def _addresses(document: Document) -> tuple[str, str]:
    result_url, timeout_url = read_text(document, "ResultURL"), read_text(document, "QueueTimeOutURL")
    for name, url in (("ResultURL", result_url), ("QueueTimeOutURL", timeout_url)):
        if not is_callback_url(url):
            raise invalid_field(name)
    return result_url, timeout_url


def _require(document: Document, name: str, value: str) -> None:
    if read_text(document, name) != value:
        raise invalid_field(name)
