"""Authentication by bearer token, a JWT, an API key or a payment link, before anything else in a request is looked at.

Every path under /api/, existing or not, requires a token unless its view is marked `public`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from hmac import compare_digest
from typing import Any, TypeVar
from uuid import UUID

import jwt
from flask import Flask, Request, current_app
from flask.globals import app_ctx, request_ctx
from jwt.exceptions import InvalidJTIError, InvalidSubjectError
from werkzeug.exceptions import MethodNotAllowed

from api.http.framework import API_PREFIX
from api.http.framework.blueprint import check_names
from api.http.framework.services import SERVICES, LazyServices, current_services
from api.http.middleware.refused_access import record_refusal
from api.http.middleware.token_keys import key_source
from api.issued_tokens import OUR_NAME, TOKEN_ROLES, Role
from api.settings import Settings
from ledger.application import no_such_session
from ledger.clock import now
from ledger.errors import InvalidValue, NotAllowed, Unauthenticated
from ledger.store import metadata
from ledger.store.metadata import Cause
from ledger.store.vault import SYSTEM_USER_ID
from payments.api_keys.api_key import ApiKey, is_api_key
from payments.checkout import payment_links
from payments.revocation.token_revocations import TokenRevocations
from payments.services import Services

View = TypeVar("View", bound=Callable[..., Any])

LEEWAY_SECONDS = 30
MAX_TOKEN_CHARACTERS = 4096
KNOWN_FOR_SECONDS = 30
MAX_KNOWN = 10_000
MAX_USER = 2**63 - 1
MAX_TOKEN_ID = 200
_ROLE_SETS: dict[frozenset[Role], frozenset[Role]] = {}  # Few: one object for all tokens with the same roles.

VERIFIER = "daftari_token_verifier"
"""The extension with the TokenVerifier."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a valid token, issued at `issued_at` and good until `ends_at`, in seconds since 1970, if known.

    `token_ids` name the token: by its `jti`, if it has one, and by the text that is signed. Who sends an API key is
    nobody's user: they are `key`, the name of the key, and their user is SYSTEM_USER_ID. Who sends a payment link acts
    as the buyer of `only_session`, there and nowhere else.
    """

    user_id: int
    roles: frozenset[Role]
    ends_at: int | None = None
    token_ids: tuple[str, ...] = field(default=(), repr=False)
    issued_at: float | None = None
    key: str | None = None
    only_session: UUID | None = None

    @property
    def actor(self) -> str:
        """How events, limits and the audit log name them."""
        return f"user:{self.user_id}" if self.key is None else f"key:{self.key}"

    @property
    def logged_as(self) -> dict[str, int | str]:
        """How the log names them."""
        return {"user": self.user_id} if self.key is None else {"key_name": self.key}

    def revoke_own_token(self, revocations: TokenRevocations) -> None:
        """Refuse this caller's token from now on, in every process."""
        ends_at = None
        with suppress(ValueError, OverflowError, OSError):  # An end in another age is none.
            ends_at = datetime.fromtimestamp((self.ends_at or 0) + LEEWAY_SECONDS, UTC)
        revocations.revoke(
            self.user_id,
            self.token_ids[0],
            by=self.actor,
            reason="Signed out.",
            ends_at=ends_at,
        )

    def seconds_left(self, most: float) -> float:
        """Return for how many more seconds the token is good, at most `most`; clocks may differ a little."""
        if self.ends_at is None:
            return most
        return min(most, self.ends_at + LEEWAY_SECONDS - now().timestamp())


MONITOR = Caller(0, frozenset({Role.OPERATOR}))
"""Who sends DAFTARI_METRICS_TOKEN; only views that admit it ever see this caller."""


