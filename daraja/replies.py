"""What Daraja's answers mean: each row of the vendor's error tables, judged by body and status together."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from daraja.codes import meaning_of
from daraja.daraja_errors import Refused, Retryable, SubmissionError, Uncertain
from daraja.untrusted import MAX_BYTES, Unreadable, code, fault_code, identifier, member, read_json, text
from daraja.wire import Reply

_MAX_RETRY_AFTER_SECONDS = 3600
_TOKEN_REFUSALS = ("404.001.03", "400.003.01", "401.", "oauth.", "steps.oauth.", "keymanagement.")
"""How the codes begin by which the gateway says that it did not take the token; the last three are its own policies."""
_NOT_ENABLED = "apiproduct match"
_AMBIGUOUS_FAULT = "500.001.1001"
_BUSY = "500.003.02"
_ZEROS = re.compile(r"0+")

PROMPT_DOUBT = "a request may be on the phone. Wait for its result."
"""How the message of an Uncertain push ends."""

QueryKind = Literal["paid", "failed", "pending", "no_answer", "unknown_id"]


@dataclass(frozen=True, slots=True)
class DarajaAnswer:
    """A reply, read: `members` of its JSON object (empty when it is none) and the error in it, if there is one.

    `body` is what was read; it may hold personal data, so it stays out of the repr.
    """

    status: int
    members: dict[str, Any]
    error_code: str | None
    error_message: str
    retry_after_seconds: int | None
    is_html: bool
    body: bytes = field(default=b"", repr=False)

    @property
    def is_token_refusal(self) -> bool:
        """Say whether the gateway did not accept the access token; then M-Pesa has seen nothing.

        A 401 comes from the gateway alone, whatever its body says. Other statuses need one of the known codes.
        """
        return self.status == 401 or (self.error_code or "").lower().startswith(_TOKEN_REFUSALS)

    @property
    def is_rate_limit(self) -> bool:
        """Say whether a rate limit of the gateway has stopped this call."""
        return self.status == 429 or (self.error_code or "").startswith("policies.ratelimit.")


def read_answer(reply: Reply, now: datetime, max_bytes: int = MAX_BYTES) -> DarajaAnswer:
    """Read a reply of any kind; what cannot be read has no members and no error code."""
    try:
        decoded = read_json(reply.body, max_bytes)
    except Unreadable:
        decoded = None
    members = decoded if isinstance(decoded, dict) else {}
    fault = members.get("fault")
    return DarajaAnswer(
        status=reply.status,
        members=members,
        error_code=fault_code(members.get("errorCode"))
        or fault_code(member(member(fault, "detail"), "errorcode")),
        error_message=text(members.get("errorMessage")) or text(member(fault, "faultstring")),
        retry_after_seconds=_retry_after(reply.headers.get("Retry-After", ""), now),
        is_html=reply.is_html,
        body=reply.body,
    )


def _retry_after(header: str, now: datetime) -> int | None:
    """Read a Retry-After header, seconds or a date, as seconds between 0 and an hour; None when it is neither."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return min(int(header[:9]), _MAX_RETRY_AFTER_SECONDS)
    try:
        seconds = (parsedate_to_datetime(header) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(int(seconds), 0), _MAX_RETRY_AFTER_SECONDS)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Daraja will try to show a prompt: no more than that. `merchant_request_id` is '' if Daraja left it out.

    The CheckoutRequestID is personal data, for it holds the customer's phone number; it stays out of the
    repr.
    """

    merchant_request_id: str
    checkout_request_id: str
    customer_message: str

    def __repr__(self) -> str:
        return f"Accepted(merchant_request_id={self.merchant_request_id!r})"


def read_acceptance(answer: DarajaAnswer) -> Accepted:
    """Return the acceptance of a push; raise Refused, Retryable or Uncertain when the answer is none."""
    checkout_request_id = identifier(answer.members.get("CheckoutRequestID"))
    if answer.error_code is None and _is_accepted(answer) and checkout_request_id is not None:
        return Accepted(
            merchant_request_id=identifier(answer.members.get("MerchantRequestID")) or "",
            checkout_request_id=checkout_request_id,
            customer_message=text(answer.members.get("CustomerMessage")),
        )
    raise submission_error(answer)


def _is_accepted(answer: DarajaAnswer) -> bool:
    return code(answer.members.get("ResponseCode")) == "0"


def is_success(answer: DarajaAnswer) -> bool:
    """Say whether the ResponseCode is "0", or "00000000" as some products write it."""
    return bool(_ZEROS.fullmatch(code(answer.members.get("ResponseCode")) or ""))


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table of submission errors: what it looks like, and what it is to us."""

    error_code: str
    fragment: str
    kind: type[SubmissionError]
    code: str
    message: str
    retry_after_seconds: int | None = None

    def fits(self, answer: DarajaAnswer) -> bool:
        return answer.error_code == self.error_code and self.fragment in answer.error_message.lower()


