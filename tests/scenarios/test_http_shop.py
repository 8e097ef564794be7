"""DAFTARI_SHOP=http: carts, stock and orders are a shop's of its own, which runs as a process beside Daftari."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from freezegun import freeze_time
from structlog.testing import capture_logs

from api import shop_wiring
from api.local.preflight import Level, run_preflight_checks
from ledger import clock as time
from ledger.session.values import HTTP_SHOP
from tests.scenarios.steps import PHONE as NUMBER
from tests.scenarios.steps import Clock, approve, cases, count, event_names, refund_due_cents
from tests.support.instance import DELIVERY, Client, Instance, running_instance
from tests.support.outside_shop import (
    SECRET,
    SPOILT,
    TOMATOES,
    ReferenceShop,
    ShopProxy,
    reference_shop,
    shop_proxy,
)

NOTE = {"note": "The shop is closed."}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferenceShop]:
    with reference_shop(tmp_path_factory.mktemp("shop")) as running:
        yield running


@pytest.fixture
def shop(process: ReferenceShop) -> ReferenceShop:
    """The shop, with 40 kg of tomatoes and no carts."""
    process.empty()
    return process


@pytest.fixture
def proxy(shop: ReferenceShop) -> Iterator[ShopProxy]:
    with shop_proxy(shop.url) as running:
        yield running


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Time that stands at now, because the shop refuses requests that were signed long ago; its time-outs pass."""
    with freeze_time(datetime.now(UTC), ignore=["daraja.wire"]) as frozen:
        assert isinstance(frozen, Clock)
        yield frozen


@pytest.fixture
def instance(
    clock: Clock,  # noqa: ARG001 - for what it does to time
    database_url: str,
    data_folder: Path,
    proxy: ShopProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Instance]:
    monkeypatch.setattr(shop_wiring, "ANSWER_SECONDS", 1.0)
    of_shop = {
        "DAFTARI_SHOP": "http",
        "DAFTARI_SHOP_URL": proxy.url,
        "DAFTARI_SHOP_SECRET": SECRET,
    }
    with running_instance(database_url, data_folder, **of_shop) as running:
        yield running


@pytest.fixture
def buyer(instance: Instance, shop: ReferenceShop) -> Client:
    """User 1, with 2 kg of tomatoes in the shop's cart: 300.00, and 50.00 for the delivery."""
    shop.put_in_cart(1, "2")
    return instance.client(1)


def retried(instance: Instance, clock: Clock) -> None:
    """Let the worker try again what an outage stopped."""
    clock.tick(20)
    instance.work()


def test_a_cart_of_the_shop_is_paid_and_becomes_an_order_there(
    instance: Instance, buyer: Client, shop: ReferenceShop
) -> None:
    created = buyer.create().json()
    [item] = created["cart_snapshot"]["items"]
    assert (item["product_name"], item["quantity"], item["subtotal"]) == ("Fresh Tomatoes", 2.0, 300.0)
    assert (created["total_amount"], created["delivery_fee"]) == ("350.00", "50.00")
    session_id = created["session_id"]
    assert buyer.initiate(session_id).status_code == 200
    approve(instance)
    instance.work()
    shown = buyer.status(session_id)
    assert shown["session_status"] == "order_created"
    [order] = shop.orders()
    assert (order["session_id"], order["user"], order["total"]) == (session_id, "1", "350.00")
    assert order["delivery_details"]["full_name"] == DELIVERY["full_name"]
    [line] = order["lines"]
    assert (line["listing_id"], line["quantity"], line["unit_price"]) == (TOMATOES, "2", "150.00")
    assert shown["order"]["order_number"] == f"WEB-{shown['order']['order_id']:05d}"
    assert (shop.stock(), shop.run("SELECT * FROM cart_lines")) == (38_000, [])
    assert count(instance, "shop_orders") == 0
    for path in ("/api/cart/", "/api/catalogue/", f"/api/orders/{shown['order']['order_id']}/"):
        answer = buyer.get(path)
        assert (answer.status_code, answer.json()["error_code"]) == (404, "NO_BUILTIN_SHOP")
    pack = instance.client(41, "auditor").get(f"/api/audit/payments/{session_id}/evidence/")
    assert pack.status_code == 200


def test_a_user_is_called_by_the_text_of_their_token(instance: Instance, shop: ReferenceShop) -> None:
    shop.put_in_cart("buyer-9f1c", "1")
    claims = {"sub": "buyer-9f1c", "roles": ["customer"], "exp": time.now().timestamp() + 600}
    buyer = Client(instance.base_url, jwt.encode(claims, instance.settings.daftari_jwt_secret))
    session_id = instance.pay(buyer)
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    [order] = shop.orders()
    assert order["user"] == "buyer-9f1c"


