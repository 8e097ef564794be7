"""The payment page in a browser: every state, in both languages, by a link alone, with scripts and without."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from freezegun import freeze_time
from playwright.sync_api import Browser, Page, expect

from api.pages.pay.texts import TEXTS
from ledger import clock
from tests.api.pages.acts import DIGITS
from tests.scenarios.steps import ANSWER_AND_CALLBACK_LOST, approve, prompt_of
from tests.support.axe import violations
from tests.support.instance import Client, Instance, running_instance

CHECKOUTS = "/api/payments/checkouts/"
RETURNS = "https://shop.example"
NARROW = {"width": 390, "height": 844}
THROUGH_PROXY = {"X-Forwarded-For": "203.0.113.9"}
"""As a buyer comes in production: the demo's simulated phone is shown to nobody else than the developer."""

MAX_BYTES = 100_000
BUYER_PHONE = "0712345678"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(
        database_url, data_folder, DAFTARI_RETURN_ORIGINS=RETURNS, DAFTARI_SHOP_NAME="Duka la Amina"
    ) as running:
        running.start_worker()
        yield running


@pytest.fixture
def server(instance: Instance) -> Client:
    return instance.server()


def opened(server: Client, phone: str | None = BUYER_PHONE, **more: Any) -> dict[str, Any]:
    """Open a checkout for school fees; return it."""
    body = {"lines": [{"name": "Karo ya shule", "quantity": "1", "unit_price": "1500.00"}]} | more
    if phone:
        body["buyer"] = {"phone_number": phone}
    urls = {"success_url": f"{RETURNS}/asante", "cancel_url": f"{RETURNS}/kikapu"}
    answer = server.post(CHECKOUTS, json=body | urls)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def initiated(server: Client, **more: Any) -> dict[str, Any]:
    made = opened(server, **more)
    assert server.initiate(made["session_id"]).status_code in (200, 202)
    return made


def visit(browser: Browser, url: str, **options: Any) -> tuple[Page, list[str]]:
    """Open a link as a buyer does; return the page, and what its scripts and policy complain of, as it comes."""
    options = {"locale": "en-GB", "viewport": NARROW, "extra_http_headers": THROUGH_PROXY} | options
    context = browser.new_context(**options)
    page, faults = context.new_page(), []
    page.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(url)
    return page, faults


def every_state(instance: Instance, server: Client) -> dict[str, str]:
    """Return the address of a page in each state, by the name of the state."""
    states = {"ready": opened(server)["payment_url"], "doubt": "", "phone": "", "failed": "", "done": ""}
    states["doubt"] = initiated(server, phone=ANSWER_AND_CALLBACK_LOST)["payment_url"]
    failed = initiated(server, phone="0712345671")
    instance.simulator.cancel(instance.simulator.wait_for_prompt("254712345671", 20).checkout_request_id)
    done = initiated(server, phone="0712345672")
    instance.simulator.approve(instance.simulator.wait_for_prompt("254712345672", 20).checkout_request_id)
    for made, status in ((failed, "failed"), (done, "order_created")):
        server.get(f"/api/payments/sessions/{made['session_id']}/status/?wait=20&after=3")
        for _ in range(20):
            if server.status(made["session_id"])["session_status"] == status:
                break
            server.get(f"/api/payments/sessions/{made['session_id']}/status/?wait=1")
    states |= {"failed": failed["payment_url"], "done": done["payment_url"]}
    states["phone"] = initiated(server, phone="0712345673")["payment_url"]
    with freeze_time(clock.now() - timedelta(days=1)):
        states["expired"] = opened(server)["payment_url"]
    states["not_found"] = f"{instance.base_url}/pay/pl_{'A' * 56}/"
    return states


@pytest.mark.system
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_is_readable_in_both_languages_on_a_phone(
    browser: Browser, instance: Instance, server: Client, scheme: Any
) -> None:
    states = every_state(instance, server)
    page, faults = visit(browser, states["ready"], color_scheme=scheme)
    for name, url in states.items():
        for place, language in enumerate(("en", "sw")):
            page.goto(f"{url}?lang={language}")
            expect(page.get_by_role("heading", level=1)).to_have_text(TEXTS[name][place])
            assert page.locator("html").get_attribute("lang") == language
            assert violations(page) == [], f"{name} {language}"
            wide = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, f"{name} {language}"
            assert not re.search(r"0?7123456[0-9]{2}", page.content()), f"{name} {language}"
    assert [fault for fault in faults if "404" not in fault] == []


