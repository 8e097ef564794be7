"""Calls to Daraja's gateway with the shared access token; a call is repeated only if the token itself was refused."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from time import perf_counter
from typing import Any, Protocol

import requests

from daraja import untrusted
from daraja.config import DarajaConfig
from daraja.daraja_errors import Refused, Retryable, SubmissionError
from daraja.replies import DarajaAnswer, code_of, read_answer
from daraja.untrusted import MAX_BYTES
from daraja.wire import AnswerLost, NotSent, exchange

OAUTH_PATH = "/oauth/v1/generate?grant_type=client_credentials"

_USUAL_LIFETIME_SECONDS = 3599
_MIN_LIFETIME_SECONDS = 120
_MAX_LIFETIME_SECONDS = 86_400

_MAX_REPEATS = 2
"""Of a call whose token was refused. The gateway refused it before M-Pesa saw anything, so nothing is sent twice."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")


REFRESH_EARLY = timedelta(seconds=60)
"""A token is replaced this long before it expires, so that none expires on its way to Daraja."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token and the aware moment at which it expires. Its repr hides the value."""

    value: str = field(repr=False)
    expires_at: datetime

    def is_fresh(self, now: datetime) -> bool:
        """Say whether the token may still be used at `now`."""
        return now < self.expires_at - REFRESH_EARLY


class TokenStore(Protocol):
    """Keeps the token. All processes with one consumer key must share one store: a second token voids the first."""

    def read(self) -> AccessToken | None:
        """Return the stored token, fresh or not, without waiting."""
        ...

    def refresh(self, refused: str | None, fetch: Callable[[], AccessToken]) -> AccessToken:
        """Return a usable token, under a lock that all users share.

        If the stored token is fresh and is not the `refused` one, another user was faster: return it. Otherwise call
        `fetch` (one HTTP request, bounded in time), store its token and return it. What `fetch` raises passes through;
        waiting for the lock has a bound and ends in Retryable.
        """
        ...


Observe = Callable[[float, str, str], None]
"""Is told of each call: how many seconds it took, what was called, and the code of its answer."""


class Gateway:
    """One Daraja environment, as seen by one app; serves all threads of a process. `clock` returns aware datetimes.

    `observe` is told of each call by its path.
    """

    def __init__(
        self,
        config: DarajaConfig,
        tokens: TokenStore,
        clock: Callable[[], datetime],
        http: requests.Session,
        observe: Observe = lambda *_: None,
    ) -> None:
        self._config = config
        self._tokens = tokens
        self._clock = clock
        self._http = http
        self._observe = observe

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def call(
        self,
        path: str,
        request: dict[str, Any],
        max_bytes: int = MAX_BYTES,
        timeout_seconds: float | None = None,
    ) -> DarajaAnswer:
        """Post with the shared token; if the gateway refuses the token, once more with another.

        If another process fetched that one, it may be void by now too: a third post has a token fetched for this call.
        An answer longer than `max_bytes` counts as lost, as does one that takes longer than `timeout_seconds` or than
        the configuration's read time-out. Raise NotSent or AnswerLost for the call itself, and Refused or Retryable
        when there is no token to call with.
        """
        token, is_fetched = self._token(refused=None)[0], False
        bounds = max_bytes, min(timeout_seconds or inf, self._config.read_timeout_seconds)
        answer = self._post(path, request, token, *bounds)
        repeats = 0
        while answer.is_token_refusal and not is_fetched and repeats < _MAX_REPEATS:
            token, is_fetched = self._token(refused=token)
            answer = self._post(path, request, token, *bounds)
            repeats += 1
        return answer

    def _post(
        self, path: str, request: dict[str, Any], token: str, max_bytes: int, timeout_seconds: float
    ) -> DarajaAnswer:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self._exchange("POST", path, headers, json.dumps(request).encode(), max_bytes, timeout_seconds)

    def _token(self, refused: str | None) -> tuple[str, bool]:
        """Return a token that is not the `refused` one, and whether it was fetched for this call."""
        stored = self._tokens.read()
        if stored is not None and stored.value != refused and stored.is_fresh(self._clock()):
            return stored.value, False
        fetched: list[AccessToken] = []

        def fetch() -> AccessToken:
            fetched.append(self._fetch_token())
            return fetched[-1]

        return self._tokens.refresh(refused, fetch).value, bool(fetched)

    def _fetch_token(self) -> AccessToken:
        """Fetch a new token, which voids the one before. Every failure here means that no payment was sent."""
        asked_at = self._clock()
        pair = f"{self._config.consumer_key}:{self._config.consumer_secret}".encode()
        headers = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        try:
            answer = self._exchange(
                "GET", OAUTH_PATH, headers, None, MAX_BYTES, self._config.read_timeout_seconds
            )
        except (NotSent, AnswerLost) as error:
            raise _no_token(f" ({error})") from None
        value = answer.members.get("access_token")
        if answer.status == 200 and isinstance(value, str) and _TOKEN.fullmatch(value):
            return AccessToken(value, asked_at + _lifetime(answer.members.get("expires_in")))
        raise _token_error(answer)

    def _exchange(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None,
        max_bytes: int,
        timeout_seconds: float,
    ) -> DarajaAnswer:
        common = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": self._config.user_agent,
        }
        started, seen = perf_counter(), "answer_lost"
        try:
            reply = exchange(
                self._http,
                method,
                self._config.base_url + path,
                headers=common | headers,
                body=body,
                timeouts=(self._config.connect_timeout_seconds, timeout_seconds),
                max_bytes=max_bytes,
            )
            answer = read_answer(reply, self._clock(), max_bytes)
            seen = code_of(answer)
        except NotSent:
            seen = "not_sent"
            raise
        finally:
            self._observe(perf_counter() - started, path, seen)
        return answer


def _lifetime(expires_in: object) -> timedelta:
    """Read `expires_in`, a number or text; assume Daraja's usual hour when it is neither.

    A very short lifetime is not believed: fetching a token for each call would void those of other processes, while a
    token that does expire early costs one refusal and one retry.
    """
    text = expires_in.strip() if isinstance(expires_in, str) else ""
    seconds = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else untrusted.whole_number(expires_in)
    if seconds is None or not 0 < seconds <= _MAX_LIFETIME_SECONDS:
        seconds = _USUAL_LIFETIME_SECONDS
    return timedelta(seconds=max(seconds, _MIN_LIFETIME_SECONDS))


def _no_token(detail: str = "", vendor_code: str | None = None, wait_seconds: int | None = None) -> Retryable:
    message = f"M-Pesa does not give us an access token{detail}. Try again shortly."
    return Retryable("DARAJA_TOKEN_UNAVAILABLE", message, vendor_code, wait_seconds)


def _token_error(answer: DarajaAnswer) -> SubmissionError:
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
