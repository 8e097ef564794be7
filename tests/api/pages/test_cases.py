"""Operators solve cases where they stand: an unmatched payment finds its session, and what was decided is kept."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from playwright.sync_api import Page, expect

from api.pages.console.staff import COOKIE
from ledger import clock
from ledger.session.values import RefundStatus
from ledger.store.vault import PHONE
from tests.api.pages.test_work import proof_in, signed_in
from tests.scenarios.steps import CANCELS, PAYS_AT_ONCE, TOMATOES, put_in_cart, put_on_shelf
from tests.security.world import World
from tests.support.checkouts import Checkout
from tests.support.instance import Instance, running_instance, wait_for_status
from tests.support.waiting import wait_until

FORGE = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, verdict,
                             first_seen_at)
VALUES ('payment UKRFORGED1', 'payment', 'UKRFORGED1', true, 35000, now(), 'c2b', 'unknown', now())
"""
PAYS_BY_HAND = "254722000111"


def register(instance: Instance) -> None:
    """Let M-Pesa notify payments that are made by hand."""
    c2b = instance.services.c2b
    confirmation, validation = c2b.urls
    instance.services.daraja.register_c2b(
        confirmation_url=confirmation, validation_url=validation, response_type=c2b.response_type
    )


def test_an_unmatched_payment_is_allocated_to_its_candidate_and_becomes_an_order(
    page: Page, instance: Instance
) -> None:
    register(instance)
    buyer = instance.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    session_id = instance.pay(buyer, phone_number=CANCELS)
    wait_for_status(buyer, session_id, "failed")
    total = int(float(buyer.get(f"/api/payments/sessions/{session_id}/").json()["total_amount"]))
    receipt = instance.simulator.pay_by_hand(PAYS_BY_HAND, total, "tomatoes please").receipt
    operator = instance.client(9, "operator")
    wait_until(lambda: operator.get("/api/work-list/").json()["count"] == 1, "the payment is a case")

    page.goto("/console/work/")
    page.get_by_role("button", name="Sign in as the demo operator").click()
    page.get_by_role("link", name="Find its session").click()
    facts = page.get_by_role("article", name="Unmatched payment")
    for fact in (str(receipt), "tomatoes please", "2547****111", f"KES {total}.00"):
        expect(facts).to_contain_text(fact)
    expect(page.locator("main")).not_to_contain_text(PAYS_BY_HAND)
    candidate = page.get_by_role("row").filter(has=page.get_by_role("link", name="Choose candidate 1"))
    expect(candidate).to_contain_text("Asks for this amount")
    expect(candidate).to_contain_text("This session is paid with it")
    candidate.get_by_role("link", name="Choose candidate 1").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("to this session?")
    expect(page.get_by_role("region", name="The session")).to_contain_text(session_id)
    page.get_by_role("button", name="Allocate to this session").click()
    expect(page.get_by_role("status")).to_contain_text("Payment allocated.")
    expect(page.get_by_text("This case is closed.")).to_be_visible()
    shown = wait_for_status(buyer, session_id, "order_created")

    page.get_by_role("link", name="Closed cases").click()
    row = page.get_by_role("row").filter(has_text="Allocated")
    expect(row).to_contain_text("Unmatched payment")
    expect(row).to_contain_text("user:9")
    row.get_by_role("link", name="its payment").click()
    expect(page.get_by_text(f"order {shown['order']['order_number']}").first).to_be_visible()
    expect(page.get_by_role("region", name="What to do")).to_contain_text("Paid and ordered.")
    expect(page.get_by_role("row").filter(has_text="Allocated")).to_be_visible()


@pytest.mark.system
def test_a_session_is_searched_within_the_case(visit: Callable[..., Page], world: World) -> None:
    page = visit("operator", "/console/work/money_unknown/payment.UKGUNKNOWN/")
    expect(page.get_by_role("article", name="Unmatched payment")).to_contain_text("2547****5678")
    expect(page.locator("main")).not_to_contain_text("0712 345 678")
    services = world.instance.services
    paid = services.ledger.session(UUID(world.known["paid_session_id"]))
    assert paid.order is not None
    for text in (paid.order[1].lower(), *paid.credits, f"d {paid.attempts[1].transaction_id}", str(paid.id)):
        page.get_by_label("Find another session").fill(text)
        page.get_by_role("button", name="Find").click()
        found = page.get_by_role("row").filter(has=page.get_by_role("link", name="Choose found session 1"))
        expect(found).to_contain_text(paid.order[1])
        expect(found).to_contain_text("a refund of it falls due")
        assert text not in page.url
    page.get_by_label("Find another session").fill("no such thing")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("status")).to_contain_text("No session is found by that.")


