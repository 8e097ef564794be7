"""A browser on a shop's page, and the server that it pays at."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.api.pages.sdk.world import PayServer, ShopPage, pay_server
from tests.support.database import new_database, reachable_folder
from tests.support.static_server import static_server


@pytest.fixture(scope="module")
def shop_origin() -> Iterator[str]:
    """The origin of a shop's page, which holds nothing."""
    folder = reachable_folder()
    (folder / "index.html").write_text("<!doctype html><title>Shop</title>", encoding="utf-8")
    with static_server(folder) as origin:
        yield origin
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def one_server(server_url: str, template_database: str, shop_origin: str) -> Iterator[PayServer]:
    folder = reachable_folder()
    with new_database(server_url, template_database) as url, pay_server(url, folder, shop_origin) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def server(one_server: PayServer) -> Iterator[PayServer]:
    """The server of all tests of a module; each has a buyer and a phone of its own."""
    one_server.buyer += 1
    yield one_server
    one_server.proxy.restore()


@pytest.fixture
def shop(browser: Browser, server: PayServer, shop_origin: str) -> Iterator[ShopPage]:
    """The shop's page, with the module and a buyer's token; a script's fault fails the test."""
    faults: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    shown = ShopPage(page, server)
    shown.load(shop_origin, server.token())
    yield shown
    context.close()
    assert faults == []
