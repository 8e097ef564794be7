"""`python -m tests.support.screenshot`: the pictures of the README and of docs/console.md.

A real instance with the demo shop and a real browser: a prompt that is open on the phone, an auditor who looks at the
payment that came of it, and the dashboard after some days.
"""

import logging
import shutil
from datetime import timedelta
from random import Random
from typing import Any

import structlog
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ledger import clock
from ledger.application import Ledger
from shop.demo import demo_data
from tests.api.pages.acts import check_out, phone_of, press_on_phone, return_to_order
from tests.architecture.tracing import ROOT
from tests.support.browser import FLAGS, install_browser
from tests.support.checkouts import Checkout
from tests.support.database import migrated_database, reachable_folder
from tests.support.instance import Instance, running_instance
from tests.support.waiting import wait_until

IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1120, 680
TALL = {"width": WIDTH, "height": 900}
NARROW = {"width": 390, "height": 844}
PAYMENTS = 260
MEAN_SECONDS_AGO = 50_000
PLACES = ((47, 274), (47, 275), (1, 1), (22, 120))
REASONS = {"CANCELLED_BY_USER": 9, "NO_RESPONSE": 6, "INSUFFICIENT_FUNDS": 4, "WRONG_PIN": 3, "EXPIRED": 2}
"""Why payments fail, and how often."""


def take_pictures(instance: Instance) -> None:
    """Check out a demo cart and pay; keep pictures of the shop's page and of the console."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=install_browser(), args=FLAGS)
        page = browser.new_page(base_url=instance.base_url, viewport={"width": WIDTH, "height": HEIGHT})
        check_out(page)
        expect(phone_of(page).get_by_role("button", name="Enter PIN and pay")).to_be_visible()
        page.screenshot(path=IMAGES / "shop-and-phone.png")
        press_on_phone(page, "Enter PIN and pay")
        return_to_order(page)
        [paid] = instance.client(1).get("/api/payments/sessions/").json()["results"]
        wait_until(lambda: _is_signed(instance, paid["session_id"]), "its events are in blocks", 90)
        payment = f"/console/payments/{paid['session_id']}/"
        _take(browser, instance, payment, "console-payment-light.png", color_scheme="light")
        timeline = f"{payment}timeline/?at_version=4"
        _take(browser, instance, timeline, "console-timeline-dark.png", color_scheme="dark")
        _take(browser, instance, payment, "console-payment-narrow.png", viewport=NARROW)
        _take(browser, instance, "/console/", "console-dashboard-light.png", full_page=False, viewport=TALL)
        week = "/console/?period=week"
        _take(browser, instance, week, "console-dashboard-dark.png", color_scheme="dark")
        browser.close()


def make_days_of_payments(ledger: Ledger) -> None:
    """Have buyers in three counties pay, or not, more and more of them until now."""
    draw, now = Random(4), clock.now()
    for number in range(PAYMENTS):
        at = now - timedelta(seconds=60 + draw.expovariate(1 / MEAN_SECONDS_AGO))
        county_id, subcounty_id = draw.choice(PLACES)
        checkout = Checkout(
            ledger, user_id=1_000 + number, at=at, county_id=county_id, subcounty_id=subcounty_id
        )
        end = draw.choices([*REASONS, "paid", "nothing"], [*REASONS.values(), 70, 8])[0]
        if end != "nothing":
            checkout.prompt().wait(seconds=round(draw.lognormvariate(1, 0.9)))
        if end == "paid":
            checkout.pay(f"UKS{number:07}").order(10_000 + number)
        elif end != "nothing":
            checkout.cancel(code=end)


def _is_signed(instance: Instance, session_id: str) -> bool:
    shown = instance.client(10, "auditor").get(f"/api/audit/payments/{session_id}/").json()
    return bool(shown["verification"]["events_in_no_block_yet"] == 0)


def _take(
    browser: Browser, instance: Instance, path: str, name: str, *, full_page: bool = True, **options: Any
) -> None:
    context = browser.new_context(
        base_url=instance.base_url, **{"viewport": {"width": WIDTH, "height": HEIGHT}, **options}
    )
    page: Page = context.new_page()
    page.goto(path)
    page.get_by_label("Token").fill(instance.token(10, "auditor"))
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.screenshot(path=IMAGES / name, full_page=full_page)
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
            make_days_of_payments(instance.services.ledger)
            instance.start_worker()
            take_pictures(instance)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
