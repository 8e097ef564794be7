"""A buyer pays on the shop's pages, at once or after a mistake."""

from datetime import timedelta

import pytest
from freezegun import freeze_time
from playwright.sync_api import Page, expect

from ledger import clock
from tests.api.pages.acts import (
    DIGITS,
    check_out,
    fill_in_delivery,
    phone_of,
    press_on_phone,
    press_pay,
    return_to_order,
)
from tests.scenarios.steps import ANSWER_AND_CALLBACK_LOST, prompt_of, receipt_of
from tests.support.instance import Instance


def sessions(instance: Instance, user: int = 1) -> list[str]:
    """Return the statuses of a buyer's sessions, newest first."""
    listed = instance.client(user).get("/api/payments/sessions/").json()["results"]
    return [session["session_status"] for session in listed]


def test_a_buyer_goes_from_the_catalogue_to_the_order(page: Page, instance: Instance) -> None:
    page.goto("/")
    page.get_by_role("link", name="Shop").click()
    page.get_by_role("button", name="Add Carrots to the cart").click()
    page.get_by_role("link", name="Go to the cart").click()
    expect(page.get_by_role("heading", name="Your cart")).to_be_visible()
    expect(page.get_by_role("heading", name="Carrots")).to_be_visible()
    page.get_by_role("link", name="Continue to delivery").click()
    fill_in_delivery(page)
    press_pay(page)
    press_on_phone(page, "Enter PIN and pay")
    number = return_to_order(page)
    expect(page.get_by_text("Carrots")).to_be_visible()
    expect(page.get_by_text(f"M-Pesa receipt {receipt_of(prompt_of(instance))}")).to_be_visible()
    [listed] = instance.client(1).get("/api/payments/sessions/").json()["results"]
    assert listed["order_details"]["order_number"] == number
    assert page.locator("#paid").inner_text() == f"KES {listed['total_amount']}"
    assert instance.client(1).get("/api/cart/").json()["items"] == []


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        ("Cancel", "The payment request was cancelled on the phone."),
        pytest.param("Wrong PIN", "The M-Pesa PIN was wrong.", marks=pytest.mark.system),
        pytest.param(
            "Ignore",
            "The phone did not answer. Switch it on, keep it at hand, and try again.",
            marks=pytest.mark.system,
        ),
    ],
)
def test_a_mistake_is_shown_and_the_buyer_pays_on_the_next_attempt(
    page: Page, instance: Instance, mistake: str, reason: str
) -> None:
    check_out(page)
    press_on_phone(page, mistake)
    expect(page.get_by_role("heading", name="The payment did not go through")).to_be_visible()
    expect(page.get_by_role("article").get_by_text(reason)).to_be_visible()
    page.get_by_role("link", name="Start again").click()
    fill_in_delivery(page)
    press_pay(page)
    press_on_phone(page, "Enter PIN and pay")
    return_to_order(page)
    assert sessions(instance) == ["order_created", "failed"]


@pytest.mark.system
def test_a_double_click_on_pay_sends_one_prompt(page: Page, instance: Instance) -> None:
    page.goto("/shop/checkout/")
    fill_in_delivery(page)
    page.get_by_role("button", name="Pay KES").dblclick()
    expect(page.get_by_role("heading", name="Check your phone")).to_be_visible()
    assert sessions(instance) == ["payment_initiated"]
    assert len(instance.simulator.prompts(DIGITS)) == 1


@pytest.mark.system
def test_a_prompt_that_mpesa_refused_is_sent_again_for_the_same_session(
    page: Page, instance: Instance
) -> None:
    instance.simulator.fail_next("push", "spike-arrest")
    page.goto("/shop/checkout/")
    fill_in_delivery(page)
    page.get_by_role("button", name="Pay KES").click()
    expect(page.get_by_role("alert").get_by_text("M-Pesa is temporarily unavailable")).to_be_visible()
    press_pay(page)
    assert sessions(instance) == ["payment_initiated"]


@pytest.mark.system
def test_pressing_again_after_a_lost_connection_opens_no_second_session(
    page: Page, instance: Instance
) -> None:
    page.goto("/shop/checkout/")
    fill_in_delivery(page)
    page.route("**/api/payments/sessions/", lambda route: (route.fetch(), route.abort()), times=1)
    page.get_by_role("button", name="Pay KES").click()
    expect(page.get_by_role("alert").get_by_text("The shop did not answer")).to_be_visible()
    press_pay(page)
    assert sessions(instance) == ["payment_initiated"]


@pytest.mark.system
def test_a_payment_that_waits_is_still_there_after_a_reload(page: Page) -> None:
    check_out(page)
    page.reload()
    expect(page.get_by_role("heading", name="Check your phone")).to_be_visible()
    press_on_phone(page, "Enter PIN and pay")
    return_to_order(page)


