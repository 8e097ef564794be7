"""Operators at the console's cases: they see what waits, decide, and see it go. And who is none gets nowhere."""

from datetime import timedelta
from itertools import product
from uuid import UUID, uuid4

import pytest
import requests
from playwright.sync_api import Page, expect

from api.pages.console.staff import COOKIE
from ledger import clock
from ledger.session.values import RefundState
from ledger.store.vault import DELIVERY, PHONE
from tests.scenarios.steps import CALLBACKS, report
from tests.support.checkouts import Checkout
from tests.support.instance import Instance
from tests.support.waiting import wait_until

NOTE = "Paid out at the counter."


@pytest.fixture
def due(instance: Instance) -> Checkout:
    """Money that must go back, seen by the worker, who must not make its order meanwhile."""
    services = instance.services
    instance.stop_worker()
    session_id = uuid4()
    delivery = services.vault.encrypt(7, "{}", purpose=DELIVERY, row=session_id)
    phone = services.vault.encrypt(7, "254712345678", purpose=PHONE, row=session_id)
    before = clock.now() - timedelta(minutes=1)
    checkout = Checkout(
        services.ledger, at=before, session_id=session_id, delivery_sealed=delivery, phone_sealed=phone
    )
    checkout.request(phone).pay("UKG7Q2X9LM").refuse_order()
    instance.start_worker()
    return checkout


def proof_in(page: str) -> str:
    """Return the proof that the forms of a page carry."""
    return page.partition('name="proof" value="')[2][:32]


def signed_in(instance: Instance, **form: str) -> tuple[requests.Session, requests.Response]:
    """Sign in by the form, as a browser would; return it and the answer to the form."""
    browser, console = requests.Session(), f"{instance.base_url}/console/"
    proof = proof_in(browser.get(console, timeout=10).text)
    answer = browser.post(
        f"{console}sign-in/", data={"proof": proof, **form}, timeout=10, allow_redirects=False
    )
    return browser, answer


def _wait_for(page: Page, instance: Instance, count: int) -> None:
    operator = instance.client(9, "operator")
    wait_until(lambda: operator.get("/api/work-list/").json()["count"] == count, f"{count} cases are open")
    page.goto("/console/work/")


def test_an_operator_sees_a_refund_that_is_due_and_decides_about_it(
    page: Page, instance: Instance, due: Checkout
) -> None:
    page.goto("/console/work/")
    page.get_by_role("button", name="Sign in as the demo operator").click()
    _wait_for(page, instance, 1)
    case = page.get_by_role("article", name="Refund due")
    expect(case).to_contain_text("KES 350.00")
    expect(case).to_contain_text("Paid, but sold out in the meantime.")
    expect(case).to_contain_text(f"Session {due.session_id}, refund 1")

    case.get_by_label("Reason: Hold").fill("Call 0712345678 first")
    case.get_by_role("button", name="Hold").click()
    expect(page.get_by_role("alert")).to_contain_text("Leave the phone number out")
    assert due.session.refunds[1].state == RefundState.DUE

    page.goto("/console/work/")
    case.get_by_label("Note: Returned by other means").fill(NOTE)
    case.get_by_role("button", name="Returned by other means").click()
    expect(page.get_by_role("status")).to_contain_text("Recorded as returned.")
    refund = due.session.refunds[1]
    assert refund.state == RefundState.REFUNDED
    _wait_for(page, instance, 0)
    expect(page.get_by_text("No open cases.")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_label("Token")).to_be_visible()


@pytest.mark.system
def test_an_operator_signs_in_with_a_token_filters_and_closes(page: Page, instance: Instance) -> None:
    report(instance, CALLBACKS, b"<script>alert(1)</script>")
    page.goto("/console/work/")
    page.get_by_label("Token").fill(instance.token(9, "customer"))
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("lacks the role")
    page.goto("/console/work/")
    page.get_by_label("Token").fill(f" Bearer {instance.token(9, 'operator')} ")
    page.get_by_role("button", name="Sign in", exact=True).click()
    _wait_for(page, instance, 1)
    page.get_by_role("link", name="Inbound message dead-lettered 1").click()
    case = page.get_by_role("article", name="Inbound message dead-lettered")
    case.get_by_label("Note: Close").fill("A test.")
    case.get_by_role("button", name="Close").click()
    expect(page.get_by_role("status")).to_contain_text("Closed.")
    expect(page.get_by_text("No open cases.")).to_be_visible()


def test_no_form_works_without_its_proof_or_without_an_operator(instance: Instance, due: Checkout) -> None:
    act, case_id = f"{instance.base_url}/console/work/act/", f"{due.session_id}.refund.1"
    form = {"kind": "refund_due", "case_id": case_id, "action": "approve"}
    operator, customer = instance.token(9, "operator"), instance.token(7, "customer")
    for cookies in ({}, {COOKIE: "x"}, {COOKIE: customer}):
        answer = requests.post(act, data=form, cookies=cookies, timeout=10, allow_redirects=False)
        assert answer.status_code == 303
    for proof in ("", "0" * 32, "ü"):
        answer = requests.post(act, data={**form, "proof": proof}, cookies={COOKIE: operator}, timeout=10)
        assert answer.status_code == 403
    assert due.session.refunds[1].state == RefundState.DUE
    kept = signed_in(instance, token=operator)[1].headers["Set-Cookie"]
    for attribute in ("HttpOnly", "SameSite=Strict", "Path=/console/"):
        assert attribute in kept


def test_an_auditor_sees_the_list_and_no_button_works_for_them(instance: Instance, due: Checkout) -> None:
    auditor, answer = signed_in(instance, token=instance.token(9, "auditor"))
    assert answer.status_code == 303

    def shown_list() -> str:
        return auditor.get(f"{instance.base_url}/console/work/", timeout=10).text

    wait_until(lambda: "Refund due" in shown_list(), "the case is shown")
    shown = shown_list()
    assert "Approve refund" not in shown
    form = {
        "proof": proof_in(shown),
        "kind": "refund_due",
        "case_id": f"{due.session_id}.refund.1",
        "action": "approve",
    }
    assert auditor.post(f"{instance.base_url}/console/work/act/", data=form, timeout=10).status_code == 403
    assert due.session.refunds[1].state == RefundState.DUE


def test_an_unknown_case_or_action_is_refused(instance: Instance) -> None:
    session, _ = signed_in(instance, demo="1")
    proof = proof_in(session.get(f"{instance.base_url}/console/work/", timeout=10).text)
    cases = ("x", "../../x", f"{UUID(int=1)}.refund.x", f"{UUID(int=1)}.refund.1")
    actions = (("refund_due", "approve"), ("letter_set_aside", "close"), ("nonsense", "x"))
    for case_id, (kind, action) in product(cases, actions):
        form = {"proof": proof, "kind": kind, "case_id": case_id, "action": action, "text": "A note."}
        answer = session.post(f"{instance.base_url}/console/work/act/", data=form, timeout=10)
        assert answer.status_code in (404, 409), answer.text
        assert "Nothing was changed." in answer.text
