"""Authentication by bearer token (JWT), before anything else in a request is looked at.

Every path under /api/, existing or not, requires a token unless its view is marked `public`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from flask import Flask, current_app, g, request
from flask.globals import request_ctx
from werkzeug.exceptions import MethodNotAllowed

from api.http.framework import API_PREFIX
from api.http.middleware.published_keys import MIN_RSA_BITS, PublicKey, PublishedKeys, is_strong
from api.settings import ConfigurationError, Settings
from ledger.clock import now
from ledger.errors import NotAllowed, Unauthenticated

View = TypeVar("View", bound=Callable[..., Any])

LEEWAY_SECONDS = 30
MAX_TOKEN_CHARACTERS = 4096
KNOWN_FOR_SECONDS = 30
MAX_KNOWN = 10_000
MAX_USER = 2**63 - 1
OUR_NAME = "daftari"
"""What `iss` and `aud` must be if they are present and no other name is configured."""

_VERIFIER = "daftari_token_verifier"
_USER = re.compile(r"[1-9][0-9]{0,18}")


class Role(StrEnum):
    """What a caller may do; a token may name several roles, and unknown ones are ignored."""

    CUSTOMER = "customer"
    AUDITOR = "auditor"
    ANALYST = "analyst"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Caller:
    """The sender of a valid token, which is good until `ends_at`, in seconds since 1970; None if it has no end."""

    user_id: int
    roles: frozenset[Role]
    ends_at: int | None = None

    def seconds_left(self, most: float) -> float:
        """Return for how many more seconds the token is good, at most `most`; clocks may differ a little."""
        if self.ends_at is None:
            return most
        return min(most, self.ends_at + LEEWAY_SECONDS - now().timestamp())


KeySource = Callable[[str], tuple[Any, str]]
"""Returns the key that a token is verified with, and the only algorithm that this key is good for."""


class TokenVerifier:
    """Turns bearer tokens into callers. The configuration fixes the algorithms; a token never chooses.

    A verified token is accepted for KNOWN_FOR_SECONDS without checking its signature again, and never beyond its end.
    """

    def __init__(self, settings: Settings) -> None:
        self._key_for = _key_source(settings)
        self._issuer = settings.daftari_jwt_issuer
        self._audience = settings.daftari_jwt_audience
        self._known: dict[str, tuple[Caller, float]] = {}

    def caller_of(self, token: str) -> Caller:
        """Return the caller whom a token names; raise Unauthenticated if the token is not valid now."""
        seconds = now().timestamp()
        known = self._known.get(token)
        if known is not None and seconds < known[1]:
            return known[0]
        claims = self._claims_of(token)
        caller = _caller(claims)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[token] = caller, min(int(claims["exp"]), seconds + KNOWN_FOR_SECONDS)
        return caller

    def _claims_of(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise _invalid()
        try:
            key, algorithm = self._key_for(token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub"], "verify_aud": False, "verify_iss": False},
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise _invalid() from error
        self._refuse_foreign(claims)
        return claims

    def _refuse_foreign(self, claims: dict[str, Any]) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not _is_meant(self._issuer, [claims.get("iss")]) or not _is_meant(self._audience, audiences):
            raise _invalid()


def install_authentication(app: Flask, settings: Settings) -> None:
    """Check the token of every request to a guarded path before its view, or its absence, is looked at."""
    verifier = app.extensions[_VERIFIER] = TokenVerifier(settings)

    def authenticate() -> None:
        if _is_guarded():
            g.caller = verifier.caller_of(_bearer_token())

    app.before_request(authenticate)


def caller_of(token: str) -> Caller:
    """Return the caller whom a token names that came by other means than the header; raise Unauthenticated."""
    verifier: TokenVerifier = current_app.extensions[_VERIFIER]
    return verifier.caller_of(token)


def caller() -> Caller:
    """Return the caller of this request; raise Unauthenticated on a public path, where no token is read."""
    known: Caller | None = g.get("caller")
    if known is None:
        raise _missing()
    return known


def public(view: View) -> View:
    """Mark a view under /api/ that requires no token."""
    view.is_public = True  # type: ignore[attr-defined]  # functions take attributes; mypy has no type for it
    return view


def guarded(view: View) -> View:
    """Mark a view outside /api/ that requires a token all the same."""
    view.is_guarded = True  # type: ignore[attr-defined]  # as above
    return view


def require_role(*roles: Role) -> Callable[[View], View]:
    """Let only callers with one of `roles` use a view; raise NotAllowed for others."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            if caller().roles.isdisjoint(roles):
                raise NotAllowed("ROLE_REQUIRED", f"This needs a token with the role {' or '.join(roles)}.")
            return view(*args, **kwargs)

        checked.required_roles = roles  # type: ignore[attr-defined]  # read by the OpenAPI document
        return checked  # type: ignore[return-value]  # wraps keeps the signature

    return decorate


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
        "iat": issued,
        "exp": issued + timedelta(minutes=minutes),
        "iss": settings.daftari_jwt_issuer or OUR_NAME,
        "aud": settings.daftari_jwt_audience or OUR_NAME,
    }
    return jwt.encode(claims, settings.daftari_jwt_secret, algorithm="HS256")