def test_a_buyer_pays_by_the_link_and_goes_back_with_the_receipt(
    browser: Browser, instance: Instance, server: Client
) -> None:
    made = opened(server)
    page, faults = visit(browser, made["payment_url"])
    assert page.locator(".amount").inner_text() == "KES 1,500.00"
    expect(page.get_by_text("Karo ya shule")).to_be_visible()
    expect(page.get_by_text("Duka la Amina")).to_be_visible()
    expect(page.get_by_text("2547****5678")).to_be_visible()
    page.get_by_role("button", name="Pay KES 1,500.00").click()
    expect(page.get_by_role("heading", name="Check your phone")).to_be_visible()
    page.get_by_text("Pay without a request").click()
    expect(page.get_by_text(instance.settings.mpesa_business_shortcode)).to_be_visible()
    number = instance.services.ledger.session(UUID(made["session_id"])).attempts[1].transaction_id
    expect(page.get_by_text(f"D{number}", exact=True)).to_be_visible()
    approve(instance)
    expect(page.get_by_role("heading", name="Thank you, it is paid")).to_be_visible()
    expect(page.locator("#said")).to_contain_text("Thank you, it is paid")
    receipt = server.status(made["session_id"])["receipt"]
    expect(page.locator(".receipt")).to_have_text(receipt)
    expect(page.get_by_role("button", name="Copy")).to_be_visible()
    back = page.get_by_role("link", name="Back to the shop")
    assert back.get_attribute("href") == f"{RETURNS}/asante"
    assert violations(page) == []
    assert faults == []


@pytest.mark.system
def test_without_scripts_the_page_works_by_reloading(
    browser: Browser, instance: Instance, server: Client
) -> None:
    made = opened(server, phone=None)
    page, _ = visit(browser, made["payment_url"], java_script_enabled=False, locale="sw-KE")
    page.get_by_label("Nambari ya M-Pesa").fill("12")
    page.get_by_role("button", name="Lipa KES 1,500.00").click()
    expect(page.get_by_role("alert")).to_have_text(TEXTS["INVALID_INPUT"][1])
    page.get_by_label("Nambari ya M-Pesa").fill("0712 345 678")
    page.get_by_role("button", name="Lipa KES 1,500.00").click()
    expect(page.get_by_role("heading", name="Angalia simu yako")).to_be_visible()
    approve(instance)
    expect(page.get_by_role("heading", name="Asante, umelipa")).to_be_visible()


@pytest.mark.system
def test_more_time_another_number_and_one_prompt_for_two_presses(
    browser: Browser, instance: Instance, server: Client
) -> None:
    made = opened(server)
    page, _ = visit(browser, made["payment_url"])
    page.get_by_role("button", name="I need more time").click()
    expect(page.get_by_role("heading", name="Pay with M-Pesa")).to_be_visible()
    assert server.status(made["session_id"])["expires_at"] > made["expires_at"]
    page.get_by_label("Another M-Pesa number").fill("0712 345 679")
    page.get_by_role("button", name="Pay KES").dblclick()
    expect(page.get_by_role("heading", name="Check your phone")).to_be_visible()
    assert len(instance.simulator.prompts("254712345679")) == 1
    assert instance.simulator.prompts(DIGITS) == []


@pytest.mark.system
def test_the_language_is_the_browsers_until_the_buyer_chooses(browser: Browser, server: Client) -> None:
    page, _ = visit(browser, opened(server)["payment_url"], locale="sw")
    expect(page.get_by_role("heading", name="Lipa kwa M-Pesa")).to_be_visible()
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", name="Pay with M-Pesa")).to_be_visible()
    page.get_by_role("button", name="Pay KES").click()
    expect(page.get_by_role("heading", name="Check your phone")).to_be_visible()


@pytest.mark.system
def test_all_that_the_page_loads_is_small(browser: Browser, server: Client) -> None:
    context = browser.new_context(extra_http_headers=THROUGH_PROXY)
    page, sizes = context.new_page(), dict[str, int]()
    page.on(
        "response",
        lambda answer: sizes.update({answer.url: len(answer.body())}) if "stream" not in answer.url else None,
    )
    page.goto(opened(server)["payment_url"])
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert len(sizes) >= 3
    assert sum(sizes.values()) < MAX_BYTES, sizes


@pytest.mark.system
def test_a_simulated_phone_is_shown_to_the_developer_alone(
    browser: Browser, instance: Instance, server: Client
) -> None:
    made = initiated(server)
    assert prompt_of(instance).is_open
    page, _ = visit(browser, made["payment_url"], extra_http_headers={})
    expect(page.frame_locator("#phone-of-buyer").get_by_role("button", name="Cancel")).to_be_visible()
    page, _ = visit(browser, made["payment_url"])
    expect(page.locator("iframe")).to_have_count(0)
