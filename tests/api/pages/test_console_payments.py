"""An auditor finds a payment in the console, sees all of it, steps through it, and prints it."""

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import pytest
import requests
from playwright.sync_api import Page, expect

from ledger import clock
from tests.api.pages.test_work import proof_in, signed_in
from tests.scenarios.steps import PAYS_AT_ONCE
from tests.security.world import World

MAX_PRINTED_PAGES = 2


@pytest.fixture
def auditor(world: World) -> Iterator[requests.Session]:
    session, _ = signed_in(world.instance, token=world.instance.token(10, "auditor"))
    yield session
    session.close()


def _url(world: World, path: str) -> str:
    return f"{world.instance.base_url}/console/payments/{path.format(**world.known)}"


def _search(auditor: requests.Session, world: World, **form: str) -> requests.Response:
    proof = proof_in(auditor.get(_url(world, ""), timeout=10).text)
    return auditor.post(_url(world, ""), data={"proof": proof, **form}, timeout=10)


def _accesses(world: World) -> list[dict[str, Any]]:
    return [entry.details for entry in world.instance.services.audit_log.entries(kind="access")[1]]


def test_an_auditor_finds_a_payment_by_its_receipt_and_steps_through_it(
    visit: Callable[..., Page], world: World
) -> None:
    page = visit("auditor", "/console/payments/")
    page.get_by_label("M-Pesa receipt").fill("UKG7Q2X9LM")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile("receipt=UKG7Q2X9LM"))
    page.locator("tbody a").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paid, but no order")
    expect(page.get_by_text("KES 350.00 of KES 350.00 received")).to_be_visible()
    page.goto(_url(world, "{paid_session_id}/"))
    page.get_by_role("link", name="Step through its events").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Order created")
    page.get_by_role("link", name="← Before").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment received")
    expect(page).to_have_url(re.compile(r"at_version=4$"))
    saw = page.get_by_role("region", name="What the buyer saw")
    expect(saw).to_contain_text("We are creating your order.")
    message = page.get_by_role("region", name="M-Pesa's message")
    expect(message).to_contain_text('"ResultCode": 0')
    expect(page.get_by_role("region", name="What it changed")).to_contain_text("KES 465.00")
    page.get_by_role("link", name="The payment as of here").click()
    expect(page.get_by_role("status")).to_contain_text("As it was at version 4.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Paid, making the order")


def test_a_phone_is_searched_by_and_never_in_a_url(auditor: requests.Session, world: World) -> None:
    answer = _search(auditor, world, phone=PAYS_AT_ONCE)
    assert answer.status_code == 200
    assert answer.history == []
    assert answer.text.count("<tbody>") == 1
    assert world.known["paid_session_id"] in answer.text
    assert not re.search(rf'(href|action)="[^"]*{PAYS_AT_ONCE[-8:]}', answer.text)
    details = _accesses(world)[0]
    assert details["by"] == ["phone"]
    assert details["sessions"] == [world.known["paid_session_id"]]
    assert PAYS_AT_ONCE[-8:] not in str(details)


@pytest.mark.parametrize("query", [f"phone={PAYS_AT_ONCE}", "checkout_id=x", "phone=", "receipt=R&phone=1"])
def test_what_names_a_person_is_refused_in_a_url(auditor: requests.Session, world: World, query: str) -> None:
    before = _accesses(world)
    answer = auditor.get(_url(world, f"?{query}"), timeout=10)
    assert answer.status_code == 400
    assert "stand in no URL" in answer.text
    assert PAYS_AT_ONCE not in answer.text
    assert world.known["paid_session_id"] not in answer.text
    assert _accesses(world) == before


def test_a_shops_reference_is_searched_by_and_leads_to_no_url(
    auditor: requests.Session, world: World
) -> None:
    made = world.instance.server("web-shop").post(
        "/api/payments/checkouts/", json={"amount": "100", "reference": "ADM 2041 Otieno"}
    )
    answer = _search(auditor, world, checkout_reference="ADM 2041 Otieno")
    assert (answer.status_code, answer.history) == (200, [])
    assert answer.text.count("<tbody>") == 1
    assert made.json()["session_id"] in answer.text
    assert not re.search(r'(href|action)="[^"]*Otieno', answer.text)


