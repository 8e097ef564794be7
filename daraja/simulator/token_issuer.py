"""The OAuth desk: one valid token for the consumer key, and a new one voids the old."""

import base64
import binascii
import hmac
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from daraja.simulator.answers import GatewayRefusal, refusal
from daraja.simulator.kenya_time import Clock

LIFETIME = timedelta(seconds=3600)


class WrongCredentials(Exception):
    """The key or the secret is not the one we know; the gateway answers 400 with an empty body."""


class TokenIssuer:
    """Issues tokens and judges them; safe to use from any thread."""

    def __init__(self, key: str, secret: str, new_token: Callable[[], str], clock: Clock) -> None:
        self._credentials = f"{key}:{secret}".encode()
        self._new_token = new_token
        self._clock = clock
        self._lock = threading.Lock()
        self._token: str | None = None
        self._expires_at: datetime | None = None

    def issue_for(self, authorization: str, grant_type: str | None) -> str:
        """Answer a token request; raise GatewayRefusal for its form and WrongCredentials for its key or secret."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic" or not encoded:
            raise refusal("authentication-type")
        if grant_type != "client_credentials":
            raise refusal("grant-type")
        if not hmac.compare_digest(_decode(encoded), self._credentials):
            raise WrongCredentials
        return self.issue()

    def issue(self) -> str:
        """Make a new token the only valid one."""
        with self._lock:
            self._token = self._new_token()
            self._expires_at = self._clock() + LIFETIME
            return self._token

    def check(self, authorization: str, refusal_name: str = "invalid-token") -> None:
        """Raise GatewayRefusal where the header is not a bearer's, or, of that name, where its token is not the valid one."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise refusal("authentication-header")
        valid = self.valid_token()
        if valid is None or not hmac.compare_digest(valid.encode(), token.strip().encode(errors="replace")):
            raise refusal(refusal_name)

    def valid_token(self) -> str | None:
        """Return the token that would be accepted now."""
        with self._lock:
            if self._expires_at is None or self._clock() >= self._expires_at:
                return None
            return self._token

    def void(self) -> None:
        """Let no token be valid, as when another process has asked for one."""
        with self._lock:
            self._token = self._expires_at = None


def _decode(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        malformed: GatewayRefusal = refusal("authentication-type")
        raise malformed from None