_BAD_ADDRESS = "M-Pesa does not know this address or method. Check MPESA_BASE_URL."
_BAD_SHORTCODE = "M-Pesa does not know this shortcode here. Check the shortcode and the environment."
_BAD_PASSKEY = "M-Pesa does not accept our password. Check the shortcode and the passkey."
_LINE_BUSY = "Another M-Pesa request is open on this phone. Finish it, wait a minute, and try again."
_TOO_FAST = "M-Pesa takes no more requests from us at this moment. Try again shortly."
_SYSTEM_BUSY = "M-Pesa is busy. Try again in a few minutes."
_QUOTA_USED = "Our quota of M-Pesa requests is used up. Try again later, or ask Safaricom for more."
_BAD_REQUEST = "M-Pesa did not take the request. Check the shop's M-Pesa settings."
_NOT_AUTHORISED = "M-Pesa does not let this app make payments. Check the app's products and its keys."
_BLOCKED = "Safaricom's edge has blocked the request. Check our address, the callback URL and the user agent."
_DECLINED = "M-Pesa has declined the request."

_ROWS = (
    _Row("400.002.02", "", Refused, "DARAJA_INVALID_REQUEST", _BAD_REQUEST),
    _Row("400.002.05", "", Refused, "DARAJA_INVALID_REQUEST", _BAD_REQUEST),
    _Row("404.001.01", "", Refused, "DARAJA_CONFIGURATION", _BAD_ADDRESS),
    _Row("404.001.04", "", Refused, "DARAJA_CONFIGURATION", _BAD_ADDRESS),
    _Row("405.001", "", Refused, "DARAJA_CONFIGURATION", _BAD_ADDRESS),
    _Row(_AMBIGUOUS_FAULT, "merchant does not exist", Refused, "DARAJA_CREDENTIALS", _BAD_SHORTCODE),
    _Row(_AMBIGUOUS_FAULT, "wrong credentials", Refused, "DARAJA_CREDENTIALS", _BAD_PASSKEY),
    _Row(_AMBIGUOUS_FAULT, "unable to lock subscriber", Refused, "DARAJA_SUBSCRIBER_BUSY", _LINE_BUSY, 60),
    _Row(_BUSY, "spike arrest", Retryable, "DARAJA_RATE_LIMITED", _TOO_FAST, 2),
    # "System is busy" is only very probably unsent: a new attempt waits until a callback would have come.
    _Row(_BUSY, "system is busy", Retryable, "DARAJA_BUSY", _SYSTEM_BUSY, 120),
    _Row("500.003.03", "", Retryable, "DARAJA_QUOTA", _QUOTA_USED, 300),
)
_KNOWN_CODES = frozenset(row.error_code for row in _ROWS) | {"404.001.03", "400.003.01"}


def code_of(answer: DarajaAnswer) -> str:
    """Return the code of an answer for people who count them: one of a closed set, whatever M-Pesa writes.

    That is a result code that we know, or unknown_result; "0" where the request was taken; an error code that we know;
    or http_ and the kind of the status.
    """
    result, error = code(answer.members.get("ResultCode")), answer.error_code
    if error is None and result is not None:
        return "unknown_result" if meaning_of(result).outcome == "unknown" else result
    if error is None and answer.status == 200 and (is_success(answer) or "access_token" in answer.members):
        return "0"
    if error in _KNOWN_CODES:
        return error
    return f"http_{answer.status // 100}xx" if 100 <= answer.status < 600 else "http_other"


