"""The payment page: whoever has a session's payment link pays there, in English or Swahili, with or without scripts."""

from collections.abc import Mapping
from urllib.parse import urlsplit
from uuid import UUID

from flask import Blueprint, Response, g, redirect, render_template, request, send_file, url_for
from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Response as AnyResponse

from api.brand_settings import LOGO_TYPES
from api.http.framework.error_responses import refusal_of
from api.http.framework.services import current_services, current_settings
from api.http.middleware.auth import Caller
from api.http.middleware.proxies import base_url
from api.http.middleware.rate_limit import count_as
from api.issued_tokens import Role
from api.pages.buyers import DEMO_SHOP, is_demo_request
from api.pages.pay.texts import LANGUAGES, Words, words_for
from api.pages.pay.view import PaymentView, refunds_of, shown_amounts, view_of
from api.pages.phones import phone_url, simulator_url
from api.pages.wording import shillings
from ledger import clock
from ledger.application import no_such_session
from ledger.errors import LedgerError, NotFound
from ledger.phone import PhoneNumber
from ledger.session.session import PaymentSession
from ledger.session.values import BUILTIN_SHOP
from ledger.store import metadata
from ledger.store.customer_keys import Erased
from ledger.store.vault import PHONE
from payments.checkout.payment_links import read_link

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
BRAND_SECONDS = 300
RELOAD_SECONDS = 5
"""How often the page reloads itself while something may change, where scripts do not run."""

_UNDERWAY = frozenset({"PAYMENT_IN_PROGRESS", "SESSION_ALREADY_PAID", "SESSION_EXPIRED", "SESSION_FAILED"})
"""Refusals that the page, shown anew, explains by the state of the session."""

pages = Blueprint(
    "pay", __name__, template_folder="templates", static_folder="static", static_url_path="/pay/static"
)


@pages.after_request
def protect(response: Response) -> Response:
    """Keep the page out of caches, frames and the `Referer` of where it leads."""
    if response.mimetype == "text/html" or response.status_code == 303:
        simulator = simulator_url(current_services().daraja_url) if is_demo_request() else None
        frames = f"; frame-src {simulator}" if simulator else ""
        response.headers["Content-Security-Policy"] = POLICY + frames
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Robots-Tag"] = "noindex"
        response.headers["Vary"] = "Accept-Language"
    return response


@pages.errorhandler(Exception)
def show_error(error: Exception) -> tuple[str, int, Mapping[str, str]]:
    """Show a refusal, or a fault, in the buyer's language; a payment of an erased buyer is as one that never was."""
    refusal = refusal_of(NotFound() if isinstance(error, Erased) else error)
    g.error_code = refusal.code
    name, words = "not_found" if refusal.status == 404 else "trouble", _words()
    says = words(f"{name}_says") if refusal.status == 404 else words.of_code(refusal.code, f"{name}_says")
    shown = render_template("pay/error.html", heading=words(name), says=says, **_frame(words))
    return shown, refusal.status, refusal.headers


@pages.get("/pay/<link>/")
def show_payment(link: str) -> str:
    """Show what is paid for, the state of the payment, and what the buyer can do."""
    return _show(*_named(link), link)


@pages.post("/pay/<link>/")
def press(link: str) -> AnyResponse | tuple[str, int]:
    """Send the prompt, or give more time; then show the page anew, or say why it was refused."""
    _require_own_form()
    session_id, user_id = _named(link)
    metadata.add(actor=f"user:{user_id}")
    try:
        _do(request.form.get("do", ""), session_id, user_id)
    except LedgerError as error:
        refusal = refusal_of(error)
        if isinstance(error, NotFound | Erased):
            raise
        if refusal.code not in _UNDERWAY:
            g.error_code = refusal.code
            return _show(session_id, user_id, link, refused=refusal.code), refusal.status
    return redirect(url_for("pay.show_payment", link=link, lang=_chosen()), 303)


@pages.get("/pay/brand.css")
def show_brand() -> Response:
    """Serve the shop's colour: the page may have no styles of its own inside."""
    css = f":root {{ --brand: {current_settings().daftari_shop_colour}; }}\n"
    return Response(css, mimetype="text/css", headers={"Cache-Control": f"public, max-age={BRAND_SECONDS}"})


