"""What a buyer types on the shop's pages, and what the pages say to it."""

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from tests.api.pages.acts import PHONE, fill_in_delivery
from tests.support.instance import Instance

DAY = "estimated_delivery_date"


def wrong(page: Page, field: str) -> str:
    """Return what stands in red beside a field."""
    return page.locator(f"[id='{field}-wrong']").inner_text()


def hold(page: Page, pattern: str) -> list[Route]:
    """Hold the requests of a pattern; return where they are collected."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(pattern, keep)
    return held


def test_every_missing_field_is_named_beside_it_and_the_first_has_the_cursor(page: Page) -> None:
    page.goto("/shop/checkout/")
    page.get_by_role("button", name="Pay KES").click()
    expect(page.get_by_text("Please correct the marked fields.")).to_be_visible()
    expect(page.get_by_label("Your name")).to_be_focused()
    assert wrong(page, "delivery_details.full_name") == "Write your name."
    assert wrong(page, "delivery_details.phone_number") == "Write your M-Pesa number."
    assert wrong(page, "delivery_details.county_id") == "Choose your county."
    assert wrong(page, "delivery_details.subcounty_id") == "Choose your subcounty."
    assert wrong(page, "delivery_details.detailed_address") == "Write the delivery address."


@pytest.mark.system
def test_the_apis_field_errors_are_shown_and_disappear_once_corrected(page: Page) -> None:
    page.goto("/shop/checkout/")
    fill_in_delivery(page, phone="07abc")
    page.get_by_label("Day (if it matters)", exact=True).fill("2020-01-31")
    page.get_by_role("button", name="Pay KES").click()
    expect(page.get_by_label("M-Pesa number")).to_have_attribute("aria-invalid", "true")
    assert "0712345678" in wrong(page, "delivery_details.phone_number")
    assert "within a year" in wrong(page, DAY)
    expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_label("Day (if it matters)", exact=True).fill("")
    page.get_by_role("button", name="Pay KES").click()
    expect(page.get_by_label("Day (if it matters)", exact=True)).not_to_have_attribute("aria-invalid", "true")
    page.get_by_label("M-Pesa number").fill(PHONE)
    page.get_by_label("M-Pesa number").press("Enter")
    expect(page.get_by_role("heading", name="Check your phone")).to_be_visible()


@pytest.mark.system
def test_subcounties_are_those_of_the_county(page: Page) -> None:
    page.goto("/shop/checkout/")
    page.get_by_label("County", exact=True).select_option("Mombasa")
    expect(page.get_by_label("Subcounty").get_by_role("option", name="Mvita")).to_be_attached()
    page.get_by_label("County", exact=True).select_option("Nairobi")
    expect(page.get_by_label("Subcounty").get_by_role("option", name="Westlands")).to_be_attached()
    expect(page.get_by_label("Subcounty").get_by_role("option", name="Mvita")).to_have_count(0)


@pytest.mark.system
def test_the_catalogue_counts_what_is_in_the_cart(page: Page) -> None:
    page.goto("/shop/")
    in_cart = page.get_by_role("group", name="Carrots in the cart")
    page.get_by_role("button", name="Add Carrots to the cart").click()
    expect(in_cart).to_contain_text("1 kg")
    expect(page.get_by_role("link", name="Cart 4 products")).to_be_visible()
    more = page.get_by_role("button", name="One kg more of Carrots")
    expect(more).to_be_focused()
    more.press("Enter")
    expect(in_cart).to_contain_text("2 kg")
    page.get_by_role("button", name="One kg less of Carrots").click()
    expect(in_cart).to_contain_text("1 kg")
    page.get_by_role("button", name="One kg less of Carrots").click()
    expect(page.get_by_role("button", name="Add Carrots to the cart")).to_be_visible()
    expect(page.get_by_role("link", name="Cart 3 products")).to_be_visible()


@pytest.mark.system
def test_a_quantity_that_cannot_be_sold_is_shown_beside_its_line(page: Page, instance: Instance) -> None:
    page.goto("/shop/cart/")
    page.get_by_label("Sukuma Wiki, bunch").fill("1.5")
    page.get_by_label("Sukuma Wiki, bunch").press("Enter")
    expect(page.get_by_text("This is sold by the bunch: ask for a whole number.")).to_be_visible()
    page.get_by_label("Fresh Tomatoes, kg").fill("0.5")
    page.get_by_label("Fresh Tomatoes, kg").press("Enter")
    expect(page.get_by_label("Fresh Tomatoes, kg")).to_have_value("0.5")
    expect(page.get_by_text("KES 75.00")).to_be_visible()
    items = instance.client(1).get("/api/cart/").json()["items"]
    assert [item["quantity"] for item in items if item["product_name"] == "Fresh Tomatoes"] == [0.5]


@pytest.mark.system
def test_an_emptied_cart_leads_back_to_the_shop(page: Page) -> None:
    page.goto("/shop/cart/")
    for product in ("Fresh Tomatoes", "Sukuma Wiki", "Hass Avocados"):
        page.get_by_role("button", name=f"Remove {product}").click()
        expect(page.get_by_role("heading", name=product)).to_have_count(0)
    page.get_by_role("link", name="See what is fresh").click()
    expect(page.get_by_role("heading", name="Fresh from the farms")).to_be_visible()


@pytest.mark.system
def test_another_buyer_has_another_cart(page: Page) -> None:
    page.goto("/shop/?user=2")
    assert page.url.endswith("/shop/")
    page.goto("/shop/cart/")
    expect(page.get_by_role("heading", name="Carrots")).to_be_visible()
    expect(page.get_by_role("heading", name="Fresh Tomatoes")).to_have_count(0)


def test_names_from_the_api_are_text_and_never_markup(page: Page, instance: Instance) -> None:
    name = "<img src=x onerror=alert(1)>"
    listing = {
        "product_name": name,
        "farm_name": name,
        "price": "10.00",
        "unit_of_measure": "kg",
        "stock": "5",
    }
    answer = instance.client(9, "operator").put("/api/catalogue/1/", json=listing)
    assert answer.status_code == 201, answer.text
    page.goto("/shop/")
    page.get_by_role("button", name=f"Add {name} to the cart").click()
    page.get_by_role("link", name="Go to the cart").click()
    page.wait_for_url("**/shop/cart/")
    expect(page.get_by_role("heading", name=name)).to_be_visible()


@pytest.mark.system
def test_links_stay_in_place_while_the_page_refreshes(page: Page) -> None:
    page.goto("/shop/")
    links = page.get_by_role("link", name="Go to the cart"), page.get_by_role("link", name="Cart 3 products")
    for link in links:
        link.evaluate("link => { link.isTheSame = true; }")
    page.get_by_role("button", name="Add Carrots to the cart").click()
    expect(page.get_by_role("link", name="Cart 4 products")).to_be_visible()
    for link in (links[0], page.get_by_role("link", name="Cart 4 products")):
        assert link.evaluate("link => link.isTheSame")


@pytest.mark.system
def test_a_pressed_button_is_not_replaced(page: Page) -> None:
    page.goto("/shop/")
    add = page.get_by_role("button", name="Add Carrots to the cart")
    add.hover()
    page.mouse.down()
    with page.expect_response("**/shop/?"):
        page.evaluate("htmx.trigger('#live', 'changed')")
    page.mouse.up()
    expect(page.get_by_role("link", name="Cart 4 products")).to_be_visible()


@pytest.mark.system
def test_a_change_during_a_fetch_is_fetched_too(page: Page) -> None:
    page.goto("/shop/")
    stale: list[tuple[Route, APIResponse]] = []
    page.route("**/shop/?", lambda route: stale.append((route, route.fetch())), times=1)
    with page.expect_request("**/shop/?"):
        page.evaluate("htmx.trigger('#live', 'changed')")
    with page.expect_response("**/api/cart/items/**"):
        page.get_by_role("button", name="Add Carrots to the cart").click()
    [(route, response)] = stale
    route.fulfill(response=response)
    expect(page.get_by_role("link", name="Cart 4 products")).to_be_visible()


@pytest.mark.system
def test_a_change_is_made_before_a_link_is_followed(page: Page) -> None:
    page.goto("/shop/")
    held = hold(page, "**/api/cart/items/**")
    with page.expect_request("**/api/cart/items/**"):
        page.get_by_role("button", name="Add Carrots to the cart").click()
    page.get_by_role("link", name="Go to the cart").click()
    assert page.url.endswith("/shop/")
    [change] = held
    change.continue_()
    expect(page.get_by_role("heading", name="Your cart")).to_be_visible()
    expect(page.get_by_role("heading", name="Carrots")).to_be_visible()


@pytest.mark.system
def test_a_refused_change_is_shown_though_a_link_was_pressed(page: Page) -> None:
    page.goto("/shop/")
    held = hold(page, "**/api/cart/items/**")
    with page.expect_request("**/api/cart/items/**"):
        page.get_by_role("button", name="Add Carrots to the cart").click()
    page.get_by_role("link", name="Go to the cart").click()
    [change] = held
    change.abort()
    expect(page.get_by_role("alert")).to_contain_text("The shop did not answer.")
    assert page.url.endswith("/shop/")


@pytest.mark.system
def test_a_button_works_only_once_its_script_listens(page: Page) -> None:
    held = hold(page, "**/static/cart.js")
    page.goto("/shop/", wait_until="commit")
    add = page.get_by_role("button", name="Add Carrots to the cart", include_hidden=True)
    expect(add).to_be_visible()
    add.click(force=True)
    [script] = held
    script.continue_()
    page.get_by_role("button", name="Add Carrots to the cart").click()
    expect(page.get_by_role("link", name="Cart 4 products")).to_be_visible()


def test_personal_details_never_reach_the_url_before_the_script_listens(page: Page) -> None:
    page.route("**/static/checkout.js", lambda route: route.abort())
    page.goto("/shop/checkout/")
    page.get_by_label("Your name").evaluate("field => { field.value = 'Amina Wanjiru'; }")
    page.get_by_role("button", name="Pay KES", include_hidden=True).click(force=True)
    assert "?" not in page.url


@pytest.mark.system
def test_an_emptied_cart_has_nothing_to_sum_up(page: Page) -> None:
    page.goto("/shop/cart/")
    summary = page.get_by_role("complementary", name="Summary")
    expect(summary).to_be_visible()
    while (removes := page.get_by_role("button", name="Remove")).count():
        left = removes.count()
        removes.first.click()
        expect(removes).to_have_count(left - 1)
    expect(page.get_by_text("Your cart is empty.")).to_be_visible()
    expect(summary).to_be_hidden()
    page.goto("/shop/")
    expect(page.get_by_role("link", name="Go to the cart")).to_be_hidden()
