"""What the organisation's initiator asks of M-Pesa: to reverse a payment, and how a transaction ended."""

import re
from dataclasses import dataclass
from typing import Any

from daraja import untrusted
from daraja.config import DarajaConfig
from daraja.daraja_errors import InvalidConfig, Refused
from daraja.replies import DarajaAnswer, is_success, submission_error

REVERSAL_PATH = "/mpesa/reversal/v1/request"
STATUS_PATH = "/mpesa/transactionstatus/v1/query"

REVERSAL_DOUBT = "the money may be on its way back. Wait for the result, and do not send this again."
"""How the message of an Uncertain reversal ends."""

STATUS_DOUBT = "it may not have taken the status request. Ask again."
"""How the message of an Uncertain status request ends."""

_SHORTCODE_IDENTIFIER = "4"
_REVERSAL_IDENTIFIER = "11"

_RECEIPT = re.compile(r"[A-Z0-9]{1,40}")
_CONVERSATION = re.compile(r"[\x21-\x7e]{1,128}")
_REMARKS = re.compile(r"[\x20-\x7e]{2,100}")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """M-Pesa has taken a request and will post its result: no more than that. Either id is '' if Daraja left it out.

    Not even the initiator's credential has been checked; a wrong one shows in the result.
    """

    conversation_id: str
    originator_conversation_id: str


def read_acknowledgement(answer: DarajaAnswer, doubt: str) -> Acknowledged:
    """Return the acknowledgement; else raise Refused, Retryable or Uncertain, whose message ends in `doubt`."""
    conversation_id = untrusted.identifier(answer.members.get("ConversationID")) or ""
    originator_id = untrusted.originator_conversation_id(answer.members)
    if answer.error_code is None and is_success(answer) and (conversation_id or originator_id):
        return Acknowledged(conversation_id, originator_id)
    raise submission_error(answer, doubt)


def reversal_request(
    config: DarajaConfig,
    *,
    receipt: str,
    amount_shillings: int,
    remarks: str,
    result_url: str,
    timeout_url: str,
) -> dict[str, Any]:
    """Return the body of a reversal, RecieverIdentifierType misspelt as M-Pesa wants it; raise Refused if unfit."""
    most = config.max_amount_shillings
    _check(_REMARKS.fullmatch(remarks), "The remarks must be 2 to 100 plain characters.")
    _check(_RECEIPT.fullmatch(receipt), "The receipt must be capital letters and digits.")
    _check(
        type(amount_shillings) is int and 1 <= amount_shillings <= most,
        f"The amount must be 1 to {most} whole shillings.",
    )
    return _signed(config, "TransactionReversal") | {
        "TransactionID": receipt,
        "Amount": amount_shillings,
        "ReceiverParty": config.shortcode,
        "RecieverIdentifierType": _REVERSAL_IDENTIFIER,
        "ResultURL": result_url,
        "QueueTimeOutURL": timeout_url,
        "Remarks": remarks,
    }


def status_request(
    config: DarajaConfig,
    *,
    receipt: str | None,
    original_conversation_id: str | None,
    remarks: str,
    result_url: str,
    timeout_url: str,
) -> dict[str, Any]:
    """Return the body of a status request; raise Refused if unfit."""
    _check(_REMARKS.fullmatch(remarks), "The remarks must be 2 to 100 plain characters.")
    _check(
        receipt or original_conversation_id, "A receipt or the conversation id of a request must be given."
    )
    transaction: dict[str, str] = {}
    if receipt:
        _check(_RECEIPT.fullmatch(receipt), "The receipt must be capital letters and digits.")
        transaction["TransactionID"] = receipt
    if original_conversation_id:
        _check(
            _CONVERSATION.fullmatch(original_conversation_id),
            "The conversation id must be as M-Pesa gave it.",
        )
        transaction["OriginalConversationID"] = original_conversation_id
    return (
        _signed(config, "TransactionStatusQuery")
        | transaction
        | {
            "PartyA": config.shortcode,
            "IdentifierType": _SHORTCODE_IDENTIFIER,
            "ResultURL": result_url,
            "QueueTimeOutURL": timeout_url,
            "Remarks": remarks,
            "Occasion": remarks,
        }
    )


def _signed(config: DarajaConfig, command: str) -> dict[str, Any]:
    try:
        name, credential = config.initiator()
    except InvalidConfig as error:
        raise Refused("DARAJA_CONFIGURATION", error.message) from None
    return {"Initiator": name, "SecurityCredential": credential, "CommandID": command}


def _check(holds: object, rule: str) -> None:
    if not holds:
        raise Refused("DARAJA_INVALID_REQUEST", rule)
