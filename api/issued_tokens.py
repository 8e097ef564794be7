"""Bearer tokens that Daftari issues itself, where no identity provider does: HS256, as RFC 7515 has it.

They are signed by the standard library. PyJWT verifies them, and takes longer to import than all that
`daftari token` does.
"""

import base64
import hmac
import json
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import uuid4

from api.setting_rules import ConfigurationError
from api.settings import Settings
from ledger.clock import now

OUR_NAME = "daftari"
"""What `iss` and `aud` must be if they are present and no other name is configured."""


class Role(StrEnum):
    """What a caller may do; a token may name several of TOKEN_ROLES, and other names are ignored."""

    CUSTOMER = "customer"
    AUDITOR = "auditor"
    ANALYST = "analyst"
    OPERATOR = "operator"
    SERVER = "server"


TOKEN_ROLES = (Role.CUSTOMER, Role.AUDITOR, Role.ANALYST, Role.OPERATOR)
"""What a token may make of a person. A server is known by an API key alone."""


def make_token(settings: Settings, user: int, roles: list[str], minutes: int) -> str:
    """Make a token for `user` with `roles`, good for `minutes`; raise ConfigurationError if others issue the tokens."""
    if settings.daftari_jwt_jwks_url or settings.daftari_jwt_public_key_file:
        raise ConfigurationError(
            [
                "Your identity provider issues the tokens: to make them here, "
                "unset DAFTARI_JWT_PUBLIC_KEY_FILE and DAFTARI_JWT_JWKS_URL."
            ]
        )
    issued = now()
    claims = {
        "sub": str(user),
        "roles": [Role(role).value for role in roles],
        "iat": issued.timestamp(),
        "jti": uuid4().hex,
        "exp": int((issued + timedelta(minutes=minutes)).timestamp()),
        "iss": settings.daftari_jwt_issuer or OUR_NAME,
        "aud": settings.daftari_jwt_audience or OUR_NAME,
    }
    return _signed(claims, settings.daftari_jwt_secret)


def _signed(claims: dict[str, Any], secret: str) -> str:
    """Return claims as a JWT in its compact form."""
    header = {"alg": "HS256", "typ": "JWT"}
    signed = b".".join(
        _base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)
    )
    return b".".join((signed, _base64url(hmac.digest(secret.encode(), signed, sha256)))).decode()


def _base64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