def test_the_check_before_a_deployment_asks_the_shop(
    shop: ReferenceShop, proxy: ShopProxy, database_url: str, data_folder: Path
) -> None:
    settings = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder), "DAFTARI_SHOP": "http"}
    for url, level in ((shop.url, Level.OK), (proxy.url, Level.WARNING)):
        proxy.faults["find_order"] = "garbage"
        environ = settings | {"DAFTARI_SHOP_URL": url, "DAFTARI_SHOP_SECRET": SECRET}
        [found] = [each for each in run_preflight_checks(environ) if each.part == "shop"]
        assert found.level is level


def test_what_the_shop_has_not_got_is_not_sold(
    instance: Instance, buyer: Client, shop: ReferenceShop
) -> None:
    session_id = buyer.create().json()["session_id"]
    shop.run("UPDATE products SET stock = 1000")
    for answer in (buyer.initiate(session_id), buyer.create()):
        assert (answer.status_code, answer.json()["error_code"]) == (409, "OUT_OF_STOCK")
        assert "Fresh Tomatoes" in answer.json()["message"]
    assert instance.client(2).create().json()["error_code"] == "CART_EMPTY"


def test_a_place_that_does_not_exist_is_refused_without_asking_the_shop(
    buyer: Client, proxy: ShopProxy
) -> None:
    answer = buyer.create(delivery_details=DELIVERY | {"subcounty_id": 300})
    assert "delivery_details.subcounty_id" in answer.json()["errors"]
    assert proxy.asked == []


def test_a_buyer_hears_at_once_that_the_shop_does_not_answer(buyer: Client, proxy: ShopProxy) -> None:
    proxy.faults["quote"] = "unreachable"
    answer = buyer.create()
    assert (answer.status_code, answer.json()["error_code"]) == (503, "SHOP_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0
    proxy.faults.clear()
    session_id = buyer.create().json()["session_id"]
    proxy.faults["shortages"] = "500"
    assert buyer.initiate(session_id).json()["error_code"] == "SHOP_UNAVAILABLE"


def test_the_order_of_a_payment_is_made_once_the_shop_is_back(
    instance: Instance, buyer: Client, shop: ReferenceShop, clock: Clock
) -> None:
    session_id = instance.pay(buyer)
    shop.stop()
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "paid"
    for _ in range(8):
        retried(instance, clock)
    assert cases(instance) == [("order_missing", "paid without an order")]
    shop.start()
    retried(instance, clock)
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert len(shop.orders()) == 1
    assert cases(instance) == []


@pytest.mark.parametrize(
    "fault",
    [
        next(iter(SPOILT)),
        *(pytest.param(fault, marks=pytest.mark.system) for fault in list(SPOILT)[1:]),
        "unreachable",
        "lost",
        "late",
    ],
)
def test_an_answer_that_is_none_costs_nothing_but_time(
    instance: Instance, buyer: Client, shop: ReferenceShop, proxy: ShopProxy, clock: Clock, fault: str
) -> None:
    session_id = instance.pay(buyer)
    approve(instance)
    proxy.faults["order"] = fault
    with capture_logs() as logs:
        instance.work()
    assert buyer.status(session_id)["session_status"] == "paid"
    told = [each for each in logs if each["event"] == "shop_did_not_answer"]
    assert told
    assert not any(text in json.dumps(logs, default=str) for text in ("John Doe", NUMBER, "0712345678"))
    del proxy.faults["order"]
    retried(instance, clock)
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert (len(shop.orders()), shop.stock()) == (1, 38_000)


def test_a_request_that_arrives_twice_makes_one_order(
    instance: Instance, buyer: Client, shop: ReferenceShop, proxy: ShopProxy
) -> None:
    proxy.faults["order"] = "twice"
    session_id = instance.pay(buyer)
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert (len(shop.orders()), shop.stock()) == (1, 38_000)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE products SET stock = 1000", "OUT_OF_STOCK"),
        (
            "INSERT INTO order_lines SELECT 99, line_id, product_id, quantity FROM cart_lines",
            "CART_ALREADY_BOUGHT",
        ),
    ],
)
def test_money_goes_back_where_the_shop_says_no(
    instance: Instance, buyer: Client, shop: ReferenceShop, change: str, code: str
) -> None:
    session_id = instance.pay(buyer)
    shop.run(change)
    approve(instance)
    instance.work()
    shown = buyer.status(session_id)
    assert (shown["session_status"], shown["reason"]["code"]) == ("failed", code)
    assert event_names(instance, session_id)[-2:] == ["Failed", "RefundDue"]
    assert refund_due_cents(instance, session_id) == 350_00
    assert shop.orders() == []


def test_an_order_that_the_shop_made_stands_though_its_answer_was_lost_and_an_operator_gives_up(
    instance: Instance, buyer: Client, shop: ReferenceShop, proxy: ShopProxy
) -> None:
    session_id = instance.pay(buyer)
    approve(instance)
    proxy.faults["order"] = "lost"
    instance.work()
    path = f"/api/work-list/order_missing/{session_id}.order.1/refund/"
    proxy.faults["rule_out"] = "unreachable"
    operator = instance.client(9, "operator")
    assert operator.post(path, json=NOTE).json()["error_code"] == "SHOP_UNAVAILABLE"
    proxy.faults.clear()
    assert operator.post(path, json=NOTE).json()["error_code"] == "CASE_NOT_OPEN"
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert refund_due_cents(instance, session_id) == 0
    assert len(shop.orders()) == 1