def is_public(endpoint: str | None) -> bool:
    """Tell whether the view behind an endpoint was marked `public`."""
    view = current_app.view_functions.get(endpoint or "")
    return getattr(view, "is_public", False)


def _is_guarded() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, "is_guarded", False):
        return True
    if not request.path.startswith(API_PREFIX) or getattr(view, "is_public", False):
        return False
    return not _is_wrong_method_of_public_path()


def _is_wrong_method_of_public_path() -> bool:
    """A path whose methods are all public tells without a token that there is no other method."""
    error, routes = request.routing_exception, request_ctx.url_adapter
    if not isinstance(error, MethodNotAllowed) or routes is None:
        return False
    return all(is_public(routes.match(method=method)[0]) for method in error.valid_methods or ())


def _bearer_token() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _missing()
    return token.strip()


def _caller(claims: dict[str, Any]) -> Caller:
    subject, roles = claims["sub"], claims.get("roles", [])
    if not isinstance(subject, str) or not _USER.fullmatch(subject) or int(subject) > MAX_USER:
        raise _invalid()
    if not isinstance(roles, list):
        raise _invalid()
    return Caller(int(subject), frozenset(role for role in Role if role.value in roles), int(claims["exp"]))


def _is_meant(configured: str | None, claimed: list[Any]) -> bool:
    if configured:
        return configured in claimed
    return claimed == [None] or OUR_NAME in claimed


def _key_source(settings: Settings) -> KeySource:
    if settings.daftari_jwt_jwks_url:
        published = PublishedKeys(settings.daftari_jwt_jwks_url)
        return lambda token: _with_its_algorithm(published.key_for(token))
    if settings.daftari_jwt_public_key_file:
        return _key_from(settings.daftari_jwt_public_key_file)
    return lambda _token: (settings.daftari_jwt_secret, "HS256")


def _with_its_algorithm(key: PublicKey) -> tuple[Any, str]:
    return key, "RS256" if isinstance(key, RSAPublicKey) else "EdDSA"


def _key_from(file: Path) -> KeySource:
    try:
        key = load_pem_public_key(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            [f"DAFTARI_JWT_PUBLIC_KEY_FILE: {file} is not a readable PEM public key."]
        ) from error
    if is_strong(key):
        return lambda _token: _with_its_algorithm(key)
    raise ConfigurationError(
        [
            f"DAFTARI_JWT_PUBLIC_KEY_FILE: {file} must hold an RSA key of {MIN_RSA_BITS} bits or more, or Ed25519."
        ]
    )


def _missing() -> Unauthenticated:
    return Unauthenticated("TOKEN_MISSING", "Send your token in the header `Authorization: Bearer ...`.")


def _invalid() -> Unauthenticated:
    return Unauthenticated(
        "TOKEN_INVALID", "This token is not valid here, or no longer. Please sign in again."
    )
