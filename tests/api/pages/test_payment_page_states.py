"""The payment page in the states that staff and shop bring about: paused, closed, paid, and money that goes back."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from api.pages.pay.texts import LANGUAGES, TEXTS
from ledger import clock
from ledger.store.vault import PHONE
from payments.checkout.payment_links import make_link
from payments.checkout.terms import MAX_ATTEMPTS
from payments.operators.operator import Operator
from payments.operators.switches import Switch
from tests.api.pages.test_payment_page import THROUGH_PROXY, visit
from tests.support.axe import violations
from tests.support.checkouts import Checkout
from tests.support.instance import Instance, running_instance

BUYER = 7
NUMBER = "254712345678"
REASON = "M-Pesa charges twice."
PAYS = 'name="do" value="pay"'


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    """An instance without a worker: each session stays as a test leaves it."""
    with running_instance(database_url, data_folder) as running:
        yield running


def begun(instance: Instance) -> Checkout:
    """Return a session of a few minutes ago with a number of its own."""
    session_id, vault = uuid4(), instance.services.vault
    phone = vault.encrypt(BUYER, NUMBER, purpose=PHONE, row=session_id)
    at = clock.now() - timedelta(minutes=5)
    return Checkout(instance.services.ledger, user_id=BUYER, at=at, session_id=session_id, phone_sealed=phone)


def requested(instance: Instance) -> Checkout:
    """Return a session with an attempt of this moment, whose number is kept encrypted."""
    checkout = begun(instance).wait(minutes=5)
    phone = instance.services.vault.encrypt(BUYER, NUMBER, purpose=PHONE, row=checkout.session_id)
    return checkout.request(phone)


def prompted(instance: Instance) -> Checkout:
    return requested(instance).initiate()


def ordered(instance: Instance, receipt: str) -> Checkout:
    return begun(instance).prompt().pay(receipt).order()


def closed(instance: Instance) -> Checkout:
    """Return a session all of whose attempts M-Pesa refused."""
    checkout = begun(instance)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        checkout.request(max_attempts=MAX_ATTEMPTS).refuse(attempt)
    return checkout


def with_surplus(instance: Instance) -> Checkout:
    """Return a session that was paid twice: the second payment goes back."""
    checkout = begun(instance).prompt().wait(seconds=100).prompt().pay("RCPTTWIN01").order()
    return checkout.pay("RCPTTWIN02", attempt=2)


def refund_order(instance: Instance, checkout: Checkout, **fields: str) -> Checkout:
    path = f"/api/payments/sessions/{checkout.session_id}/refund/"
    answer = instance.client(9, "operator").post(path, json={"reason": "Sent back."} | fields)
    assert answer.status_code == 200, answer.text
    return checkout


def url_of(instance: Instance, checkout: Checkout) -> str:
    return f"{instance.base_url}/pay/{make_link(instance.services.vault, checkout.session_id, BUYER)}/"


def pause(instance: Instance) -> None:
    instance.services.switches.turn(Switch.PROMPTS, is_on=False, reason=REASON, by=Operator(9))


def heading(page: Page, name: str, language: str = "en") -> None:
    """Expect the heading of a state."""
    words = TEXTS[name][list(LANGUAGES).index(language)]
    expect(page.get_by_role("heading", level=1)).to_have_text(words)


def brought_about(instance: Instance) -> dict[str, Checkout]:
    """Return a session in each state that others than its buyer bring about, by the name of the state."""
    return {
        "closed": closed(instance),
        "paid": begun(instance).prompt().pay("RCPTPAID01"),
        "no_order": begun(instance).prompt().pay("RCPTNONE01").refuse_order(),
        "refund_due": refund_order(instance, ordered(instance, "RCPTDUE001")),
        "partly_refunded": refund_order(
            instance, ordered(instance, "RCPTPART01"), amount="100", payout_receipt="UKP0000001"
        ),
        "refunded": ordered(instance, "RCPTBACK01").take_back("RCPTBACK01"),
        "done": with_surplus(instance),
        "paused": begun(instance),
    }


def read(url: str) -> str:
    """Return a page as a buyer gets it."""
    return requests.get(url, headers=THROUGH_PROXY, timeout=10).text


def test_every_state_has_its_heading_in_both_languages(instance: Instance) -> None:
    states = {
        "ready": begun(instance),
        "phone": prompted(instance),
        "doubt": requested(instance).lose_push_answer(),
        "failed": prompted(instance).cancel(),
        "expired": begun(instance).wait(minutes=30).expire(),
        **brought_about(instance),
    }
    assert PAYS in read(url_of(instance, states["ready"]))
    for name, checkout in states.items():
        if name == "paused":
            pause(instance)
        for place, language in enumerate(LANGUAGES):
            shown = read(f"{url_of(instance, checkout)}?lang={language}")
            headings = re.findall(r"<h1[^>]*>(.*?)</h1>", shown, re.DOTALL)
            assert [unescape(each).strip() for each in headings] == [TEXTS[name][place]], name
            assert f'<html lang="{language}">' in shown
            assert NUMBER[3:] not in shown
    shown = read(url_of(instance, states["paused"]))
    assert REASON in shown
    assert PAYS not in shown


@pytest.mark.system
def test_states_that_others_bring_about_are_readable_in_both_languages(
    browser: Browser, instance: Instance
) -> None:
    states = brought_about(instance)
    page, faults = visit(browser, url_of(instance, states["closed"]))
    for name, checkout in states.items():
        if name == "paused":
            pause(instance)
        for language in LANGUAGES:
            page.goto(f"{url_of(instance, checkout)}?lang={language}")
            heading(page, name, language)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert violations(page) == [], f"{name} {language} {scheme}"
            wide = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, f"{name} {language}"
            assert NUMBER[3:] not in page.content()
    assert faults == []


@pytest.mark.system
def test_while_prompts_are_off_the_buyer_reads_why_and_can_press_nothing(
    browser: Browser, instance: Instance
) -> None:
    checkout = begun(instance)
    page, _ = visit(browser, url_of(instance, checkout))
    pause(instance)
    page.get_by_role("button", name="Pay KES").click()
    heading(page, "paused")
    expect(page.locator(".says")).to_contain_text(REASON)
    expect(page.get_by_role("button", name="Pay KES")).to_have_count(0)
    assert instance.simulator.prompts() == []


@pytest.mark.system
def test_a_refunded_surplus_leaves_the_order_paid(browser: Browser, instance: Instance) -> None:
    checkout = with_surplus(instance)
    page, _ = visit(browser, url_of(instance, checkout))
    heading(page, "done")
    expect(page.locator(".money")).to_contain_text(TEXTS["DUE"][0])
    checkout.request_refund().refund()
    page.reload()
    heading(page, "done")
    expect(page.locator(".says")).to_have_text(TEXTS["done_says"][0].format(amount="KES 350.00"))
    expect(page.locator(".money")).to_contain_text(f"{TEXTS['REFUNDED'][0]} NLJ0REVERSE")
    refund_order(instance, checkout, amount="100", payout_receipt="UKP0000002")
    page.reload()
    heading(page, "partly_refunded")
    expect(page.locator(".says")).to_have_text(TEXTS["refunded_says"][0].format(back="KES 100.00"))


@pytest.mark.system
def test_who_paid_for_an_order_that_was_refused_reads_what_goes_back(
    browser: Browser, instance: Instance
) -> None:
    checkout = begun(instance).prompt().pay("RCPTNONE02").refuse_order()
    page, _ = visit(browser, url_of(instance, checkout))
    due = TEXTS["refund_due_says"][0].format(back="KES 350.00")
    expect(page.locator(".says")).to_have_text(f"{TEXTS['no_order_says'][0]} {due}")
    checkout.request_refund().refund()
    page.reload()
    heading(page, "no_order")
    gone = TEXTS["refunded_says"][0].format(back="KES 350.00")
    expect(page.locator(".says")).to_have_text(f"{TEXTS['no_order_says'][0]} {gone}")


@pytest.mark.parametrize("ended", ["failed", "expired"])
def test_who_paid_another_amount_reads_that_it_goes_back_and_can_start_again(
    instance: Instance, ended: str
) -> None:
    checkout = prompted(instance).cancel() if ended == "failed" else requested(instance).refuse()
    if ended == "expired":
        checkout.wait(minutes=16).expire()
    checkout.pay("RCPTSHORT1", amount_cents=201_00)
    shown = requests.get(url_of(instance, checkout), timeout=10).text
    assert f"{TEXTS['other_amount_says'][0]} {TEXTS['refund_due_says'][0].format(back='KES 201.00')}" in shown
    for name in (ended, "start_again"):
        assert TEXTS[name][0] in shown
    for name in ("no_order", "no_order_says", "expired_says"):
        assert TEXTS[name][0] not in shown


@pytest.mark.system
def test_a_page_that_the_server_refuses_for_a_while_goes_on_by_itself(
    browser: Browser, instance: Instance
) -> None:
    checkout = begun(instance).prompt()
    page, _ = visit(browser, url_of(instance, checkout))
    page.route("**/stream/", lambda route: route.fulfill(status=503))
    page.reload()
    page.route("**/pay/pl_*/", lambda route: route.fulfill(status=503))
    expect(page.get_by_role("alert")).to_have_text(TEXTS["offline"][0])
    heading(page, "doubt")
    checkout.pay("RCPTAFTER1")
    page.unroute("**/pay/pl_*/")
    heading(page, "paid")
    expect(page.get_by_role("alert")).to_have_count(0)
