"""The results that M-Pesa posts for reversals and transaction status: untrusted bytes in, a typed value out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from daraja import untrusted
from daraja.daraja_errors import MalformedResult
from daraja.untrusted import Unreadable

_MAX_PARAMETERS = 100
_MAX_KEY = 100

ParameterValue = str | int | Decimal | None


@dataclass(frozen=True, slots=True)
class ApiResult:
    """What one result says. It is not signed, so the caller must find out whether it is true.

    `result_type` is "0" when nothing more will come, "1" when more will, "" when it was left out. Either
    conversation id may be '' but not both. `transaction_id` is the receipt of the reversal itself, None where
    M-Pesa sent a placeholder. `parameters` holds every value of a key, in order, None for a key without a value;
    names and balances are among them, so they stay out of the repr.
    """

    result_type: str
    result_code: str
    result_desc: str
    conversation_id: str
    originator_conversation_id: str
    transaction_id: str | None
    parameters: dict[str, tuple[ParameterValue, ...]] = field(repr=False)

    def values(self, key: str) -> tuple[str | int | Decimal, ...]:
        """Return the values of a key that are there, in order."""
        return tuple(value for value in self.parameters.get(key, ()) if value is not None)

    def one_text(self, key: str) -> str:
        """Return the text that all values of a key agree on, cleaned; else ''."""
        values = {untrusted.text(value) for value in self.values(key)}
        return values.pop() if len(values) == 1 else ""

    def one_amount(self, key: str) -> int | None:
        """Return the amount in cents that all values of a key agree on, exactly; else None."""
        values = {untrusted.amount_in_cents(value) for value in self.values(key)}
        return values.pop() if len(values) == 1 else None

    def one_moment(self, key: str) -> datetime | None:
        """Return the time, aware UTC, that all values of a key agree on; else None."""
        values = {untrusted.moment(value) for value in self.values(key)}
        return values.pop() if len(values) == 1 else None

    def one_receipt(self, key: str) -> str | None:
        """Return the receipt that all values of a key agree on, None for a placeholder."""
        values = {untrusted.genuine_receipt(value) for value in self.values(key)}
        return values.pop() if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class ApiTimeout:
    """What came to a QueueTimeOutURL. Ids that are missing are ''. It says nothing about how the request ended."""

    conversation_id: str
    originator_conversation_id: str


def parse_result(body: bytes) -> ApiResult:
    """Read the body that came to a ResultURL; raise MalformedResult, and nothing else, when it is none."""
    try:
        result = untrusted.member(untrusted.read_json(body), "Result")
    except Unreadable as error:
        raise MalformedResult(str(error)) from None
    if not isinstance(result, dict):
        raise MalformedResult("no_result")
    result_code = untrusted.code(result.get("ResultCode"))
    if result_code is None:
        raise MalformedResult("no_result_code")
    conversation_id = untrusted.identifier(result.get("ConversationID")) or ""
    originator_id = untrusted.originator_conversation_id(result)
    if not (conversation_id or originator_id):
        raise MalformedResult("no_conversation_id")
    return ApiResult(
        result_type=untrusted.code(result.get("ResultType")) or "",
        result_code=result_code,
        result_desc=untrusted.text(result.get("ResultDesc")),
        conversation_id=conversation_id,
        originator_conversation_id=originator_id,
        transaction_id=untrusted.genuine_receipt(result.get("TransactionID")),
        parameters=_parameters(result),
    )


def parse_timeout(body: bytes) -> ApiTimeout:
    """Read the body that came to a QueueTimeOutURL, whatever it is: its form is not documented."""
    try:
        decoded = untrusted.read_json(body)
    except Unreadable:
        decoded = None
    result = untrusted.member(decoded, "Result")
    members = result if isinstance(result, dict) else decoded if isinstance(decoded, dict) else {}
    return ApiTimeout(
        untrusted.identifier(members.get("ConversationID")) or "",
        untrusted.originator_conversation_id(members),
    )


def _parameters(result: dict[str, Any]) -> dict[str, tuple[ParameterValue, ...]]:
    gathered: dict[str, tuple[ParameterValue, ...]] = {}
    for key, value in _pairs(result):
        gathered[key] = (*gathered.get(key, ()), value)
    return gathered


def _pairs(result: dict[str, Any]) -> Iterator[tuple[str, ParameterValue]]:
    parameters = untrusted.member(result.get("ResultParameters"), "ResultParameter")
    for item in (parameters if isinstance(parameters, list) else [parameters])[:_MAX_PARAMETERS]:
        key = untrusted.member(item, "Key")
        if isinstance(key, str) and 0 < len(key) <= _MAX_KEY:
            yield key, _plain(untrusted.member(item, "Value"))


def _plain(value: object) -> ParameterValue:
    """Keep text and numbers; anything else is no value."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    return value
