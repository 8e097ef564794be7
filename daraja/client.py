"""A client of M-Pesa's Daraja: request payments, query them, reverse them. It repeats nothing."""

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from daraja import c2b_api, eat, initiator, pull_api
from daraja.config import DarajaConfig
from daraja.daraja_errors import Refused, Retryable, SubmissionError, Uncertain
from daraja.gateway import OAUTH_PATH, Gateway, Observe, TokenStore
from daraja.replies import PROMPT_DOUBT, Accepted, DarajaAnswer, QueryVerdict, read_acceptance, read_verdict
from daraja.untrusted import MAX_BYTES
from daraja.wire import AnswerLost, NotSent, new_session

PUSH_PATH = "/mpesa/stkpush/v1/processrequest"
QUERY_PATH = "/mpesa/stkpushquery/v1/query"

_OPERATIONS = {
    OAUTH_PATH: "token",
    PUSH_PATH: "push",
    QUERY_PATH: "query",
    initiator.REVERSAL_PATH: "reversal",
    initiator.STATUS_PATH: "transaction_status",
    c2b_api.REGISTER_PATH: "c2b_register",
    pull_api.PULL_REGISTER_PATH: "pull_register",
    pull_api.PULL_PATH: "pull",
}

_PHONE = re.compile(r"254[17][0-9]{8}")
_REFERENCE = re.compile(r"[A-Za-z0-9-]{1,12}")
_DESCRIPTION = re.compile(r"[\x20-\x7e]{1,13}")
_URL = re.compile(r"[\x21-\x7e]{1,1000}")
_MAX_PAGES = 200

_UNREACHABLE = "M-Pesa cannot be reached ({manner}). Try again shortly."

Parsed = TypeVar("Parsed")