def submission_error(answer: DarajaAnswer, doubt: str = PROMPT_DOUBT) -> SubmissionError:
    """Judge an answer that is no acceptance. What the table does not list as unsent is Uncertain.

    `doubt` ends the message of an Uncertain: what may have happened, and what to do.
    """
    if answer.is_token_refusal or _NOT_ENABLED in answer.error_message.lower():
        return Refused("DARAJA_NOT_AUTHORISED", _NOT_AUTHORISED, answer.error_code)
    for row in _ROWS:
        if row.fits(answer):
            wait = answer.retry_after_seconds or row.retry_after_seconds
            return row.kind(row.code, row.message, answer.error_code, wait)
    if answer.is_rate_limit:
        return Retryable("DARAJA_RATE_LIMITED", _TOO_FAST, answer.error_code, answer.retry_after_seconds or 2)
    return _judge_by_status(answer, doubt)


def _judge_by_status(answer: DarajaAnswer, doubt: str) -> SubmissionError:
    vendor_code = answer.error_code
    clear = vendor_code is None or not vendor_code.startswith("5")  # Ours is not the fault of a code 500.x.
    if clear and answer.status == 403:
        return Refused("DARAJA_BLOCKED", _BLOCKED, vendor_code)
    # 408 is a gateway time-out: what it had passed on by then is unknown.
    if clear and 400 <= answer.status < 500 and answer.status != 408:
        return Refused("DARAJA_INVALID_REQUEST", _BAD_REQUEST, vendor_code)
    response_code = code(answer.members.get("ResponseCode"))
    if vendor_code is None and 200 <= answer.status < 300 and response_code and response_code.strip("0"):
        return Refused("DARAJA_DECLINED", _DECLINED, response_code)
    return Uncertain("DARAJA_UNCERTAIN", f"M-Pesa's answer is unclear, and {doubt}", vendor_code)


@dataclass(frozen=True, slots=True)
class QueryVerdict:
    """What Daraja says about one prompt when asked.

    `paid` and `failed` are final. `pending`, `no_answer` and `unknown_id` say nothing about the money: ask
    again later. `reason` is a stable slug: the meaning of the result code, or one of our DARAJA_ codes. When
    `rate_limited`, ask less often; `retry_after_seconds` is Daraja's Retry-After. `body` is the answer as it came, if
    it is final; it holds the CheckoutRequestID, so it stays out of the repr.
    """

    kind: QueryKind
    result_code: str | None = None
    result_desc: str | None = None
    reason: str | None = None
    rate_limited: bool = False
    retry_after_seconds: int | None = None
    body: bytes = field(default=b"", repr=False, compare=False)


def read_verdict(answer: DarajaAnswer, checkout_request_id: str) -> QueryVerdict:
    """Judge the answer to a query for `checkout_request_id`; what is not clearly a verdict is `no_answer`."""
    if answer.error_code is not None or not 200 <= answer.status < 300:
        return _verdict_of_error(answer)
    result_code = code(answer.members.get("ResultCode"))
    if (
        not _is_accepted(answer)
        or answer.members.get("CheckoutRequestID") != checkout_request_id
        or result_code is None
    ):
        return QueryVerdict("no_answer", reason="DARAJA_UNCERTAIN")
    meaning = meaning_of(result_code)
    kind: QueryKind = "no_answer" if meaning.outcome == "unknown" else meaning.outcome
    description = text(answer.members.get("ResultDesc"))
    return QueryVerdict(kind, result_code, description, meaning.reason, body=answer.body)


def _verdict_of_error(answer: DarajaAnswer) -> QueryVerdict:
    message = answer.error_message.lower()
    if answer.error_code == _AMBIGUOUS_FAULT and "transaction is being processed" in message:
        return QueryVerdict("pending", reason="processing")
    if answer.error_code == _AMBIGUOUS_FAULT and "transaction does not exist" in message:
        return QueryVerdict("unknown_id", reason="unknown_id")
    if answer.error_code == "400.002.02" and "checkoutrequestid" in message:
        return QueryVerdict("unknown_id", reason="invalid_id")
    error = submission_error(answer)
    limited = answer.is_rate_limit or answer.error_code in (_BUSY, "500.003.03")
    reason = "DARAJA_RATE_LIMITED" if limited else error.code
    return QueryVerdict(
        "no_answer",
        reason=reason,
        rate_limited=limited,
        retry_after_seconds=answer.retry_after_seconds if limited else None,
    )