class TokenVerifier:
    """Turns bearer tokens into callers. The configuration fixes the algorithms; a token never chooses.

    A verified token is accepted for KNOWN_FOR_SECONDS without checking its signature again, and never beyond its end.
    `user_id_of` returns the number of the user whom a `sub` names, and raises InvalidValue for one that names nobody.
    """

    def __init__(self, settings: Settings, user_id_of: Callable[[str], int]) -> None:
        self._user_id_of = user_id_of
        self._key_for = key_source(settings)
        self._issuer = settings.daftari_jwt_issuer
        self._audience = settings.daftari_jwt_audience
        self._known: dict[str, tuple[Caller, float]] = {}
        self._known_before: dict[str, tuple[Caller, float]] = {}
        self._kept_since = 0.0

    def caller_of(self, token: str) -> Caller:
        """Return the caller whom a token names; raise Unauthenticated if it is not valid now, and Unavailable."""
        seconds = now().timestamp()
        known = self._known.get(token) or self._known_before.get(token)
        if known is not None and seconds < known[1]:
            return known[0]
        claims = self._claims_of(token)
        caller = self._caller(claims, token)
        self._forget(seconds)
        self._known[token] = caller, min(int(claims["exp"]), seconds + KNOWN_FOR_SECONDS)
        return caller

    def _forget(self, seconds: float) -> None:
        """Let go of what is no longer good, and of the older half where there is too much: each takes a kilobyte."""
        if len(self._known) >= MAX_KNOWN // 2 or abs(seconds - self._kept_since) >= KNOWN_FOR_SECONDS:
            self._known_before, self._known, self._kept_since = self._known, {}, seconds

    def _claims_of(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise _invalid(f"it is longer than {MAX_TOKEN_CHARACTERS} characters")
        try:
            claims = _decode(token, self._key_for(token))
        except (jwt.PyJWTError, ValueError, OverflowError) as error:
            raise _invalid(_why(error)) from error
        self._refuse_foreign(claims)
        return claims

    def _refuse_foreign(self, claims: dict[str, Any]) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not _is_meant(self._issuer, [claims.get("iss")]):
            raise _invalid("its iss names another issuer than ours")
        if not _is_meant(self._audience, audiences):
            raise _invalid("its aud does not name us")

    def _caller(self, claims: dict[str, Any], token: str) -> Caller:
        roles, issued_at = claims.get("roles", []), claims.get("iat")
        if not isinstance(roles, list):
            raise _invalid("its roles must be a list")
        signed, token_id = token.rpartition(".")[0], claims.get("jti")
        if token_id is not None and not 1 <= len(token_id) <= MAX_TOKEN_ID:
            raise _invalid(f"its jti must be 1 to {MAX_TOKEN_ID} characters long")
        try:
            user_id = self._user_id_of(claims["sub"])
        except InvalidValue as error:
            raise _invalid(f"its sub names no user: {error.message.rstrip('.')}") from error
        named = frozenset(role for role in TOKEN_ROLES if role.value in roles)
        return Caller(
            user_id=user_id,
            roles=_ROLE_SETS.setdefault(named, named),
            ends_at=int(claims["exp"]),
            token_ids=(signed,) if token_id is None else (token_id, signed),
            issued_at=None if issued_at is None else float(issued_at),
        )


def install_authentication(app: Flask, settings: Settings) -> None:
    """Check the token of every request to a guarded path before its view, or its absence, is looked at."""
    services: LazyServices = app.extensions[SERVICES]
    monitor = settings.daftari_metrics_token.encode()

    def user_id_of(text: str) -> int:
        return services.get().user_ids.user_id_of(text)

    verifier = app.extensions[VERIFIER] = TokenVerifier(settings, user_id_of)

    def authenticate() -> None:
        asked = request_ctx.request
        if _is_guarded(asked):
            token = bearer_token(asked.headers.get("Authorization", ""))
            if monitor and _admits_monitor(asked) and compare_digest(token.encode(), monitor):
                app_ctx.g.caller = MONITOR
                return
            found = authenticated(verifier, token, asked.remote_addr, current_services())
            keep_to_session(found, app.view_functions.get(asked.endpoint or ""), asked.view_args or {})
            app_ctx.g.caller = found
            metadata.add(actor=found.actor)

    app.before_request(authenticate)


def authenticated(verifier: TokenVerifier, token: str, address: str | None, services: Services) -> Caller:
    """Return the sender of a bearer token, by a JWT, an API key or a payment link, from a client's address.

    Raises Unauthenticated, NotFound for the link of a buyer who was erased, or Unavailable if a revocation cannot be
    known.
    """
    if token.startswith(payment_links.PREFIX):
        return _of_link(token, services)
    if is_api_key(token):
        return _of_key(services.api_keys.find(token, address))
    return accepted(verifier.caller_of(token), services)


def caller_of(token: str) -> Caller:
    """Return the caller whom a JWT names that came by other means than the header; raise Unauthenticated."""
    verifier: TokenVerifier = current_app.extensions[VERIFIER]
    return accepted(verifier.caller_of(token), current_services())


def caller() -> Caller:
    """Return the caller of this request; raise Unauthenticated on a public path, where no token is read."""
    known: Caller | None = app_ctx.g.get("caller")
    if known is None:
        raise _missing()
    return known


def public(view: View) -> View:
    """Mark a view under /api/ that requires no token."""
    view.is_public = True  # type: ignore[attr-defined]  # functions take attributes; mypy has no type for it
    return view


def admits_monitor(view: View) -> View:
    """Mark a guarded view that the token of DAFTARI_METRICS_TOKEN opens too: nothing personal may be in it."""
    view.admits_monitor = True  # type: ignore[attr-defined]  # as above
    return view


def admits_links(view: View) -> View:
    """Mark a view of one session that the session's payment link opens too."""
    view.admits_links = True  # type: ignore[attr-defined]  # as above
    return view


def keep_to_session(sender: Caller, view: Callable[..., Any] | None, names: Mapping[str, Any]) -> None:
    """Keep who sends a payment link to what it is for; `names` are those in the path.

    Raises NotFound for another session, and NotAllowed for a view without `admits_links`; a path without a view passes.
    """
    if sender.only_session is None or view is None:
        return
    if not getattr(view, "admits_links", False):
        raise NotAllowed(
            "ROLE_REQUIRED", "This needs a token; a payment link is for paying its own session alone."
        )
    if names.get("session_id") != sender.only_session:
        raise no_such_session()


def guarded(view: View) -> View:
    """Mark a view outside /api/ that requires a token all the same."""
    view.is_guarded = True  # type: ignore[attr-defined]  # as above
    return view


def require_role(*roles: Role) -> Callable[[View], View]:
    """Let only callers with one of `roles` use a view; raise NotAllowed for others, and record who tried."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            here = caller()
            if here.roles.isdisjoint(roles):
                if Role.CUSTOMER not in roles:
                    is_staff = bool(here.roles - {Role.CUSTOMER, Role.SERVER})
                    record_refusal(here.actor, here.roles, kwargs, is_staff=is_staff)
                raise NotAllowed("ROLE_REQUIRED", f"This needs a token with the role {' or '.join(roles)}.")
            if Role.OPERATOR in roles:
                metadata.add(Cause.OPERATOR)
            check_names()
            return view(*args, **kwargs)

        checked.required_roles = roles  # type: ignore[attr-defined]  # read by the OpenAPI document
        return checked  # type: ignore[return-value]  # wraps keeps the signature

    return decorate


def is_public(endpoint: str | None) -> bool:
    """Tell whether the view behind an endpoint was marked `public`."""
    view = app_ctx.app.view_functions.get(endpoint or "")
    return getattr(view, "is_public", False)


def _is_guarded(asked: Request) -> bool:
    view = app_ctx.app.view_functions.get(asked.endpoint or "")
    if getattr(view, "is_guarded", False):
        return True
    if not asked.path.startswith(API_PREFIX) or getattr(view, "is_public", False):
        return False
    return not _is_wrong_method_of_public_path(asked)


def _admits_monitor(asked: Request) -> bool:
    return getattr(app_ctx.app.view_functions.get(asked.endpoint or ""), "admits_monitor", False)


def _is_wrong_method_of_public_path(asked: Request) -> bool:
    """A path whose methods are all public tells without a token that there is no other method."""
    error, routes = asked.routing_exception, request_ctx.url_adapter
    if not isinstance(error, MethodNotAllowed) or routes is None:
        return False
    return all(is_public(routes.match(method=method)[0]) for method in error.valid_methods or ())


def _of_key(key: ApiKey) -> Caller:
    ends_at = None if key.ends_at is None else int(key.ends_at.timestamp())
    return Caller(SYSTEM_USER_ID, frozenset({Role(key.role)}), ends_at=ends_at, key=key.name)


def _of_link(token: str, services: Services) -> Caller:
    found = payment_links.read_link(services.vault, token)
    if found is None:
        raise _invalid("it is not a payment link of ours")
    session_id, user_id = found
    if services.vault.is_erased(user_id):
        raise no_such_session()
    return Caller(user_id, frozenset({Role.CUSTOMER}), only_session=session_id)


def bearer_token(authorization: str) -> str:
    """Return the token in an Authorization header, "" if there is none; raise Unauthenticated if there is no token."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _missing()
    return token.strip()


def accepted(known: Caller, services: Services) -> Caller:
    """Return a caller whose token was not revoked; raise Unauthenticated, or Unavailable if that cannot be known."""
    if services.revocations.is_revoked(known.user_id, known.token_ids, known.issued_at):
        raise _invalid("it was revoked")
    return known


def _decode(token: str, keys: list[tuple[Any, str]]) -> dict[str, Any]:
    """Return the claims of a token that one of the keys verifies; raise as the last of them does."""
    failure: jwt.PyJWTError = jwt.InvalidKeyError("There is no key.")
    for key, algorithm in keys:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub"], "verify_aud": False, "verify_iss": False},
            )
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as error:
            failure = error
        else:
            return claims
    raise failure