@pytest.mark.system
def test_a_search_by_phone_is_an_entry_of_the_access_log_and_in_no_url(
    visit: Callable[..., Page], world: World
) -> None:
    page = visit("operator", "/console/payments/")
    page.get_by_label("Phone").fill(PAYS_AT_ONCE)
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("row").filter(has_text="ORD-")).to_have_count(1)
    assert PAYS_AT_ONCE not in page.url
    page.goto(f"/console/payments/{world.known['paid_session_id']}/")
    expect(page.get_by_text("2547****0001")).to_be_visible()
    expect(page.get_by_role("link", name="Take the evidence")).to_have_count(0)
    read, searched = world.instance.services.audit_log.entries(kind="access", actor="user:9")[1][:2]
    assert read.subject == f"session:{world.known['paid_session_id']}"
    assert searched.details["by"] == ["phone"]
    assert world.known["paid_session_id"] in searched.details["sessions"]
    assert PAYS_AT_ONCE not in str(searched)


@pytest.mark.system
def test_reading_a_case_is_an_entry_of_the_access_log(visit: Callable[..., Page], world: World) -> None:
    visit("auditor", "/console/work/refund_due/{refund_session_id}.refund.1/")
    [read] = world.instance.services.audit_log.entries(kind="access", actor="user:10")[1][:1]
    assert (read.subject, read.details["what"]) == (f"session:{world.known['refund_session_id']}", "case")


def test_a_search_in_a_case_needs_its_proof_and_the_role(world: World) -> None:
    instance = world.instance
    path = f"{instance.base_url}/console/work/money_unknown/payment.UKGUNKNOWN/"
    form = {"find": world.known["paid_session_id"]}
    for role, proof, status in (("operator", "0" * 32, 403), ("analyst", "", 403), ("customer", "", 200)):
        browser = instance.anonymous()
        browser.cookies.set(COOKIE, instance.token(12, role), path="/console/")
        answer = browser.post(path.removeprefix(instance.base_url), data={**form, "proof": proof})
        assert answer.status_code == status
        assert "Choose found session" not in answer.text
    auditor, _ = signed_in(instance, token=instance.token(10, "auditor"))
    proof = proof_in(auditor.get(path, timeout=10).text)
    found = auditor.post(path, data={**form, "proof": proof}, timeout=10).text
    assert "Sessions found" in found
    assert "Choose found session" not in found


def test_what_is_no_case_is_not_found(world: World) -> None:
    operator, _ = signed_in(world.instance, token=world.instance.token(9, "operator"))
    paid = world.known["paid_session_id"]
    for path in (
        "nonsense/x/",
        "money_unknown/payment.NONE/",
        f"refund_due/{paid}.refund.9/",
        f"refund_due/{world.known['refund_session_id']}.refund.1/allocate/{paid}/",
        f"money_unknown/payment.NONE/allocate/{paid}/",
        f"money_unknown/payment.UKGUNKNOWN/allocate/{UUID(int=1)}/",
        "closed/?kind=nonsense",
    ):
        answer = operator.get(f"{world.instance.base_url}/console/work/{path}", timeout=10)
        assert answer.status_code in (400, 404), path


@pytest.fixture
def careful(database_url: str, data_folder: Path) -> Iterator[Instance]:
    """An instance where 350 shillings take two operators."""
    with running_instance(database_url, data_folder, DAFTARI_FOUR_EYES_FROM="350.00") as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


def test_the_refund_of_an_order_on_its_payment_takes_two_operators(careful: Instance) -> None:
    buyer = careful.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    session_id = careful.pay(buyer, phone_number=PAYS_AT_ONCE)
    careful.work()
    path = f"{careful.base_url}/console/payments/{session_id}/"
    first, _ = signed_in(careful, token=careful.token(9, "operator"))
    second, _ = signed_in(careful, token=careful.token(8, "operator"))
    form = {"session": session_id, "reason": "Sold twice."}
    form["proof"] = proof_in(first.get(path, timeout=10).text)
    answer = first.post(f"{careful.base_url}/console/work/refund-order/", data=form, timeout=10)
    assert answer.url.startswith(path)
    assert "Proposed: another operator has to approve it." in answer.text
    assert "proposed, waits for a second person" in answer.text
    assert buyer.status(session_id)["refund_status"] is None

    shown = second.get(path, timeout=10).text
    assert "Waits for a second person" in shown
    assert f"Refund the order of session {session_id}: Sold twice., proposed by operator 9" in shown
    case_id = shown.split('name="case_id" value="')[1].split('"')[0]
    case = second.get(f"{careful.base_url}/console/work/decision_proposed/{case_id}/", timeout=10).text
    assert "by reversal of the whole payment" in case
    assert "stay off the shelf" in case
    form = {"kind": "decision_proposed", "case_id": case_id, "action": "approve", "page": "case"}
    form["proof"] = proof_in(shown)
    answer = second.post(f"{careful.base_url}/console/work/act/", data=form, timeout=10)
    assert "Approved and carried out." in answer.text
    assert buyer.status(session_id)["refund_status"] == RefundStatus.DUE
    shown = second.get(path, timeout=10).text
    assert "as the second person" in shown
    assert "Refund 1: " in shown


