"""The demo buyer, chosen by number in the URL and remembered in a cookie."""

from datetime import timedelta

from flask import g, request
from werkzeug.wrappers import Response

from api.http.framework.services import current_services, current_settings
from api.http.middleware.auth import MAX_USER
from api.http.middleware.proxies import is_from_this_machine
from api.issued_tokens import Role, make_token
from api.setting_rules import ConfigurationError
from api.setting_values import is_near
from api.settings import Settings
from ledger.errors import Unavailable

DEMO_SHOP = "Soko"
"""The demo shop's name, where the settings give none."""

FIRST_BUYER = 1
TOKEN_MINUTES = 60
COOKIE = "daftari_buyer"
COOKIE_PATH = "/shop/"
COOKIE_DAYS = 30

_MAX_DIGITS = len(str(MAX_USER))


def is_demo_request() -> bool:
    """Tell whether this request may see the demo: it comes from this machine, and M-Pesa is the simulator.

    The address of M-Pesa counts as it is in use, because credentials can be stored in the database too.
    """
    return current_settings().has_demo and is_from_this_machine() and is_near(current_services().daraja_url)


def buyer() -> int:
    """Return the buyer of this request: the cookie's, else the first demo buyer."""
    if "buyer" not in g:
        g.buyer = read_user(request.cookies.get(COOKIE)) or FIRST_BUYER
    user: int = g.buyer
    return user


def read_user(text: str | None) -> int | None:
    """Return the user id in a text, None if there is none."""
    if not text or len(text) > _MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    user = int(text)
    return user if 0 < user <= MAX_USER else None


def remember(response: Response, user: int) -> None:
    """Keep the choice of a buyer in the browser; the cookie proves nothing and gives no access."""
    response.set_cookie(
        COOKIE,
        str(user),
        max_age=timedelta(days=COOKIE_DAYS),
        path=COOKIE_PATH,
        httponly=True,
        samesite="Lax",
    )


def buyer_token(settings: Settings) -> str:
    """Make the buyer's token for the page's script; raise Unavailable if others issue the tokens."""
    try:
        return make_token(settings, buyer(), [Role.CUSTOMER], TOKEN_MINUTES)
    except ConfigurationError as error:
        raise Unavailable(f"The shop page makes tokens for demo buyers. {error.message}") from error