_REASONS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "its exp has passed",
    jwt.ImmatureSignatureError: "its nbf or iat lies ahead",
    jwt.InvalidIssuedAtError: "its iat is not a number of seconds since 1970",
    InvalidSubjectError: "its sub must be text, such as the text of a number",
    InvalidJTIError: "its jti must be text",
    jwt.InvalidSignatureError: "its signature is not of a key that is accepted here",
    jwt.InvalidAlgorithmError: "its alg is not the one of the keys that are accepted here",
    jwt.InvalidKeyError: "its kid names no key that is accepted here",
    OverflowError: "its exp or nbf is not a number of seconds since 1970",
}
"""What is wrong with a token, by the error that PyJWT raises; it follows `This token is not accepted:`."""


def _why(error: Exception) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"its {error.claim} is missing"
    known = (reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    return next(known, "it is not a JWT, or a claim of it cannot be read")


def _is_meant(configured: str | None, claimed: list[Any]) -> bool:
    if configured:
        return configured in claimed
    return claimed == [None] or OUR_NAME in claimed


def _missing() -> Unauthenticated:
    return Unauthenticated("TOKEN_MISSING", "Send your token in the header `Authorization: Bearer ...`.")


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated("TOKEN_INVALID", f"This token is not accepted: {why}.")
