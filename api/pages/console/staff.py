"""The sign-in of the work page: the bearer token of an operator or auditor, in a cookie that no script can read.

The cookie is sent to this page alone, and never with a request from another site (SameSite=Strict). Each form also
carries a proof made from the cookie and the master key, so that no other site can submit one. The form to sign in has
a proof of its own, made from a cookie without meaning: no other site can sign a browser in as somebody else.
"""

import hmac
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import g, request
from werkzeug.wrappers import Response

from api.http.framework.services import current_services, current_settings
from api.http.middleware.auth import Caller, caller_of
from api.http.middleware.proxies import base_url
from api.issued_tokens import Role, make_token
from api.pages.buyers import is_demo_request
from api.settings import ConfigurationError
from ledger.errors import NotAllowed, Unauthenticated, Unavailable
from ledger.store import metadata
from ledger.store.metadata import Cause

COOKIE = "daftari_operator"
FORM_COOKIE = "daftari_form"
COOKIE_PATH = "/work/"
PROOF = "proof"
MAX_COOKIE_CHARACTERS = 3_800
"""A browser keeps about 4 KB a cookie, its name and attributes included."""

DEMO_OPERATOR = 9
DEMO_MINUTES = 60

_PURPOSE = b"forms of the work page\0"


_READERS = frozenset({Role.OPERATOR, Role.AUDITOR})


def signed_in() -> Caller | None:
    """Return the operator or auditor who is signed in, None if there is none or their token has expired."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    try:
        found = caller_of(token)
    except Unauthenticated:
        return None
    if found.roles.isdisjoint(_READERS):
        return None
    g.caller = found  # Who is asking, for the log.
    return found


def signed_in_operator() -> Caller | None:
    """Return the operator who is signed in, None if there is none; raise NotAllowed for an auditor."""
    caller = signed_in()
    if caller is not None and Role.OPERATOR not in caller.roles:
        raise NotAllowed("ROLE_REQUIRED", "Auditors only read; this is for operators.")
    if caller is not None:
        metadata.add(Cause.OPERATOR, actor=f"user:{caller.user_id}")
    return caller


def check(token: str) -> str:
    """Return the token of an operator or auditor, trimmed. Raises Unauthenticated and NotAllowed."""
    token = token.strip().removeprefix("Bearer ").strip()
    if len(token) > MAX_COOKIE_CHARACTERS:
        raise Unauthenticated(
            "TOKEN_INVALID", "This token is too long for this page. Request one with fewer claims."
        )
    if caller_of(token).roles.isdisjoint(_READERS):
        raise NotAllowed("ROLE_REQUIRED", "This token is valid but lacks the role operator or auditor.")
    return token


def has_demo_operator() -> bool:
    """Tell whether the developer at this machine may become an operator without a token."""
    return current_settings().daftari_demo_operator == "on" and is_demo_request()


def demo_token() -> str:
    """Make the demo operator's token; raise NotAllowed if there is none, Unavailable if others issue the tokens."""
    settings = current_settings()
    if not has_demo_operator():
        raise NotAllowed("ROLE_REQUIRED", "There is no demo operator here. Sign in with your token.")
    try:
        return make_token(settings, DEMO_OPERATOR, [Role.OPERATOR], DEMO_MINUTES)
    except ConfigurationError as error:
        raise Unavailable(error.message) from error


def sign_in(response: Response, token: str) -> None:
    """Keep an operator's token in the browser until it is closed."""
    response.set_cookie(COOKIE, token, **_attributes())


def sign_out(response: Response) -> None:
    """Delete the token from the browser."""
    response.delete_cookie(COOKIE, **_attributes())


def know_browser(response: Response, secret: str) -> None:
    """Give a browser that is not signed in the cookie that its form's proof is made from."""
    response.set_cookie(FORM_COOKIE, secret, **_attributes())


def form_secret() -> str:
    """Return the cookie that proofs are made from: of who is signed in, or who has seen the form; else a new one."""
    return request.cookies.get(COOKIE) or request.cookies.get(FORM_COOKIE) or secrets.token_hex(16)


def proof_of(secret: str) -> str:
    """Return the proof that each form carries, of the cookie that it was made for."""
    return current_services().vault.sign(_PURPOSE + secret.encode()).hex()


def require_proof() -> None:
    """Raise NotAllowed if a form comes from another site, or was not made for the browser that submits it."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
    own = {_origin_of(base_url()), _origin_of(request.root_url)}
    if site not in ("same-origin", "none") or (origin is not None and origin not in own):
        raise NotAllowed(
            "ROLE_REQUIRED", "This form was sent by another site. Open the work page and press there."
        )
    given = request.form.get(PROOF, "")
    if not hmac.compare_digest(given.encode(), proof_of(form_secret()).encode()):
        raise NotAllowed("ROLE_REQUIRED", "This page is too old. Go back, reload it, and press again.")


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _attributes() -> dict[str, Any]:
    return {
        "path": COOKIE_PATH,
        "httponly": True,
        "samesite": "Strict",
        "secure": base_url().startswith("https:"),
    }
