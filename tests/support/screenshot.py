"""`python -m tests.support.screenshot`: the pictures of the README and of docs/console.md.

A real instance with the demo shop and a real browser: a prompt that is open on the phone, then an auditor who looks at
the payment that came of it.
"""

import logging
import shutil
from typing import Any

import structlog
from playwright.sync_api import Browser, Page, expect, sync_playwright

from shop.demo import demo_data
from tests.api.pages.acts import check_out, expect_order, phone_of, press_on_phone
from tests.architecture.tracing import ROOT
from tests.support.browser import FLAGS, install_browser
from tests.support.database import migrated_database, reachable_folder
from tests.support.instance import Instance, running_instance
from tests.support.waiting import wait_until

IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1120, 680
NARROW = {"width": 390, "height": 844}


def take_pictures(instance: Instance) -> None:
    """Check out a demo cart and pay; keep pictures of the shop's page and of the console."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=install_browser(), args=FLAGS)
        page = browser.new_page(base_url=instance.base_url, viewport={"width": WIDTH, "height": HEIGHT})
        check_out(page)
        expect(phone_of(page).get_by_role("button", name="Enter PIN and pay")).to_be_visible()
        page.screenshot(path=IMAGES / "shop-and-phone.png")
        press_on_phone(page, "Enter PIN and pay")
        expect_order(page)
        [paid] = instance.client(1).get("/api/payments/sessions/").json()["results"]
        wait_until(lambda: _is_signed(instance, paid["session_id"]), "its events are in blocks", 90)
        payment = f"/console/payments/{paid['session_id']}/"
        _take(browser, instance, payment, "console-payment-light.png", color_scheme="light")
        timeline = f"{payment}timeline/?at_version=4"
        _take(browser, instance, timeline, "console-timeline-dark.png", color_scheme="dark")
        _take(browser, instance, payment, "console-payment-narrow.png", viewport=NARROW)
        browser.close()


def _is_signed(instance: Instance, session_id: str) -> bool:
    shown = instance.client(10, "auditor").get(f"/api/audit/payments/{session_id}/").json()
    return bool(shown["verification"]["events_in_no_block_yet"] == 0)


def _take(browser: Browser, instance: Instance, path: str, name: str, **options: Any) -> None:
    context = browser.new_context(
        base_url=instance.base_url, **{"viewport": {"width": WIDTH, "height": HEIGHT}, **options}
    )
    page: Page = context.new_page()
    page.goto(path)
    page.get_by_label("Token").fill(instance.token(10, "auditor"))
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.screenshot(path=IMAGES / name, full_page=True)
    context.close()


def main() -> None:
    """Start everything, take the pictures, stop everything."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = reachable_folder()
    try:
        with (
            migrated_database() as database_url,
            running_instance(database_url, folder) as instance,
        ):
            demo_data(instance.services.database, users=1)
            instance.start_worker()
            take_pictures(instance)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
