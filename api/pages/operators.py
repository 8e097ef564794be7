"""Who is at the work page: an operator, or an auditor who looks on, whose bearer token no script can read.

The token lies in a cookie. That goes to this page alone and never with a request that another site began
(SameSite=Strict). Each form carries a proof made from the cookie and the master key as well, so that nobody can have an
operator press a button.
"""

import hmac
from typing import Any

from flask import request
from werkzeug.wrappers import Response

from api.http.framework.services import current_services, current_settings
from api.http.middleware.auth import Caller, Role, caller_of, make_token
from api.http.middleware.proxies import base_url
from api.settings import ConfigurationError
from ledger.errors import NotAllowed, Unauthenticated, Unavailable

COOKIE = "daftari_operator"
COOKIE_PATH = "/work/"
PROOF = "proof"
MAX_COOKIE_CHARACTERS = 3_800
"""What a browser keeps in one cookie is about 4 KB, its name and attributes included."""

DEMO_OPERATOR = 9
DEMO_MINUTES = 60

_PURPOSE = b"forms of the work page\0"


_MAY_LOOK = frozenset({Role.OPERATOR, Role.AUDITOR})


def who_is_here() -> Caller | None:
    """Return the operator or auditor who is signed in, None where nobody is, or his token has run out."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    try:
        found = caller_of(token)
    except Unauthenticated:
        return None
    return None if found.roles.isdisjoint(_MAY_LOOK) else found


def operator_here() -> Caller | None:
    """Return who is signed in, None where nobody is; raise NotAllowed for an auditor, who only looks."""
    here = who_is_here()
    if here is not None and Role.OPERATOR not in here.roles:
        raise NotAllowed("ROLE_REQUIRED", "Auditors look on; this is for operators.")
    return here


def check(token: str) -> str:
    """Return the token of an operator or auditor, trimmed. Raises Unauthenticated and NotAllowed."""
    token = token.strip().removeprefix("Bearer ").strip()
    if len(token) > MAX_COOKIE_CHARACTERS:
        raise Unauthenticated(
            "TOKEN_INVALID", "This token is too long for this page. Ask for one with fewer claims."
        )
    if caller_of(token).roles.isdisjoint(_MAY_LOOK):
        raise NotAllowed("ROLE_REQUIRED", "This token is good, and its holder is no operator nor auditor.")
    return token


def demo_token() -> str:
    """Make the demo operator's token; raise NotAllowed in production, Unavailable where others issue the tokens."""
    settings = current_settings()
    if settings.is_production:
        raise NotAllowed("ROLE_REQUIRED", "There is no demo operator in production. Sign in with your token.")
    try:
        return make_token(settings, DEMO_OPERATOR, [Role.OPERATOR], DEMO_MINUTES)
    except ConfigurationError as error:
        raise Unavailable(error.message) from error


def sign_in(response: Response, token: str) -> None:
    """Keep an operator's token in the browser until it is closed."""
    response.set_cookie(COOKIE, token, **_attributes())


def sign_out(response: Response) -> None:
    """Forget the token."""
    response.delete_cookie(COOKIE, **_attributes())


def proof() -> str:
    """Return what each form of this operator's page carries."""
    token = request.cookies.get(COOKIE, "")
    return current_services().vault.sign(_PURPOSE + token.encode()).hex()


def require_proof() -> None:
    """Raise NotAllowed where a form was not made by us for whoever sends it."""
    given = request.form.get(PROOF, "")
    if not hmac.compare_digest(given.encode(), proof().encode()):
        raise NotAllowed("ROLE_REQUIRED", "This page is too old. Go back, reload it, and press again.")


def _attributes() -> dict[str, Any]:
    return {
        "path": COOKIE_PATH,
        "httponly": True,
        "samesite": "Strict",
        "secure": base_url().startswith("https:"),
    }
