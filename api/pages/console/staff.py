"""Who is signed in to the console: the bearer token of a member of the staff, in a cookie that no script can read.

The cookie is sent to the console alone, and never with a request from another site (SameSite=Strict). Each form also
carries a proof made from the cookie and the master key, so that no other site can submit one. The form to sign in has
a proof of its own, made from a cookie without meaning: no other site can sign a browser in as somebody else.
"""

import hmac
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import g, make_response, render_template, request
from werkzeug.wrappers import Response

from api.http.framework.services import current_services, current_settings
from api.http.middleware.auth import Caller, caller_of
from api.http.middleware.proxies import base_url
from api.issued_tokens import Role, make_token
from api.pages.buyers import is_demo_request
from api.pages.console.navigation import STAFF
from api.setting_rules import ConfigurationError
from ledger.errors import NotAllowed, Unauthenticated, Unavailable

COOKIE = "daftari_operator"
FORM_COOKIE = "daftari_form"
COOKIE_PATH = "/console/"
PROOF = "proof"
HERE = "console_here"
"""Where the request keeps who is signed in."""
MAX_COOKIE_CHARACTERS = 3_800
"""A browser keeps about 4 KB a cookie, its name and attributes included."""

DEMO_USERS = {Role.OPERATOR: 9, Role.AUDITOR: 10, Role.ANALYST: 11}
DEMO_MINUTES = 60
MAX_PAGE_CHARACTERS = 500

_PURPOSE = b"forms of the work page\0"


def signed_in() -> Caller | None:
    """Return the member of the staff who is signed in, None if there is none or their token has expired."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    try:
        found = caller_of(token)
    except Unauthenticated:
        return None
    if found.roles.isdisjoint(STAFF):
        return None
    g.caller = found  # Who is asking, for the log.
    setattr(g, HERE, found)
    return found


def check(token: str) -> str:
    """Return the token of a member of the staff, trimmed. Raises Unauthenticated and NotAllowed."""
    token = token.strip().removeprefix("Bearer ").strip()
    if len(token) > MAX_COOKIE_CHARACTERS:
        raise Unauthenticated(
            "TOKEN_INVALID", "This token is too long for this page. Request one with fewer claims."
        )
    if caller_of(token).roles.isdisjoint(STAFF):
        raise NotAllowed(
            "ROLE_REQUIRED", "This token is valid but lacks the role operator, auditor or analyst."
        )
    return token


def has_demo() -> bool:
    """Tell whether the developer at this machine may sign in without a token."""
    return current_settings().daftari_demo_operator == "on" and is_demo_request()


def demo_token(name: str) -> str:
    """Make the token of the demo operator, auditor or analyst.

    Raises NotAllowed if there is none, Unavailable if others issue the tokens.
    """
    role = Role(name) if name in STAFF else Role.OPERATOR
    if not has_demo():
        raise NotAllowed("ROLE_REQUIRED", "There is no demo operator here. Sign in with your token.")
    try:
        return make_token(current_settings(), DEMO_USERS[role], [role], DEMO_MINUTES)
    except ConfigurationError as error:
        raise Unavailable(error.message) from error


def page_asked_for(given: str) -> str:
    """Return the page to go to after signing in: the one that was asked for, else the console's first."""
    is_ours = given.startswith(COOKIE_PATH) and given.isprintable() and len(given) <= MAX_PAGE_CHARACTERS
    return given if is_ours else COOKIE_PATH


def sign_in_form() -> Response:
    """Return the form to sign in, which leads to the page that was asked for."""
    secret = form_secret()
    shown = render_template(
        "console/sign_in.html", demo=has_demo(), proof=proof_of(secret), page=page_asked_for(_page())
    )
    response = make_response(shown)
    if COOKIE not in request.cookies:
        know_browser(response, secret)
    return response


def _page() -> str:
    return request.full_path if request.query_string else request.path


def sign_in(response: Response, token: str) -> None:
    """Keep a token in the browser until it is closed."""
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
            "ROLE_REQUIRED", "This form was sent by another site. Open the console and press there."
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
