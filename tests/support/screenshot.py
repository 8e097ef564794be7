"""`python -m tests.support.screenshot`: the README's picture of the shop page beside the simulated phone.

A real instance with the demo shop, a real browser, and an open prompt on the phone.
"""

import logging
import shutil

import structlog
from playwright.sync_api import expect, sync_playwright

from shop.demo import demo_data
from tests.api.pages.acts import check_out, phone_of
from tests.architecture.tracing import ROOT
from tests.support.browser import FLAGS, install_browser
from tests.support.database import TestCluster, migrated_template, new_database, reachable_folder
from tests.support.instance import Instance, running_instance

PICTURE = ROOT / "docs" / "images" / "shop-and-phone.png"
WIDTH, HEIGHT = 1120, 680


def take_picture(instance: Instance) -> None:
    """Check out a demo cart and keep a picture of the page while its prompt is open on the phone."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=install_browser(), args=FLAGS)
        page = browser.new_page(base_url=instance.base_url, viewport={"width": WIDTH, "height": HEIGHT})
        check_out(page)
        expect(phone_of(page).get_by_role("button", name="Enter PIN and pay")).to_be_visible()
        page.screenshot(path=PICTURE)
        browser.close()


def main() -> None:
    """Start everything, take the picture, stop everything."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    cluster, folder = TestCluster(), reachable_folder()
    try:
        url = cluster.start()
        with (
            new_database(url, migrated_template(url)) as database_url,
            running_instance(database_url, folder) as instance,
        ):
            demo_data(instance.services.database, users=1)
            instance.start_worker()
            take_picture(instance)
    finally:
        cluster.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
