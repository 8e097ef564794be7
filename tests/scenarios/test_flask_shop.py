"""The example of a shop of its own: users, catalogue and orders are the shop's, and it is paid through Daftari.

It runs as a process of its own, its buyer is a browser, and it learns what happened from webhooks alone.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ledger import clock
from payments.webhooks.messages import MESSAGE_TYPES
from payments.webhooks.signing import new_secret, signed_headers
from tests.support.browser import FLAGS, find_browser
from tests.support.instance import Instance, running_instance
from tests.support.ports import free_port
from tests.support.waiting import wait_until

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flask_shop"
WAIT_MS = 20_000
PAID_AT_ONCE = "0700010007"
SESSION = "550e8400-e29b-41d4-a716-446655440000"


@dataclass
class Shop:
    """The example as a process, which can be stopped and started anew on its data."""

    port: int
    environ: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "flask", "--app", "shop", "run", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=EXAMPLE, env={**os.environ, **self.environ}, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, "the shop answers", within_seconds=30)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process = None

    def orders(self) -> list[tuple[str, int, str | None]]:
        """The status, version and receipt of its orders."""
        with closing(sqlite3.connect(self.environ["SHOP_DATABASE"])) as database:
            return database.execute("SELECT status, version, receipt FROM orders").fetchall()

    def post(self, message: dict[str, object], version: int, secret: str | None = None) -> int:
        """Post a webhook; return the status of the answer."""
        body = json.dumps(message).encode()
        headers = signed_headers(
            f"msg_{version}", clock.now(), body, [secret or self.environ["WEBHOOK_SECRET"]]
        )
        return requests.post(f"{self.url}/webhooks", data=body, headers=headers, timeout=10).status_code

    def _answers(self) -> bool:
        try:
            return requests.get(self.url, timeout=5).ok
        except requests.ConnectionError:
            return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def instance(database_url: str, data_folder: Path, port: int) -> Iterator[Instance]:
    with running_instance(
        database_url,
        data_folder,
        DAFTARI_RETURN_ORIGINS=f"http://127.0.0.1:{port}",
        DAFTARI_WEBHOOK_ALLOW_PRIVATE="1",
    ) as running:
        running.start_worker()
        yield running
        running.stop_worker()


@pytest.fixture
def shop(instance: Instance, tmp_path: Path, port: int) -> Iterator[Shop]:
    """The shop with a key and a webhook endpoint of its own."""
    key = str(instance.server("flask-shop").headers["Authorization"]).removeprefix("Bearer ")
    _, secret = instance.services.webhook_endpoints.add(
        f"http://127.0.0.1:{port}/webhooks", MESSAGE_TYPES, key="flask-shop", by="cli:user:9"
    )
    running = Shop(
        port,
        {
            "DAFTARI_URL": instance.base_url,
            "DAFTARI_API_KEY": key,
            "WEBHOOK_SECRET": secret,
            "SHOP_SECRET_KEY": "of-this-test",
            "SHOP_DATABASE": str(tmp_path / "shop.sqlite"),
        },
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(locale="en-GB")
    yield context.new_page()
    context.close()


def buy(page: Page, shop: Shop, instance: Instance) -> None:
    """Order two packets of tea; the browser is led to the payment page."""
    page.goto(shop.url)
    form = page.locator("form", has_text="Purple tea")
    form.get_by_label("Quantity").fill("2")
    form.get_by_role("button").click()
    expect(page).to_have_url(re.compile(re.escape(f"{instance.base_url}/pay/")))


def pay(page: Page) -> None:
    """Pay on the payment page, from a phone that pays at once."""
    page.get_by_label("M-Pesa number").fill(PAID_AT_ONCE)
    page.get_by_role("button", name="Pay KES 961.00").click()
    expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible()


def test_a_buyer_pays_and_the_shop_marks_its_order_by_the_webhook(
    page: Page, shop: Shop, instance: Instance
) -> None:
    buy(page, shop, instance)
    assert shop.orders() == [("open", 0, None)]
    pay(page)
    wait_until(lambda: shop.orders()[0][0] == "paid", "the webhook arrived", within_seconds=30)
    [(_, _, receipt)] = shop.orders()
    [session] = instance.services.ledger.sessions(sessions_of(instance)).values()
    assert session.order == (None, order_id(shop))
    assert receipt in session.receipts
    page.get_by_role("link", name="Back to the shop").click()
    expect(page).to_have_url(f"{shop.url}/orders/{order_id(shop)}")
    expect(page.get_by_text("Status: paid")).to_be_visible()
    expect(page.get_by_text(f"M-Pesa receipt: {receipt}")).to_be_visible()
    expect(page.get_by_text("KES 961.00")).to_be_visible()


@pytest.mark.system
def test_a_shop_that_was_down_learns_of_the_payment_once_it_is_up(
    page: Page, shop: Shop, instance: Instance
) -> None:
    buy(page, shop, instance)
    shop.stop()
    pay(page)
    wait_until(lambda: attempts(instance) >= 1, "a webhook was not taken", within_seconds=30)
    shop.start()
    wait_until(lambda: shop.orders()[0][0] == "paid", "the webhook was sent again", within_seconds=60)


def test_the_shop_believes_signatures_alone_takes_a_message_once_and_goes_by_the_version(
    page: Page, shop: Shop, instance: Instance
) -> None:
    buy(page, shop, instance)
    data = {"session_id": SESSION, "reference": order_id(shop), "receipt": "RCPT000001"}

    def message(kind: str, version: int) -> dict[str, object]:
        return {"type": kind, "timestamp": "2024-01-15T10:30:00Z", "data": data | {"version": version}}

    assert shop.post(message("payment.paid", 4), 4, secret=new_secret()) == 400
    assert shop.orders() == [("open", 0, None)]
    assert shop.post(message("order.created", 5), 5) == 204
    assert shop.post(message("payment.in_doubt", 3), 3) == 204
    assert shop.post(message("something.new", 6), 6) == 204
    assert shop.post(message("payment.failed", 9), 5) == 204
    assert shop.orders() == [("paid", 5, "RCPT000001")]


def test_an_order_is_shown_to_its_buyer_alone(page: Page, shop: Shop, instance: Instance) -> None:
    buy(page, shop, instance)
    path = f"{shop.url}/orders/{order_id(shop)}"
    assert page.goto(path).status == 200  # type: ignore[union-attr]  # it has an answer
    assert requests.get(path, timeout=10).status_code == 404


def order_id(shop: Shop) -> str:
    with closing(sqlite3.connect(shop.environ["SHOP_DATABASE"])) as database:
        [(order_id,)] = database.execute("SELECT id FROM orders")
    return str(order_id)


def sessions_of(instance: Instance) -> list[UUID]:
    with instance.services.database.connection() as connection:
        return [row["session_id"] for row in connection.execute("SELECT session_id FROM payment_sessions")]


def attempts(instance: Instance) -> int:
    with instance.services.database.connection() as connection:
        row = connection.execute(
            "SELECT coalesce(sum(attempts), 0) AS made FROM webhook_deliveries"
        ).fetchone()
    assert row is not None
    return int(row["made"])
