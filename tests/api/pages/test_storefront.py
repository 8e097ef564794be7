"""What a visitor of the shop sees first: pictures of the goods, the payment page's look, and how one pays."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from api.pages import pictures
from api.pages.pictures import picture_of
from shop.demo import LISTINGS, demo_data
from tests.support.axe import violations
from tests.support.instance import running_instance

STATIC = Path(pictures.__file__).parent / "static"
OWN_PAGES = ("/shop/", "/shop/cart/", "/shop/checkout/", "/shop/sessions/", "/shop/orders/1/")
NARROW: Any = {"width": 390, "height": 844}
LIGHTEST = "#767676"
"""A colour on which white has hardly more contrast than it must."""

MAX_PICTURE_BYTES = 600
MAX_OWN_BYTES = 50_000
"""How much the page may load, apart from the two vendored files."""

NOT_LOADED = """
() => [...document.querySelectorAll("img.picture")].filter(({naturalWidth, alt}) => !naturalWidth || alt).length
"""
COLOURS = "link => [getComputedStyle(link).backgroundColor, getComputedStyle(link).color]"
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_every_product_of_the_demo_has_a_small_picture_of_its_own() -> None:
    names = [picture_of(product) for _, _, product, _, _, _ in LISTINGS]
    assert len(set(names)) == len(LISTINGS)
    assert "goods/basket.svg" not in names
    for name in (*names, "goods/basket.svg"):
        drawing = (STATIC / name).read_text("utf-8")
        assert len(drawing) < MAX_PICTURE_BYTES, name
        assert not any(word in drawing for word in ("<script", "style", "href", "onload")), name


@pytest.mark.parametrize("name", ["Cassava", "../icon", "fresh-milk.svg", "\N{TOMATO}", ""])
def test_a_product_without_a_picture_has_that_of_any_goods(name: str) -> None:
    assert picture_of(name) == "goods/basket.svg"


@pytest.mark.system
def test_the_catalogue_says_how_one_pays_and_the_keyboard_passes_the_pictures(page: Page) -> None:
    page.goto("/shop/")
    trust = page.get_by_role("region", name="Fresh from the farms").get_by_role("listitem")
    expect(trust).to_have_count(3)
    expect(trust.first).to_contain_text("Your PIN never leaves it")
    expect(page.get_by_role("img")).to_have_count(0)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".product button").first).to_be_focused()


@pytest.mark.system
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_shop_has_the_payment_pages_look_and_can_be_read_in_any_colour(
    browser: Browser, database_url: str, data_folder: Path, scheme: Any
) -> None:
    logo = data_folder / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="90" height="30"/>')
    look = {
        "DAFTARI_SHOP_NAME": "Duka la Amina na Wanawe",
        "DAFTARI_SHOP_LOGO": str(logo),
        "DAFTARI_SHOP_COLOUR": LIGHTEST,
    }
    with running_instance(database_url, data_folder, **look) as instance:
        demo_data(instance.services.database, users=1)
        page = browser.new_page(base_url=instance.base_url, color_scheme=scheme, viewport=NARROW)
        for path in OWN_PAGES:
            page.goto(path)
            expect(page.get_by_role("link", name=look["DAFTARI_SHOP_NAME"])).to_be_visible()
            assert page.evaluate(NOT_LOADED) == 0, path
            assert violations(page) == [], path
            assert page.evaluate(SIDEWAYS) <= 0, path
        page.goto("/shop/")
        logos = page.locator(".brand img").evaluate_all("found => found.map(({src}) => src)")
        page.goto("/shop/cart/")
        ordered = page.get_by_role("link", name="Continue to delivery").evaluate(COLOURS)
        amount = {"amount": "100.00"}
        page.goto(instance.server().post("/api/payments/checkouts/", json=amount).json()["payment_url"])
        expect(page.get_by_text(look["DAFTARI_SHOP_NAME"])).to_be_visible()
        assert page.locator(".brand img").evaluate_all("found => found.map(({src}) => src)") == logos != []
        assert page.get_by_role("button", name="Pay KES").evaluate(COLOURS) == ordered
        page.context.close()


@pytest.mark.system
def test_without_pictures_and_look_the_shop_works_as_before(page: Page) -> None:
    for pattern in ("**/goods/*", "**/storefront.css", "**/brand.css"):
        page.route(pattern, lambda route: route.abort())
    page.goto("/shop/")
    page.get_by_role("button", name="Add Carrots to the cart").click()
    page.get_by_role("link", name="Cart 4 products").click()
    page.wait_for_url("**/shop/cart/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("heading", name="Carrots")).to_be_visible()
    assert violations(page) == []


@pytest.mark.system
def test_what_the_page_loads_is_small(page: Page) -> None:
    sizes = dict[str, int]()
    page.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
    page.goto("/shop/", wait_until="networkidle")
    own = {url: size for url, size in sizes.items() if "/vendor/" not in url}
    assert len(own) > len(LISTINGS)
    assert sum(own.values()) < MAX_OWN_BYTES, own