def test_who_is_asked_to_approve_an_allocation_sees_the_payment_beside_the_session(careful: Instance) -> None:
    register(careful)
    buyer = careful.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    session_id = careful.pay(buyer, phone_number=CANCELS)
    wait_for_status(buyer, session_id, "failed")
    receipt = str(careful.simulator.pay_by_hand(PAYS_BY_HAND, 350, "tomatoes").receipt)
    careful.work()
    path = f"/api/work-list/money_unknown/payment.{receipt}/"
    assert careful.client(9, "operator").post(f"{path}assign/", json={"session": session_id}).ok
    first, _ = signed_in(careful, token=careful.token(9, "operator"))
    second, _ = signed_in(careful, token=careful.token(8, "operator"))
    shown = second.get(f"{careful.base_url}/console/work/", timeout=10).text
    assert f"Allocate unmatched payment {receipt} to session {session_id}, proposed by operator 9" in shown
    assert "Approve refund" not in shown
    case_id = shown.split("/console/work/decision_proposed/")[1].split("/")[0]
    path = f"{careful.base_url}/console/work/decision_proposed/{case_id}/"
    side_by_side = f"/console/work/money_unknown/payment.{receipt}/allocate/{session_id}/"
    assert side_by_side in second.get(path, timeout=10).text
    assert second.get(f"{careful.base_url}{side_by_side}", timeout=10).status_code == 200
    form = {"kind": "decision_proposed", "case_id": case_id, "action": "approve"}
    form["proof"] = proof_in(first.get(path, timeout=10).text)
    refused = first.post(f"{careful.base_url}/console/work/act/", data=form, timeout=10)
    assert refused.status_code == 403
    assert "You proposed this; another operator has to approve it" in refused.text
    assert "ask for a token" not in refused.text
    auditor, _ = signed_in(careful, token=careful.token(10, "auditor"))
    shown = auditor.get(path, timeout=10).text
    assert side_by_side not in shown
    assert f'/console/work/money_unknown/payment.{receipt}/"' in shown


def test_a_forged_payment_shows_none_of_what_it_claims(careful: Instance) -> None:
    with psycopg.connect(careful.settings.database_url, autocommit=True) as attacker:
        attacker.execute(FORGE)
    operator, _ = signed_in(careful, token=careful.token(9, "operator"))
    path = f"{careful.base_url}/console/work/money_unknown/payment.UKRFORGED1/"
    shown = operator.get(path, timeout=10).text
    assert "Daftari did not store it as it is. Ask M-Pesa" in shown
    assert "KES 350.00" not in shown
    assert "Sessions it may belong to" not in shown
    assert operator.get(f"{path}allocate/{UUID(int=1)}/", timeout=10).status_code == 404


def test_a_refund_tells_which_receipt_it_gives_back_and_what_was_tried(careful: Instance) -> None:
    vault, session_id = careful.services.vault, uuid4()
    phone = vault.encrypt(7, PAYS_BY_HAND, purpose=PHONE, row=session_id)
    at = clock.now() - timedelta(minutes=5)
    checkout = Checkout(careful.services.ledger, at=at, session_id=session_id, phone_sealed=phone)
    checkout.request(phone).initiate().pay("UKGFIRST01").order().cancel().pay("UKGSECOND1")
    checkout.request_refund().fail_refund(code="INSUFFICIENT_FUNDS")
    careful.work()
    operator, _ = signed_in(careful, token=careful.token(9, "operator"))
    path = f"{careful.base_url}/console/work/refund_due/{session_id}.refund.1/"
    case = operator.get(path, timeout=10).text.partition("Its session")[0]
    assert "The last attempt failed. The shop&#39;s M-Pesa account holds too little" in case
    assert "UKGSECOND1" in case
    assert "Attempts that failed</dt><dd>1</dd>" in case
    payment = operator.get(f"{careful.base_url}/console/payments/{session_id}/", timeout=10).text
    discrepancies = payment.partition("<h2>Discrepancies</h2>")[2].partition("</table>")[0]
    assert "How the attempt ended" in discrepancies
    assert "is_open" not in discrepancies
