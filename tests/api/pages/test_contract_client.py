"""The JavaScript client that docs/checkout-contract.md prints, in a browser against a running instance."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.api.pages.acts import DIGITS, PHONE
from tests.support.instance import DELIVERY, Instance

CONTRACT = Path(__file__).resolve().parents[3] / "docs" / "checkout-contract.md"
PAGE = "/contract/"
BEGIN = """
([details, phone]) => {
  window.seen = [];
  window.outcome = pay(token, details, phone, (status) => seen.push(status.session_status)).catch((error) => error);
}
"""
LOSE_THE_FIRST_ANSWER = """
() => {
  const send = window.fetch;
  window.keys = [];
  window.fetch = async (path, options) => {
    const answer = await send(path, options);
    if (options.method === "POST" && keys.push(options.headers["Idempotency-Key"]) === 1) throw new TypeError("lost");
    return answer;
  };
}
"""


@pytest.fixture
def contract(page: Page, instance: Instance) -> Page:
    """A page on the instance's origin that holds the printed client and a token."""
    [script] = re.findall(r"```javascript\n(.*?)```", CONTRACT.read_text("utf-8"), re.DOTALL)
    token = f"const token = {json.dumps(instance.token(1))};"
    html = f"<!doctype html><title>Contract</title><script>{token}\n{script}</script>"
    page.route(f"**{PAGE}", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto(PAGE)
    return page


def outcome(page: Page) -> Any:
    return page.evaluate("async () => ({ ...(await outcome), seen })")


def test_the_printed_client_pays_and_ends_at_the_order(contract: Page, instance: Instance) -> None:
    contract.evaluate(BEGIN, [DELIVERY, PHONE])
    instance.simulator.approve(instance.simulator.wait_for_prompt(DIGITS, 20).checkout_request_id)
    end = outcome(contract)
    assert end["session_status"] == "order_created"
    assert end["order"]["order_id"]
    assert end["seen"][-1] == "order_created"


@pytest.mark.system
def test_the_printed_client_ends_at_a_payment_that_was_cancelled(contract: Page, instance: Instance) -> None:
    contract.evaluate(BEGIN, [DELIVERY, PHONE])
    instance.simulator.cancel(instance.simulator.wait_for_prompt(DIGITS, 20).checkout_request_id)
    end = outcome(contract)
    assert (end["session_status"], end["reason"]["code"]) == ("failed", "CANCELLED_BY_USER")


@pytest.mark.system
def test_the_printed_client_throws_a_refusal_with_its_fields(contract: Page) -> None:
    contract.evaluate(BEGIN, [DELIVERY | {"county_id": 99}, PHONE])
    end = outcome(contract)
    assert end["error_code"] == "INVALID_INPUT"
    assert list(end["errors"]) == ["delivery_details.county_id"]


@pytest.mark.system
def test_the_printed_client_repeats_a_command_whose_answer_was_lost(
    contract: Page, instance: Instance
) -> None:
    contract.evaluate(LOSE_THE_FIRST_ANSWER)
    contract.evaluate(BEGIN, [DELIVERY, PHONE])
    instance.simulator.approve(instance.simulator.wait_for_prompt(DIGITS, 20).checkout_request_id)
    assert outcome(contract)["session_status"] == "order_created"
    first, second, third = contract.evaluate("keys")
    assert first == second != third
    assert instance.client(1).get("/api/payments/sessions/").json()["count"] == 1
