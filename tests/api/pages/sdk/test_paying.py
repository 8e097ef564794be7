"""daftari.js in a browser, on a page of another origin: from the cart to the order, whatever fails between."""

from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import BrowserContext, Route

from payments.checkout.payment_links import make_link
from tests.api.pages.sdk.world import PayServer, ShopPage
from tests.support.static_server import static_server

CREATE = "(details) => daftari.create({ delivery_details: details })"
STREAM, LONG_POLL, POLL = "stream/", "status/?wait=25&after=", "status/"
READ = "(url) => fetch(url).then((answer) => answer.status)"
WAIT_LESS = "{ const later = setTimeout; setTimeout = (run, ms) => later(run, ms < 20_000 ? 0 : ms); }"
NO_ROOM = '{"status": "error", "message": "Full.", "error_code": "NO_ROOM_TO_WAIT"}'


def begin(shop: ShopPage) -> str:
    """Create a session and send its prompt; return its id."""
    session_id: str = shop.run(CREATE, shop.server.delivery)["session_id"]
    assert shop.run("(id) => daftari.pay(id)", session_id)["status"] == "success"
    return session_id


def refuse(shop: ShopPage, pattern: str, status: int, body: str = "", **headers: str) -> None:
    """Answer requests of a kind in the server's place."""
    allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After", **headers}

    def answer(route: Route) -> None:
        route.fulfill(status=status, headers=allowed, body=body, content_type="application/json")

    shop.page.route(pattern, answer)


def test_a_page_creates_pays_and_watches_to_the_order(shop: ShopPage, server: PayServer) -> None:
    session_id = begin(shop)
    shop.watch(session_id)
    shop.wait_for("seen.length > 0")
    server.approve()
    end = shop.outcome()
    assert end["session_status"] == "order_created"
    assert end["order"]["order_number"].startswith("ORD-")
    seen = shop.run("() => seen")
    assert (seen[0], seen[-1]) == ("payment_initiated", "order_created")
    assert shop.paths() == [STREAM]
    assert shop.run("(id) => daftari.session(id)", session_id)["receipt"] == end["receipt"]


@pytest.mark.system
def test_nothing_secret_is_in_a_url_and_no_cookie_is_sent(shop: ShopPage, server: PayServer) -> None:
    shop.page.context.add_cookies([{"name": "console", "value": "secret", "url": server.url}])
    session_id = begin(shop)
    sent = [asked for asked in shop.asked if "/api/" in asked.url]
    assert len(sent) == 2
    for asked in sent:
        assert server.token() not in asked.url
        assert "cookie" not in asked.all_headers()
    assert session_id in sent[1].url


@pytest.mark.system
def test_a_stream_that_is_cut_goes_on_after_what_was_seen(shop: ShopPage, server: PayServer) -> None:
    shop.watch(begin(shop))
    shop.wait_for("seen.length > 0")
    server.proxy.cut()
    shop.wait_for("problems.length > 0")
    server.proxy.restore()
    server.approve()
    assert shop.outcome()["session_status"] == "order_created"
    seen = shop.run("() => seen")
    assert len(seen) == len(set(seen))
    assert set(shop.run("() => problems")) == {"NETWORK"}
    again = [asked for asked in shop.asked if asked.url.endswith("/stream/")][1]
    assert int(again.all_headers()["last-event-id"]) >= 3


@pytest.mark.system
@pytest.mark.parametrize("status", [404, 500, 200])
def test_a_stream_that_a_proxy_does_not_let_through_is_replaced_by_long_polls(
    shop: ShopPage, server: PayServer, status: int
) -> None:
    refuse(shop, "**/stream/", status)
    shop.watch(begin(shop))
    shop.wait_for("seen.length > 0")
    server.approve()
    assert shop.outcome()["session_status"] == "order_created"
    asked = shop.paths()
    assert asked[0] == STREAM
    assert len(asked) >= 3
    assert all(path.startswith(LONG_POLL) for path in asked[1:])
    assert asked[1] == f"{LONG_POLL}0"


@pytest.mark.system
def test_who_finds_no_room_to_wait_polls(shop: ShopPage, server: PayServer) -> None:
    refuse(shop, "**/stream/", 503, NO_ROOM, **{"Retry-After": "30"})
    shop.watch(begin(shop))
    shop.wait_for("seen.length > 0")
    server.approve()
    assert shop.outcome()["session_status"] == "order_created"
    assert shop.paths()[:2] == [STREAM, POLL]
    assert set(shop.paths()[1:]) == {POLL}


@pytest.mark.system
def test_a_watch_outlives_the_server(shop: ShopPage, server: PayServer) -> None:
    shop.watch(begin(shop))
    shop.wait_for("seen.length > 0")
    server.stop()
    shop.wait_for("problems.length > 1")
    server.start()
    server.approve()
    assert shop.outcome()["session_status"] == "order_created"


@pytest.mark.system
def test_a_browser_that_was_offline_goes_on_at_once(shop: ShopPage, server: PayServer) -> None:
    context: BrowserContext = shop.page.context
    session_id = begin(shop)
    context.set_offline(True)
    shop.watch(session_id)
    shop.wait_for("problems.length > 2")
    server.approve()
    context.set_offline(False)
    assert shop.outcome()["session_status"] == "order_created"
    assert shop.paths()[-1] == STREAM


@pytest.mark.system
def test_a_payment_that_is_cancelled_ends_the_watch(shop: ShopPage, server: PayServer) -> None:
    shop.watch(begin(shop))
    server.simulator.cancel(server.prompt())
    end = shop.outcome()
    assert (end["session_status"], end["reason"]["code"]) == ("failed", "CANCELLED_BY_USER")


@pytest.mark.system
def test_a_page_of_an_origin_that_is_not_named_can_do_nothing(
    shop: ShopPage, server: PayServer, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>Elsewhere</title>", encoding="utf-8")
    catalogue = f"{server.url}/api/catalogue/"
    assert shop.run(READ, catalogue) == 200
    with static_server(tmp_path) as origin:
        shop.load(origin, server.token())
        shop.page.evaluate(WAIT_LESS)
        refused = shop.run(CREATE, server.delivery)
        assert (refused["code"], refused["status"]) == ("NETWORK", 0)
        assert shop.run(READ, catalogue)["name"] == "TypeError"
    assert server.client().get("/api/payments/sessions/").json()["count"] == 0


@pytest.mark.system
def test_more_time_is_given(shop: ShopPage) -> None:
    session = shop.run(CREATE, shop.server.delivery)
    assert shop.run("(id) => daftari.extend(id)", session["session_id"])["expires_at"] > session["expires_at"]


@pytest.mark.system
def test_a_page_with_a_payment_link_pays_its_session_and_does_nothing_else(
    shop: ShopPage, server: PayServer, shop_origin: str
) -> None:
    session_id = server.client().create(delivery_details=server.delivery).json()["session_id"]
    link = make_link(server.server.services.vault, UUID(session_id), server.buyer)
    shop.load(shop_origin, link)
    assert shop.run(CREATE, server.delivery)["status"] == 403
    assert shop.run("(id) => daftari.pay(id)", session_id)["status"] == "success"
    shop.watch(session_id)
    server.approve()
    assert shop.outcome()["session_status"] == "order_created"
    assert shop.paths() == [STREAM]
    assert not [asked for asked in shop.asked if link in asked.url]
