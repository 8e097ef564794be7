"""What an operator of the organisation asks of M-Pesa: to give a payment back, and how a transaction ended."""

import re
from dataclasses import dataclass
from typing import Any

from daraja.callback_urls import is_callback_url
from daraja.config import DarajaConfig
from daraja.errors import InvalidConfig, Refused
from daraja.reading import code, identifier
from daraja.replies import Answer, submission_error

REVERSAL_PATH = "/mpesa/reversal/v1/request"
STATUS_PATH = "/mpesa/transactionstatus/v1/query"

REVERSAL_DOUBT = "the money may be on its way back. Wait for the result, and do not send this again."
"""How a sentence about a reversal in doubt ends."""

STATUS_DOUBT = "it may not have taken the question. Ask again."
"""How a sentence about a question in doubt ends."""

_SHORTCODE_IDENTIFIER = "4"
_REVERSAL_IDENTIFIER = "11"

_RECEIPT = re.compile(r"[A-Z0-9]{1,40}")
_CONVERSATION = re.compile(r"[\x21-\x7e]{1,128}")
_REMARKS = re.compile(r"[\x20-\x7e]{2,100}")
_ZEROS = re.compile(r"0+")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """M-Pesa has taken a request and will post its result: no more than that. Either id is '' if Daraja left it out.

    Not even the operator's credential has been checked; a wrong one shows in the result.
    """

    conversation_id: str
    originator_conversation_id: str


def read_acknowledgement(answer: Answer, doubt: str) -> Acknowledged:
    """Return the acknowledgement; else raise Refused, Retryable or Uncertain, whose sentence ends in `doubt`."""
    conversation_id = identifier(answer.members.get("ConversationID")) or ""
    originator_id = originator_conversation_id(answer.members)
    if answer.error_code is None and is_success(answer) and (conversation_id or originator_id):
        return Acknowledged(conversation_id, originator_id)
    raise submission_error(answer, doubt)


def is_success(answer: Answer) -> bool:
    """Say whether the ResponseCode is "0", or "00000000" as some products write it."""
    return bool(_ZEROS.fullmatch(code(answer.members.get("ResponseCode")) or ""))


def originator_conversation_id(members: dict[str, Any]) -> str:
    """Return the id under either of its spellings; C2B's answers leave out an "n"."""
    return (
        identifier(members.get("OriginatorConversationID"))
        or identifier(members.get("OriginatorCoversationID"))
        or ""
    )


def reversal_request(
    config: DarajaConfig,
    *,
    receipt: str,
    amount_shillings: int,
    remarks: str,
    result_url: str,
    timeout_url: str,
) -> dict[str, Any]:
    """Return the body of a reversal, RecieverIdentifierType misspelt as M-Pesa wants it; raise Refused if it cannot."""
    most = config.max_amount_shillings
    _check_addresses(result_url, timeout_url, remarks)
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
    """Return the body of a question after a transaction; raise Refused if it cannot be asked."""
    _check_addresses(result_url, timeout_url, remarks)
    _check(
        receipt or original_conversation_id, "A receipt or the conversation id of a request must be given."
    )
    asked: dict[str, str] = {}
    if receipt:
        _check(_RECEIPT.fullmatch(receipt), "The receipt must be capital letters and digits.")
        asked["TransactionID"] = receipt
    if original_conversation_id:
        _check(
            _CONVERSATION.fullmatch(original_conversation_id),
            "The conversation id must be as M-Pesa gave it.",
        )
        asked["OriginalConversationID"] = original_conversation_id
    return (
        _signed(config, "TransactionStatusQuery")
        | asked
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


def _check_addresses(result_url: str, timeout_url: str, remarks: str) -> None:
    for url in (result_url, timeout_url):
        _check(is_callback_url(url), "The result URLs must be http(s), with their host in small letters.")
    _check(_REMARKS.fullmatch(remarks), "The remarks must be 2 to 100 plain characters.")


def _check(holds: object, rule: str) -> None:
    if not holds:
        raise Refused("DARAJA_INVALID_REQUEST", rule)
