"""The shop's pages. The server renders what is there; every change goes through the API, with a token."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.http.framework.error_responses import refusal_of
from api.http.framework.services import current_services, current_settings
from api.http.middleware.headers import PAGE_POLICY
from api.http.middleware.proxies import base_url, payment_url
from api.http.schemas.fields import MAX_DAYS, TIME_SLOTS
from api.http.schemas.pagination import MAX_PAGE
from api.pages import wording
from api.pages.buyers import DEMO_SHOP, buyer, buyer_token, is_demo_request, read_user, remember
from api.pages.phones import simulator_url
from api.pages.pictures import picture_of
from ledger import clock
from ledger.errors import NotFound
from ledger.money import Money
from ledger.session.values import BUILTIN_SHOP
from ledger.store.listing import Place
from payments.checkout.payment_links import make_link
from payments.worker.processes import FOLLOWERS
from projections import sessions
from projections.lags import lags
from shop.builtin.catalogue import MAX_PAGE_SIZE

SESSIONS_SHOWN = 20

pages = Blueprint(
    "shop", __name__, template_folder="templates", static_folder="static", static_url_path="/shop/static"
)
for show in (wording.shillings, wording.quantity, wording.measure, wording.moment, wording.time_of_day):
    pages.add_app_template_filter(show)
pages.add_app_template_filter(picture_of)


@pages.before_request
def require_demo() -> None:
    """Raise NotFound where anyone else than the developer at this machine could be asking."""
    if not is_demo_request():
        raise NotFound("There is no such page: the shop is a demo, in development, on its own machine alone.")


@pages.context_processor
def brand() -> dict[str, Any]:
    """Return whose shop it is, as its payment page shows it; the demo's own logo stands beside no other name."""
    settings = current_settings()
    logo = None if settings.daftari_shop_name else url_for("shop.static", filename="icon.svg")
    if settings.daftari_shop_logo is not None:
        logo = url_for("pay.show_logo")
    return {"shop": settings.daftari_shop_name or DEMO_SHOP, "logo": logo}


@pages.before_request
def switch_buyer() -> AnyResponse | None:
    """Remember `?user=7` as the buyer, and remove it from the URL."""
    user = read_user(request.args.get("user"))
    if user is None:
        return None
    response = redirect(request.path)
    remember(response, user)
    return response


@pages.after_request
def protect(response: Response) -> Response:
    """Keep pages out of caches, because they hold a token, and let them frame nothing."""
    if response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = f"{PAGE_POLICY}; frame-src 'none'"
        response.headers["Cache-Control"] = "no-store"
    return response


@pages.errorhandler(Exception)
def show_error(error: Exception) -> tuple[str, int, Mapping[str, str]]:
    """Show a refusal, or a fault, as a page."""
    refusal = refusal_of(error)
    return render_template("shop/error.html", refusal=refusal), refusal.status, refusal.headers


@pages.get("/")
def show_start() -> str:
    """Show what runs where, and lead there."""
    settings, services = current_settings(), current_services()
    address = urlsplit(settings.database_url)
    behind = max((lag.events for lag in lags(services.database, FOLLOWERS).values()), default=0)
    return render_template(
        "start.html",
        has_shop=settings.daftari_shop == BUILTIN_SHOP,
        api=base_url(),
        simulator=simulator_url(services.daraja_url),
        database=f"{address.hostname or 'a local socket'}, {address.path.lstrip('/') or 'postgres'}",
        folder=settings.daftari_data_dir,
        behind=behind,
    )


@pages.get("/orders/<int:order_id>")
def go_to_an_order(order_id: int) -> AnyResponse:
    """Redirect to the order's page from where the checkout contract's script ends."""
    return redirect(url_for("shop.show_order", order_id=order_id))


@pages.get("/shop/")
def show_catalogue() -> str:
    """Show what is on sale, farm by farm, and how much of it is in the cart."""
    number = min(max(request.args.get("page", 1, int), 1), MAX_PAGE)
    found = current_services().shop.catalogue.page(number, MAX_PAGE_SIZE)
    return _page(
        "catalogue",
        listings=found.listings,
        number=number,
        has_more=number * MAX_PAGE_SIZE < found.count,
    )


@pages.get("/shop/cart/")
def show_cart() -> str:
    """Show the cart, and what of it is out of stock."""
    _, shortages = current_services().shop.carts.with_shortages(buyer())
    return _page("cart", shortages={short.listing_id: short for short in shortages})


@pages.get("/shop/checkout/")
def show_checkout() -> str:
    """Show the delivery form beside the total."""
    today = clock.now().astimezone(clock.NAIROBI).date()
    return _page(
        "checkout",
        counties=current_services().builtin_shop.places.counties,
        slots=TIME_SLOTS,
        today=today,
        furthest_day=today + timedelta(days=MAX_DAYS),
        simulator=simulator_url(current_services().daraja_url),
    )


@pages.get("/shop/subcounties/")
def show_subcounties() -> str:
    """Render a county's subcounties as options, for the form."""
    county_id = request.args.get("delivery_details.county_id", 0, int)
    found = current_services().builtin_shop.places.subcounties(county_id) if county_id else ()
    return render_template("shop/subcounties.html", subcounties=found)


@pages.get("/shop/sessions/")
def show_sessions() -> str:
    """Show the buyer's latest payments."""
    now = clock.now()
    count, rows = sessions.list_of_user(
        current_services().database, buyer(), Place(now, SESSIONS_SHOWN), now=now
    )
    return _page("sessions", count=count, rows=rows, status_name=wording.status_name)


@pages.get("/shop/sessions/<uuid:session_id>/")
def pay_session(session_id: UUID) -> AnyResponse:
    """Redirect to the payment page of a session of the buyer, as a shop of one's own does."""
    services = current_services()
    session = services.ledger.session(session_id, user_id=buyer())
    return redirect(payment_url(make_link(services.vault, session.id, session.user_id)), 303)


@pages.get("/shop/orders/<int:order_id>/")
def show_order(order_id: int) -> str:
    """Show an order of the buyer."""
    services = current_services()
    order = services.shop.order_of(buyer(), order_id)
    if order is None:
        raise NotFound("There is no such order, or it belongs to someone else.")
    session = services.ledger.session(order.session_id)
    return _page(
        "order",
        order=order,
        session=session,
        refund=wording.ordered(session) if session.order_refunds else None,
        refund_names=wording.REFUND_NAMES,
    )


def _page(name: str, **shown: Any) -> str:
    """Render a page with what all pages share: the buyer, the cart, and the token for the script."""
    services = current_services()
    cart = services.shop.cart_of(buyer())
    fee_cents = services.shop.delivery_fee_cents(cart)
    exact = Money(cart.goods_cents + fee_cents)
    total = exact.to_whole_shilling()
    return render_template(
        f"shop/{name}.html",
        buyer=buyer(),
        token=buyer_token(current_settings()),
        cart=cart,
        in_cart={line.listing_id: line for line in cart.lines},
        fee_cents=fee_cents,
        rounding_cents=(total - exact).cents,
        total_cents=total.cents,
        **shown,
    )