@pages.get("/pay/logo")
def show_logo() -> Response:
    """Serve the shop's logo. Raises NotFound without one."""
    file = current_settings().daftari_shop_logo
    if file is None:
        raise NotFound("This shop has no logo.")
    return send_file(file.resolve(), mimetype=LOGO_TYPES[file.suffix], max_age=BRAND_SECONDS)


def _named(link: str) -> tuple[UUID, int]:
    """Return the session and the user whom a link names; count the request as theirs, as with the link as token.

    Raises NotFound for a link that is none, TooManyRequests and Unavailable.
    """
    found = read_link(current_services().vault, link)
    if found is None:
        raise no_such_session()
    session_id, user_id = found
    count_as(Caller(user_id, frozenset({Role.CUSTOMER}), only_session=session_id))
    if current_services().vault.is_erased(user_id):
        raise no_such_session()
    return found


def _require_own_form() -> None:
    """Refuse what another site's page posts. Raises Forbidden.

    The page sends no referrer, so that older browsers say `Origin: null`; newer ones say `Sec-Fetch-Site`.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin", "null")
    own = urlsplit(base_url())
    is_own = site == "same-origin" if site else origin in ("null", f"{own.scheme}://{own.netloc}")
    if not is_own:
        raise Forbidden("This was sent by a page of another site.")


def _do(what: str, session_id: UUID, user_id: int) -> None:
    checkout = current_services().checkout
    if what == "extend":
        checkout.extend(user_id, session_id)
        return
    typed = request.form.get("phone", "").strip()
    checkout.initiate(user_id, session_id, PhoneNumber.parse(typed) if typed else None)


def _show(session_id: UUID, user_id: int, link: str, refused: str = "") -> str:
    services, settings, words = current_services(), current_settings(), _words()
    view = view_of(services, words, session_id, user_id, settings.daftari_max_extensions)
    session = view.session
    return render_template(
        "pay/payment.html",
        view=view,
        refused=words.of_code(refused, "trouble_says") if refused else "",
        wrong_number=refused == "INVALID_INPUT",
        amount=shillings(session.totals.total_cents),
        amounts=shown_amounts(words, session),
        refunds=refunds_of(words, session),
        expires_at=words.moment(session.expires_at, clock.now()),
        paybill=services.paybill,
        phone_url=_simulated_phone(session),
        back=_back(view),
        reload_seconds=RELOAD_SECONDS,
        action=url_for("pay.press", link=link, lang=_chosen()),
        **_frame(words),
    )


def _frame(words: Words) -> dict[str, object]:
    """Return what each page shows around its content."""
    settings = current_settings()
    shop = settings.daftari_shop_name or (DEMO_SHOP if is_demo_request() else "")
    return {
        "words": words,
        "languages": LANGUAGES,
        "shop": shop,
        "title": words("pay_to", shop=shop) if shop else words("title"),
        "has_logo": settings.daftari_shop_logo is not None,
    }


def _back(view: PaymentView) -> str | None:
    """Return where the buyer goes back to: as the session's maker said, or to the demo shop."""
    is_done = view.session.order is not None
    if view.session.shop == BUILTIN_SHOP and is_demo_request():
        if view.session.order is not None and view.session.order[0] is not None:
            return url_for("shop.show_order", order_id=view.session.order[0])
        return url_for("shop.show_checkout")
    return view.urls.success_url if is_done else view.urls.cancel_url


def _simulated_phone(session: PaymentSession) -> str | None:
    """Return the simulated phone on a developer's own machine; only there the page knows the whole number."""
    services = current_services()
    if not is_demo_request() or session.order or not session.attempts:
        return None
    sealed = list(session.attempts.values())[-1].phone_sealed
    phone = services.vault.decrypt(session.user_id, sealed, purpose=PHONE, row=session.id)
    return phone_url(services.daraja_url, PhoneNumber(phone))


def _chosen() -> str | None:
    chosen = request.args.get("lang")
    return chosen if chosen in LANGUAGES else None


def _words() -> Words:
    return words_for(_chosen(), request.accept_languages)