class DarajaClient:
    """Talks to one Daraja environment for one shortcode; one object serves all threads of a process.

    `tokens` must be shared by all processes that use this consumer key. `clock` returns aware datetimes. `http`
    replaces the session that the client makes for itself. `observe` is told of each call by the name of its operation.
    Make the client after a fork, not before.
    """

    def __init__(
        self,
        config: DarajaConfig,
        tokens: TokenStore,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        http: requests.Session | None = None,
        observe: Observe = lambda *_: None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._gateway = Gateway(
            config,
            tokens,
            clock,
            http or new_session(config.pool_size),
            lambda seconds, path, code: observe(seconds, _OPERATIONS[path], code),
        )

    def close(self) -> None:
        """Close the kept connections."""
        self._gateway.close()

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
        return self._submit(PUSH_PATH, request | self._receiver(), read_acceptance, PROMPT_DOUBT)

    def query(self, checkout_request_id: str) -> QueryVerdict:
        """Ask how a prompt ended. Trouble on the way is a verdict too: `no_answer`, with its reason."""
        request = self._signed() | {"CheckoutRequestID": checkout_request_id}
        seconds = self._config.query_timeout_seconds
        try:
            answer = self._gateway.call(QUERY_PATH, request, timeout_seconds=seconds)
            return read_verdict(answer, checkout_request_id)
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

    def reverse(
        self, *, receipt: str, amount_shillings: int, remarks: str, result_url: str, timeout_url: str
    ) -> initiator.Acknowledged:
        """Ask M-Pesa to reverse a payment. Not idempotent: record the intent before the call.

        `receipt` is the payment's, the amount all of it in whole shillings (partial reversals are said not to
        work), `remarks` 2 to 100 characters. The result comes to `result_url`; what comes to `timeout_url` is no
        failure. Raise Refused or Retryable when nothing was sent, Uncertain when the money may be on its way.
        """
        _check_urls("result", result_url, timeout_url)
        request = initiator.reversal_request(
            self._config,
            receipt=receipt,
            amount_shillings=amount_shillings,
            remarks=remarks,
            result_url=result_url,
            timeout_url=timeout_url,
        )
        doubt = initiator.REVERSAL_DOUBT
        return self._submit(
            initiator.REVERSAL_PATH,
            request,
            lambda answer: initiator.read_acknowledgement(answer, doubt),
            doubt,
        )

    def transaction_status(
        self,
        *,
        receipt: str | None = None,
        original_conversation_id: str | None = None,
        remarks: str,
        result_url: str,
        timeout_url: str,
    ) -> initiator.Acknowledged:
        """Ask how a transaction ended, by its receipt or by the conversation id of the request that made it.

        The answer comes to `result_url`. No money moves, so it may be repeated: raise Refused or Retryable.
        """
        _check_urls("result", result_url, timeout_url)
        request = initiator.status_request(
            self._config,
            receipt=receipt,
            original_conversation_id=original_conversation_id,
            remarks=remarks,
            result_url=result_url,
            timeout_url=timeout_url,
        )
        return self._ask(
            initiator.STATUS_PATH,
            request,
            lambda answer: initiator.read_acknowledgement(answer, initiator.STATUS_DOUBT),
        )

    def register_c2b(
        self, *, confirmation_url: str, validation_url: str, response_type: str
    ) -> c2b_api.C2bRegistration:
        """Register where M-Pesa reports payments made by hand; in production this works once.

        `response_type`, Completed or Cancelled, is what happens to a payment when the validation gets no answer.
        Raise Refused or Retryable when M-Pesa did not take the addresses.
        """
        _check_urls("C2B", confirmation_url, validation_url)
        request = c2b_api.registration_request(
            self._config.shortcode, confirmation_url, validation_url, response_type
        )
        return self._ask(c2b_api.REGISTER_PATH, request, c2b_api.read_registration)

    def pull_register(self, *, nominated_number: str, callback_url: str) -> pull_api.PullRegistrationState:
        """Ask once for Pull to be switched on; `nominated_number` is the Safaricom number of the shop's contact.

        Raise Refused or Retryable when M-Pesa did not do it.
        """
        _check_urls("callback", callback_url)
        request = pull_api.pull_registration_request(self._config.shortcode, nominated_number, callback_url)
        return self._ask(pull_api.PULL_REGISTER_PATH, request, pull_api.read_pull_registration)

    def pull(self, *, start: datetime, end: datetime, offset: int = 0) -> pull_api.PulledPage:
        """Return one page of the payments between two aware moments of the last 48 hours, from a row on.

        Raise Refused or Retryable if M-Pesa gives none.
        """
        request = pull_api.pull_request(self._config.shortcode, start, end, offset)
        return self._ask(pull_api.PULL_PATH, request, pull_api.read_page, pull_api.MAX_PULL_BYTES)

    def pull_all(
        self, *, start: datetime, end: datetime, max_pages: int = _MAX_PAGES
    ) -> pull_api.PulledWindow:
        """Return the payments of all pages, each once; errors as of `pull`, and then nothing is returned."""
        return pull_api.pull_pages(lambda offset: self.pull(start=start, end=end, offset=offset), max_pages)

    def _submit(
        self, path: str, request: dict[str, Any], read: Callable[[DarajaAnswer], Parsed], doubt: str
    ) -> Parsed:
        """Send a request that may move money, once."""
        try:
            return read(self._gateway.call(path, request))
        except NotSent as error:
            raise Retryable("DARAJA_UNREACHABLE", _UNREACHABLE.format(manner=error)) from None
        except AnswerLost as error:
            raise Uncertain(
                "DARAJA_ANSWER_LOST", f"M-Pesa's answer was lost ({error}), and {doubt}"
            ) from None

    def _ask(
        self,
        path: str,
        request: dict[str, Any],
        read: Callable[[DarajaAnswer], Parsed],
        max_bytes: int = MAX_BYTES,
    ) -> Parsed:
        """Send a request that moves no money: if its answer is in doubt, it may be sent again."""
        try:
            return read(self._gateway.call(path, request, max_bytes))
        except NotSent as error:
            raise Retryable("DARAJA_UNREACHABLE", _UNREACHABLE.format(manner=error)) from None
        except AnswerLost as error:
            raise Retryable(
                "DARAJA_ANSWER_LOST", f"M-Pesa's answer was lost ({error}). Nothing has moved: ask again."
            ) from None
        except Uncertain as error:
            raise Retryable(error.code, error.message, error.vendor_code, error.retry_after_seconds) from None

    def _check(self, phone: str, shillings: int, callback_url: str, reference: str, description: str) -> None:
        most = self._config.max_amount_shillings
        whole = type(shillings) is int
        for holds, rule in (
            (_PHONE.fullmatch(phone), "The phone must be 254, then 7 or 1, then eight digits."),
            (whole and 1 <= shillings <= most, f"The amount must be 1 to {most} whole shillings."),
            (_REFERENCE.fullmatch(reference), "The reference must be 1 to 12 letters, digits or hyphens."),
            (_DESCRIPTION.fullmatch(description), "The description must be 1 to 13 plain characters."),
        ):
            if not holds:
                raise Refused("DARAJA_INVALID_REQUEST", rule)
        _check_urls("callback", callback_url)

    def _receiver(self) -> dict[str, str]:
        return {"TransactionType": self._config.transaction_type, "PartyB": self._config.receiver}

    def _signed(self) -> dict[str, Any]:
        """Return the three fields that open every STK request, signed for this moment."""
        moment = eat.timestamp(self._clock())
        return {
            "BusinessShortCode": self._config.shortcode,
            "Password": password(self._config.shortcode, self._config.passkey, moment),
            "Timestamp": moment,
        }


def _check_urls(what: str, *urls: str) -> None:
    if not all(_is_callback_url(url) for url in urls):
        raise Refused(
            "DARAJA_INVALID_REQUEST", f"The {what} URL must be http(s), with its host in small letters."
        )


def _is_callback_url(url: str) -> bool:
    """Say whether a URL has the form that Daraja takes: http(s), and a host in small letters."""
    if not _URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return parts.scheme in ("http", "https") and bool(parts.hostname) and host == host.lower()
    except ValueError:
        return False


def password(shortcode: str, passkey: str, timestamp: str) -> str:
    """Return the Password of an STK request: base64 of shortcode, passkey and timestamp in a row."""
    return base64.b64encode(f"{shortcode}{passkey}{timestamp}".encode()).decode()