def test_other_filters_lead_to_a_url_that_can_be_kept(auditor: requests.Session, world: World) -> None:
    day = f"{clock.now().astimezone(clock.NAIROBI):%Y-%m-%d}"
    answer = _search(auditor, world, amount="465.00", status="order_created", receipt=" ")
    assert [each.status_code for each in answer.history] == [303]
    assert answer.url.endswith("/console/payments/?amount=465.00&status=order_created")
    assert world.known["paid_session_id"] in answer.text
    assert 'value="465.00"' in answer.text
    nothing = _search(auditor, world, day=day, receipt="NOSUCHRECEIPT")
    assert "No payment fits" in nothing.text


def test_the_pages_of_a_search_follow_one_another(auditor: requests.Session, world: World) -> None:
    shown: list[str] = []
    link: str | None = _url(world, "?page_size=1")
    while link and len(shown) < 10:
        text = auditor.get(link, timeout=10).text
        shown += re.findall(r'href="/console/payments/([0-9a-f-]{36})/"', text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        link = f"{world.instance.base_url}{following[1].replace('&amp;', '&')}" if following else None
    assert link is None
    assert len(shown) == len(set(shown)) >= 3


def test_what_is_wrong_with_a_field_is_said_beside_it_and_what_was_typed_is_escaped(
    auditor: requests.Session, world: World
) -> None:
    for form, told in (
        ({"amount": "<b>x</b>"}, "Write an amount like 350.00."),
        ({"day": "9999-12-31"}, "Choose days between 1970 and 9998."),
        ({"user": "seven"}, "Write the number of a user."),
        ({"status": "lost"}, "Amount"),
        ({"phone": "12"}, "phone"),
        ({"cursor": "x"}, "Follow the `next`"),
        ({"surprise": "x"}, "There is no field of this name here."),
    ):
        answer = _search(auditor, world, **form)
        assert answer.status_code == 400, form
        assert 'role="alert"' in answer.text
        assert told in answer.text
        assert "<b>x</b>" not in answer.text


def test_a_search_needs_the_proof_of_this_browser(auditor: requests.Session, world: World) -> None:
    for proof in ("", "0" * 32):
        answer = auditor.post(_url(world, ""), data={"proof": proof, "phone": PAYS_AT_ONCE}, timeout=10)
        assert answer.status_code == 403


def test_each_page_of_a_payment_is_recorded_as_a_read_of_its_session(
    auditor: requests.Session, world: World
) -> None:
    for path, what in (
        ("{paid_session_id}/", "payment"),
        ("{paid_session_id}/timeline/", "steps of a payment, with M-Pesa's messages"),
    ):
        before = len(_accesses(world))
        assert auditor.get(_url(world, path), timeout=10).status_code == 200
        latest, *_ = _accesses(world)
        assert len(_accesses(world)) in (before + 1, 50)
        assert latest == {"what": what, "session_id": world.known["paid_session_id"]}


def test_the_evidence_of_a_payment_is_taken_as_a_file(auditor: requests.Session, world: World) -> None:
    answer = auditor.get(_url(world, "{paid_session_id}/evidence.zip"), timeout=10)
    assert answer.headers["Content-Type"] == "application/zip"
    assert "no-store" in answer.headers["Cache-Control"]
    with ZipFile(BytesIO(answer.content)) as pack:
        assert "verify.py" in pack.namelist()
    missing = auditor.get(_url(world, "550e8400-e29b-41d4-a716-446655440000/evidence.zip"), timeout=10)
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("550e8400-e29b-41d4-a716-446655440000/", 404),
        ("550e8400-e29b-41d4-a716-446655440000/timeline/", 404),
        ("{paid_session_id}/timeline/?at_version=99", 404),
        ("{paid_session_id}/timeline/?at_version=0", 404),
        ("{paid_session_id}/?at_version=0", 404),
        ("{paid_session_id}/timeline/?at_version=x", 400),
        ("{paid_session_id}/?as_of=yesterday", 400),
        ("nonsense/", 404),
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(
    auditor: requests.Session, world: World, path: str, status: int
) -> None:
    answer = auditor.get(_url(world, path), timeout=10)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert 'role="alert"' in answer.text


@pytest.mark.system
def test_a_payment_is_printed_on_one_page_or_two_without_navigation(
    visit: Callable[..., Page],
) -> None:
    page = visit("auditor", "/console/payments/{refund_session_id}/")
    printed = page.pdf(format="A4")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= MAX_PRINTED_PAGES
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(page.get_by_role("heading", name="Its story")).to_be_visible()
    ink = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert ink[0] == "rgb(0, 0, 0)"
    assert ink[1] in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
