"""A client of M-Pesa's Daraja: push a payment prompt to a phone, ask what became of it. It never repeats a push."""

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests

from daraja import eat
from daraja.config import DarajaConfig
from daraja.errors import Refused, Retryable, SubmissionError, Uncertain
from daraja.reading import whole_number
from daraja.replies import Accepted, Answer, QueryVerdict, read_acceptance, read_answer, read_verdict
from daraja.tokens import AccessToken, TokenStore
from daraja.wire import AnswerLost, NotSent, exchange, new_session

OAUTH_PATH = "/oauth/v1/generate?grant_type=client_credentials"
PUSH_PATH = "/mpesa/stkpush/v1/processrequest"
QUERY_PATH = "/mpesa/stkpushquery/v1/query"

_USUAL_LIFETIME_SECONDS = 3599
_SHORTEST_LIFETIME_SECONDS = 120
_LONGEST_LIFETIME_SECONDS = 86_400

_PHONE = re.compile(r"254[17][0-9]{8}")
_REFERENCE = re.compile(r"[A-Za-z0-9-]{1,12}")
_DESCRIPTION = re.compile(r"[\x20-\x7e]{1,13}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_URL = re.compile(r"[\x21-\x7e]{1,1000}")


class DarajaClient:
    """Talks to one Daraja environment for one shortcode; one object serves all threads of a process.

    `tokens` must be shared by everybody who uses this consumer key, other processes included. `clock` returns
    aware datetimes. `http` replaces the session that the client makes for itself. Make the client after a
    fork, not before.
    """

    def __init__(
        self,
        config: DarajaConfig,
        tokens: TokenStore,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        http: requests.Session | None = None,
    ) -> None:
        self._config = config
        self._tokens = tokens
        self._clock = clock
        self._http = http or new_session(config.pool_size)

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def push(
        self,
        *,
        phone: str,
        amount_shillings: int,
        callback_url: str,
        account_reference: str,
        description: str,
    ) -> Accepted:
        """Ask M-Pesa to show a payment prompt on a phone. Not idempotent: two calls are two prompts.

        `phone` is `2547XXXXXXXX` or `2541XXXXXXXX`; the amount is whole shillings; `account_reference` is
        shown to the customer: at most 12 letters, digits and hyphens; `description` at most 13 characters.
        Record the attempt before the call. Raise Refused or Retryable when nothing was sent, Uncertain when a
        prompt may be out there.
        """
        self._check(phone, amount_shillings, callback_url, account_reference, description)
        request = self._signed() | {
            "Amount": amount_shillings,
            "PartyA": phone,
            "PhoneNumber": phone,
            "CallBackURL": callback_url,
            "AccountReference": account_reference,
            "TransactionDesc": description,
        }
        return self._submit(request | self._receiver())

    def _submit(self, request: dict[str, Any]) -> Accepted:
        try:
            return read_acceptance(self._call(PUSH_PATH, request))
        except NotSent as error:
            raise Retryable(
                "DARAJA_UNREACHABLE", f"M-Pesa cannot be reached ({error}). Try again shortly."
            ) from None
        except AnswerLost as error:
            raise Uncertain(
                "DARAJA_ANSWER_LOST",
                f"M-Pesa's answer was lost ({error}), and a request may be on the phone. Wait for its result.",
            ) from None

    def query(self, checkout_request_id: str) -> QueryVerdict:
        """Ask what became of a prompt. Trouble on the way is a verdict too: `no_answer`, with its reason."""
        request = self._signed() | {"CheckoutRequestID": checkout_request_id}
        try:
            return read_verdict(self._call(QUERY_PATH, request), checkout_request_id)
        except SubmissionError as error:
            limited = error.code == "DARAJA_RATE_LIMITED"
            wait = error.retry_after_seconds if limited else None
            return QueryVerdict(
                "no_answer", reason=error.code, rate_limited=limited, retry_after_seconds=wait
            )
        except NotSent:
            return QueryVerdict("no_answer", reason="DARAJA_UNREACHABLE")
        except AnswerLost:
            return QueryVerdict("no_answer", reason="DARAJA_ANSWER_LOST")

    def _check(self, phone: str, shillings: int, callback_url: str, reference: str, description: str) -> None:
        most = self._config.max_amount_shillings
        whole = type(shillings) is int
        for holds, rule in (
            (_PHONE.fullmatch(phone), "The phone must be 254, then 7 or 1, then eight digits."),
            (whole and 1 <= shillings <= most, f"The amount must be 1 to {most} whole shillings."),
            (
                _is_callback_url(callback_url),
                "The callback URL must be http(s), with its host in small letters.",
            ),
            (_REFERENCE.fullmatch(reference), "The reference must be 1 to 12 letters, digits or hyphens."),
            (_DESCRIPTION.fullmatch(description), "The description must be 1 to 13 plain characters."),
        ):
            if not holds:
                raise Refused("DARAJA_INVALID_REQUEST", rule)

    def _receiver(self) -> dict[str, str]:
        return {"TransactionType": self._config.transaction_type, "PartyB": self._config.receiver}

    def _signed(self) -> dict[str, Any]:
        """Return the three fields that open every STK request, made for this moment."""
        moment = eat.timestamp(self._clock())
        return {
            "BusinessShortCode": self._config.shortcode,
            "Password": password(self._config.shortcode, self._config.passkey, moment),
            "Timestamp": moment,
        }

    def _call(self, path: str, request: dict[str, Any]) -> Answer:
        """Post with the shared token; if the gateway refuses the token, once more with another."""
        token = self._token(refused=None)
        answer = self._post(path, request, token)
        if answer.is_token_refusal:
            answer = self._post(path, request, self._token(refused=token))
        return answer

    def _post(self, path: str, request: dict[str, Any], token: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self._exchange("POST", path, headers, json.dumps(request).encode())

    def _token(self, refused: str | None) -> str:
        stored = self._tokens.read()
        if stored is not None and stored.value != refused and stored.is_fresh(self._clock()):
            return stored.value
        return self._tokens.refresh(refused, self._fetch_token).value

    def _fetch_token(self) -> AccessToken:
        """Get a new token, which voids the one before. Every failure here means that no payment was sent."""
        asked_at = self._clock()
        pair = f"{self._config.consumer_key}:{self._config.consumer_secret}".encode()
        headers = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        try:
            answer = self._exchange("GET", OAUTH_PATH, headers, None)
        except (NotSent, AnswerLost) as error:
            raise _no_token(f" ({error})") from None
        value = answer.members.get("access_token")
        if answer.status == 200 and isinstance(value, str) and _TOKEN.fullmatch(value):
            return AccessToken(value, asked_at + _lifetime(answer.members.get("expires_in")))
        raise _token_error(answer)

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        common = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": self._config.user_agent,
        }
        timeouts = (self._config.connect_timeout_seconds, self._config.read_timeout_seconds)
        url = self._config.base_url + path
        reply = exchange(self._http, method, url, headers=common | headers, body=body, timeouts=timeouts)
        return read_answer(reply, self._clock())


def password(shortcode: str, passkey: str, timestamp: str) -> str:
    """Return the Password of an STK request: base64 of shortcode, passkey and timestamp in a row."""
    return base64.b64encode(f"{shortcode}{passkey}{timestamp}".encode()).decode()


def _lifetime(expires_in: object) -> timedelta:
    """Read `expires_in`, a number or text; assume Daraja's usual hour when it is neither.

    A very short life is not believed: fetching a token for each call would void everybody else's, while a
    token that does end early costs one refusal and one retry.
    """
    text = expires_in.strip() if isinstance(expires_in, str) else ""
    seconds = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else whole_number(expires_in)
    if seconds is None or not 0 < seconds <= _LONGEST_LIFETIME_SECONDS:
        seconds = _USUAL_LIFETIME_SECONDS
    return timedelta(seconds=max(seconds, _SHORTEST_LIFETIME_SECONDS))


def _no_token(detail: str = "", vendor_code: str | None = None, wait_seconds: int | None = None) -> Retryable:
    message = f"M-Pesa does not give us an access token{detail}. Try again shortly."
    return Retryable("DARAJA_TOKEN_UNAVAILABLE", message, vendor_code, wait_seconds)


def _token_error(answer: Answer) -> SubmissionError:
    if answer.status == 403 and answer.is_html:
        message = "Safaricom's edge has blocked the request. Check our address and the user agent."
        return Refused("DARAJA_BLOCKED", message, answer.error_code)
    if answer.is_rate_limit:
        message = "M-Pesa takes no more requests from us at this moment. Try again shortly."
        wait = answer.retry_after_seconds
        return Retryable("DARAJA_RATE_LIMITED", message, answer.error_code, wait)
    if answer.status in (400, 401, 403):
        message = "M-Pesa does not accept the consumer key and secret. Check them and the environment."
        return Refused("DARAJA_CREDENTIALS", message, answer.error_code)
    if answer.status in (404, 405):
        message = "M-Pesa does not know this address or method. Check MPESA_BASE_URL."
        return Refused("DARAJA_CONFIGURATION", message, answer.error_code)
    return _no_token("", answer.error_code, answer.retry_after_seconds)


def _is_callback_url(url: str) -> bool:
    if not _URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return parts.scheme in ("http", "https") and bool(parts.hostname) and host == host.lower()
    except ValueError:
        return False
