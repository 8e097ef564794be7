"""What a buyer does on the pages, and on the phone beside them."""

from playwright.sync_api import FrameLocator, Page, expect

PHONE = "0712 345 678"
DIGITS = "254712345678"


def fill_in_delivery(page: Page, phone: str = PHONE) -> None:
    """Fill in the delivery form, as far as it must be."""
    page.get_by_label("Your name").fill("Amina Wanjiru")
    page.get_by_label("M-Pesa number").fill(phone)
    page.get_by_label("County", exact=True).select_option("Mombasa")
    page.get_by_label("Subcounty").select_option("Mvita")
    page.get_by_label("Address").fill("Moi Avenue 12, beside the post office")


def press_pay(page: Page) -> None:
    """Press the form's button, and wait for the payment's page."""
    page.get_by_role("button", name="Pay KES").click()
    expect(page.get_by_role("heading", name="Check your phone")).to_be_visible()


def check_out(page: Page, phone: str = PHONE) -> None:
    """Go from the cart's page to an open prompt."""
    page.goto("/shop/checkout/")
    fill_in_delivery(page, phone)
    press_pay(page)


def phone_of(page: Page) -> FrameLocator:
    """Return the phone beside the payment."""
    return page.frame_locator("#phone-of-buyer")


def press_on_phone(page: Page, button: str) -> None:
    """Press a button of the prompt."""
    phone_of(page).get_by_role("button", name=button).click()


def return_to_order(page: Page) -> str:
    """Wait until the payment page says that it is paid, and go back to the shop; return the order's number."""
    expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible()
    page.get_by_role("link", name="Back to the shop").click()
    return expect_order(page)


def expect_order(page: Page) -> str:
    """Wait for the order's page; return the order's number."""
    expect(page.get_by_role("heading", name="Thank you for your order")).to_be_visible()
    number = page.locator("#order-number").inner_text()
    assert number.startswith("ORD-")
    return number