@pytest.mark.system
def test_an_expired_session_leads_back_to_the_checkout(page: Page, instance: Instance) -> None:
    with freeze_time(clock.now() - timedelta(hours=1)):
        session_id = instance.client(1).create().json()["session_id"]
    page.goto(f"/shop/sessions/{session_id}/")
    expect(page.get_by_role("heading", name="Time ran out")).to_be_visible()
    page.get_by_role("link", name="Start again").click()
    fill_in_delivery(page)
    press_pay(page)
    expect(phone_of(page).get_by_role("button", name="Enter PIN and pay")).to_be_visible()
    assert sessions(instance) == ["payment_initiated", "expired"]


@pytest.mark.system
def test_a_session_without_a_prompt_gets_one_on_its_page(page: Page, instance: Instance) -> None:
    session_id = instance.client(1).create().json()["session_id"]
    page.goto(f"/shop/sessions/{session_id}/")
    page.get_by_role("button", name="Pay KES").click()
    expect(page.get_by_role("heading", name="Check your phone")).to_be_visible()
    press_on_phone(page, "Enter PIN and pay")
    return_to_order(page)


@pytest.mark.system
def test_a_payment_for_sold_out_goods_shows_its_refund(page: Page, instance: Instance) -> None:
    check_out(page)
    withdrawn = {"product_name": "Sukuma Wiki", "farm_name": "Green Valley Farm", "price": "30.00"}
    answer = instance.client(9, "operator").put(
        "/api/catalogue/124/", json={**withdrawn, "unit_of_measure": "bunch", "stock": "0"}
    )
    assert answer.status_code == 200, answer.text
    press_on_phone(page, "Enter PIN and pay")
    expect(page.get_by_role("heading", name="There is no order")).to_be_visible()
    expect(page.get_by_role("article")).to_contain_text("goes back to you.")
    expect(page.locator(".receipt")).to_have_text(receipt_of(prompt_of(instance)))
    expect(page.get_by_role("term").filter(has_text="Goes back to you")).to_be_visible()


@pytest.mark.system
def test_the_payments_page_follows_changes_without_polling(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    check_out(page)
    press_on_phone(page, "Enter PIN and pay")
    return_to_order(page)
    assert len([url for url in asked if url.endswith("/stream/")]) == 1
    assert [url for url in asked if url.endswith("/status/")] == []


@pytest.mark.system
def test_without_a_stream_the_page_fetches_itself(page: Page) -> None:
    page.route("**/stream/", lambda route: route.fulfill(status=503))
    check_out(page)
    press_on_phone(page, "Enter PIN and pay")
    return_to_order(page)


@pytest.mark.system
def test_a_broken_stream_is_resumed(page: Page) -> None:
    page.route("**/stream/", lambda route: route.abort("connectionreset"), times=1)
    check_out(page)
    press_on_phone(page, "Enter PIN and pay")
    return_to_order(page)


@pytest.mark.system
def test_a_payment_in_doubt_is_shown_without_a_button_to_send_again(page: Page, instance: Instance) -> None:
    session_id = instance.client(1).create().json()["session_id"]
    assert instance.client(1).initiate(session_id, phone_number=ANSWER_AND_CALLBACK_LOST).status_code == 202
    page.goto(f"/shop/sessions/{session_id}/")
    expect(page.get_by_role("heading", name="Waiting for M-Pesa")).to_be_visible()
    expect(page.get_by_role("button", name="request")).to_have_count(0)


@pytest.mark.system
def test_anothers_payment_leads_to_no_payment_page(page: Page, instance: Instance) -> None:
    session_id = instance.client(2).create().json()["session_id"]
    page.goto("/shop/")
    answer = page.request.get(f"/shop/sessions/{session_id}/", max_redirects=0)
    assert answer.status == 404


@pytest.mark.system
def test_a_payer_pays_by_hand_beside_the_phones(page: Page, instance: Instance) -> None:
    page.goto(instance.settings.mpesa_base_url)
    expect(page.locator("#balance")).to_have_text("Ksh0.00")
    page.get_by_label("Phone").fill("0712 345 678")
    page.get_by_label("Amount").fill("350")
    page.get_by_label("Account no.").fill("<b>rent</b>")
    pay, told = page.get_by_role("button", name="Pay", exact=True), page.get_by_role("status")
    pay.click()
    expect(told).to_contain_text("Confirmed. Ksh350.00 sent for account <b>rent</b>.")
    expect(page.locator("#balance")).to_have_text("Ksh350.00")
    pay.click()
    expect(told).to_have_text("Not paid. Rule limited (17)")
    page.get_by_label("Phone").fill("12")
    pay.click()
    expect(told).to_have_text("phone is 254, then 7 or 1, then eight digits.")
