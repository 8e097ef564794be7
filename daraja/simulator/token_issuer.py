"""OAuth tokens: one is valid for the consumer key at a time, and a new one voids the old."""

import base64
import binascii
import hmac
import threading
from datetime import datetime, timedelta

from daraja.simulator.answers import GatewayRefusal, refusal
from daraja.simulator.mobile_money import MobileMoney

LIFETIME = timedelta(seconds=3600)


class WrongCredentials(Exception):
    """The consumer key or secret is wrong; the gateway answers 400 with an empty body."""


class TokenIssuer:
    """Issues tokens and checks them; safe to use from any thread."""

    def __init__(self, mobile_money: MobileMoney) -> None:
        settings = mobile_money.settings
        self._credentials = f"{settings.consumer_key}:{settings.consumer_secret}".encode()
        self._mobile_money = mobile_money
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
        self._mobile_money.count("tokens")
        with self._mobile_money.changed:
            token = self._mobile_money.identifiers.token()
        with self._lock:
            self._token = token
            self._expires_at = self._mobile_money.now() + LIFETIME
        return token

    def check(self, authorization: str, refusal_name: str = "invalid-token") -> None:
        """Raise GatewayRefusal if the header is no bearer's, or the one of that name if its token is not valid."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise refusal("authentication-header")
        valid = self.valid_token()
        if valid is None or not hmac.compare_digest(valid.encode(), token.strip().encode(errors="replace")):
            raise refusal(refusal_name)

    def valid_token(self) -> str | None:
        """Return the token that is valid now."""
        with self._lock:
            if self._expires_at is None or self._mobile_money.now() >= self._expires_at:
                return None
            return self._token

    def void(self) -> None:
        """Void the valid token, as when another process has asked for one."""
        with self._lock:
            self._token = self._expires_at = None


def _decode(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        malformed: GatewayRefusal = refusal("authentication-type")
        raise malformed from None