def test_no_order_is_made_once_an_operator_has_given_it_up(
    instance: Instance, buyer: Client, shop: ReferenceShop, proxy: ShopProxy, clock: Clock
) -> None:
    session_id = instance.pay(buyer)
    approve(instance)
    proxy.faults["order"] = "unreachable"
    instance.work()
    operator = instance.client(9, "operator")
    path = f"/api/work-list/order_missing/{session_id}.order.1/refund/"
    assert operator.post(path, json=NOTE).status_code == 200
    proxy.faults.clear()
    retried(instance, clock)
    assert buyer.status(session_id)["session_status"] == "failed"
    assert refund_due_cents(instance, session_id) == 350_00
    assert shop.orders() == []
    assert shop.run("SELECT session_id FROM ruled_out") == [(session_id,)]


@pytest.mark.parametrize("_", [0, *(pytest.param(turn, marks=pytest.mark.system) for turn in range(1, 3))])
def test_of_an_order_and_an_operator_who_gives_it_up_at_the_same_moment_one_wins(
    instance: Instance, buyer: Client, shop: ReferenceShop, _: int
) -> None:
    session_id = instance.pay(buyer)
    approve(instance)
    operator = instance.client(9, "operator")
    path = f"/api/work-list/order_missing/{session_id}.order.1/refund/"
    with ThreadPoolExecutor(1) as threads:
        giving_up = threads.submit(operator.post, path, json=NOTE)
        instance.work()
        answer = giving_up.result()
    instance.work()
    was_ordered = buyer.status(session_id)["session_status"] == "order_created"
    assert answer.status_code == (409 if was_ordered else 200)
    assert len(shop.orders()) == was_ordered
    assert refund_due_cents(instance, session_id) == (0 if was_ordered else 350_00)


def test_goods_of_a_refunded_order_go_back_on_the_shop_s_shelf_once(
    instance: Instance, buyer: Client, shop: ReferenceShop, proxy: ShopProxy, clock: Clock
) -> None:
    session_id = instance.pay(buyer)
    approve(instance)
    instance.work()
    assert shop.stock() == 38_000
    proxy.faults["return_goods"] = "lost"
    refund = {"reason": "Sent back.", "restock": True}
    path = f"/api/payments/sessions/{session_id}/refund/"
    assert instance.client(9, "operator").post(path, json=refund).status_code == 200
    instance.work()
    proxy.faults.clear()
    retried(instance, clock)
    assert proxy.asked.count("return_goods") > 1
    assert shop.stock() == 40_000


LINE = {"name": "Tomatoes, ripe", "quantity": "2", "unit_price": "150.00", "product_id": "1", "unit": "kg"}


def ordered(instance: Instance, server: Client, **wanted: Any) -> str:
    """Create a payment as the shop's server does, and pay it; return the number of its order."""
    buyer = {"phone_number": NUMBER} | wanted.pop("buyer", {})
    answer = server.post("/api/payments/checkouts/", json=wanted | {"buyer": buyer})
    assert answer.status_code == 201, answer.text
    session_id = answer.json()["session_id"]
    assert server.initiate(session_id).status_code == 200
    approve(instance)
    instance.work()
    number: str = server.status(session_id)["order"]["order_number"]
    return number


def test_a_payment_that_its_server_created_is_ordered_by_reference_and_own_product_ids(
    instance: Instance, shop: ReferenceShop
) -> None:
    server = instance.server("web-shop")
    assert ordered(instance, server, reference="INV-17", lines=[LINE]).startswith("WEB-")
    [order] = shop.orders()
    assert (order["reference"], order["user"], order["total"]) == ("INV-17", None, "300.00")
    [line] = order["lines"]
    wanted: dict[str, Any] = {"product_id": "1", "product_name": "Tomatoes, ripe", "unit": "kg"}
    assert line.items() >= wanted.items()
    assert shop.stock() == 38_000


def test_a_plain_amount_of_a_named_buyer_is_ordered_too(instance: Instance, shop: ReferenceShop) -> None:
    server = instance.server("web-shop")
    ordered(instance, server, reference="INV-18", amount="500.00", buyer={"id": "buyer-9f1c"})
    [order] = shop.orders()
    assert (order["reference"], order["user"], order["total"]) == ("INV-18", "buyer-9f1c", "500.00")


def test_a_shop_that_may_give_back_its_own_name_of_a_cart_is_asked_by_it(
    instance: Instance, buyer: Client, monkeypatch: pytest.MonkeyPatch, shop: ReferenceShop
) -> None:
    http_shop = instance.services.shops.named(HTTP_SHOP)
    quote = http_shop.quote
    monkeypatch.setattr(http_shop, "quote", lambda *asked: replace(quote(*asked), reference="cart 5812"))
    instance.pay(buyer)
    approve(instance)
    instance.work()
    assert [order["reference"] for order in shop.orders()] == ["cart 5812"]
