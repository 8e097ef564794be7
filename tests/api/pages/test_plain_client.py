"""A client without idempotency keys or streams, plain_client.js, in a browser against a running instance."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.api.pages.acts import DIGITS, PHONE, expect_order
from tests.support.instance import DELIVERY, Instance, wait_for_status

SCRIPT = Path(__file__).with_name("plain_client.js")
PAGE = "/plain-client/"
POLL_MS = 3_000


@pytest.fixture
def client_page(page: Page, instance: Instance) -> Page:
    """A page on the instance's origin that holds the script and the token that it reads."""
    token = json.dumps(instance.token(1))
    html = f"<title>Plain</title><script>const token = {token};</script><script src='script.js'></script>"
    page.route(f"**{PAGE}", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.route(f"**{PAGE}script.js", lambda route: route.fulfill(path=SCRIPT))
    page.clock.install()
    page.goto(PAGE)
    return page


def start_checkout(page: Page, instance: Instance) -> tuple[str, str]:
    """Start the checkout; return the ids of the session and of its prompt."""
    page.evaluate("([details, phone]) => checkout(details, phone)", [DELIVERY, PHONE])
    prompt = instance.simulator.wait_for_prompt(DIGITS, 20)
    [listed] = instance.client(1).get("/api/payments/sessions/").json()["results"]
    return listed["session_id"], prompt.checkout_request_id


def test_a_plain_client_ends_at_the_order(client_page: Page, instance: Instance) -> None:
    session_id, prompt = start_checkout(client_page, instance)
    instance.simulator.approve(prompt)
    shown = wait_for_status(instance.client(1), session_id, "order_created")
    client_page.clock.fast_forward(POLL_MS)
    assert expect_order(client_page) == shown["order"]["order_number"]


@pytest.mark.system
def test_a_plain_client_says_when_a_payment_failed(client_page: Page, instance: Instance) -> None:
    session_id, prompt = start_checkout(client_page, instance)
    instance.simulator.cancel(prompt)
    wait_for_status(instance.client(1), session_id, "failed")
    messages: list[str] = []

    def answer(dialog: Dialog) -> None:
        messages.append(dialog.message)
        dialog.dismiss()

    client_page.on("dialog", answer)
    with client_page.expect_event("dialog"):
        client_page.clock.fast_forward(POLL_MS)
    assert messages == ["Payment failed. Please try again."]
    expect(client_page).to_have_title("Plain")
