"""The guide's own JavaScript, unchanged in guide_flow.js, in a browser against a running instance."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.api.pages.acts import DIGITS, PHONE, expect_order
from tests.support.instance import DELIVERY, Instance, wait_for_status

SCRIPT = Path(__file__).with_name("guide_flow.js")
PAGE = "/guide/"
POLL_MS = 3_000


@pytest.fixture
def guide(page: Page, instance: Instance) -> Page:
    """A page on the instance's origin that holds the guide's script, and the token that the script asks for."""
    token = json.dumps(instance.token(1))
    html = f"<!doctype html><title>Guide</title><script>const token = {token};</script><script src='flow.js'></script>"
    page.route(f"**{PAGE}", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.route(f"**{PAGE}flow.js", lambda route: route.fulfill(path=SCRIPT))
    page.clock.install()
    page.goto(PAGE)
    return page


def start_checkout(page: Page, instance: Instance) -> tuple[str, str]:
    """Begin the guide's checkout; return the ids of the session and of its prompt."""
    page.evaluate("([details, phone]) => checkout(details, phone)", [DELIVERY, PHONE])
    prompt = instance.simulator.wait_for_prompt(DIGITS, 20)
    [listed] = instance.client(1).get("/api/payments/sessions/").json()["results"]
    return listed["session_id"], prompt.checkout_request_id


def test_the_guides_javascript_ends_at_the_order(guide: Page, instance: Instance) -> None:
    session_id, prompt = start_checkout(guide, instance)
    instance.simulator.approve(prompt)
    shown = wait_for_status(instance.client(1), session_id, "order_created")
    guide.clock.fast_forward(POLL_MS)
    assert expect_order(guide) == shown["order"]["order_number"]


def test_the_guides_javascript_says_when_a_payment_failed(guide: Page, instance: Instance) -> None:
    session_id, prompt = start_checkout(guide, instance)
    instance.simulator.cancel(prompt)
    wait_for_status(instance.client(1), session_id, "failed")
    told: list[str] = []

    def hear(dialog: Dialog) -> None:
        told.append(dialog.message)
        dialog.dismiss()

    guide.on("dialog", hear)
    with guide.expect_event("dialog"):
        guide.clock.fast_forward(POLL_MS)
    assert told == ["Payment failed. Please try again."]
    expect(guide).to_have_title("Guide")
