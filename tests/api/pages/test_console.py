"""The console: each role finds what it allows and nothing else, on any screen, on paper, by keyboard and by ear."""

import re
from collections.abc import Callable, Collection

import pytest
import requests
from playwright.sync_api import Page, expect

from api.pages.console.navigation import SECTIONS, STAFF
from tests.api.pages.conftest import USERS
from tests.api.pages.test_work import signed_in
from tests.security.world import World
from tests.support.axe import violations
from tests.support.waiting import wait_until

NARROW = {"width": 390, "height": 760}

PAGES = {
    "/console/": {"operator", "auditor", "analyst"},
    "/console/?period=month": {"operator", "auditor", "analyst"},
    "/console/live/": {"operator", "auditor", "analyst"},
    "/console/work/": {"operator", "auditor"},
    "/console/work/closed/": {"operator", "auditor"},
    "/console/work/closed/?kind=refund&day=2024-01-15&user=9": {"operator", "auditor"},
    "/console/work/money_unknown/payment.UKGUNKNOWN/": {"operator", "auditor"},
    "/console/work/money_unknown/payment.UKGUNKNOWN/allocate/{paid_session_id}/": {"operator"},
    "/console/work/refund_due/{refund_session_id}.refund.1/": {"operator", "auditor"},
    "/console/payments/": {"operator", "auditor"},
    "/console/payments/{paid_session_id}/": {"operator", "auditor"},
    "/console/payments/{refund_session_id}/": {"operator", "auditor"},
    "/console/payments/{paid_session_id}/timeline/": {"auditor"},
    "/console/payments/{paid_session_id}/timeline/?at_version=4": {"auditor"},
    "/console/payments/{paid_session_id}/evidence.zip": {"auditor"},
    "/console/books/": {"auditor"},
    "/console/books/?since=2024-01-15&until=2024-01-15": {"auditor"},
    "/console/books/trial-balance.csv": {"auditor"},
    "/console/books/mpesa_clearing/": {"auditor"},
    "/console/statements/": {"operator", "auditor"},
    "/console/webhooks/": {"operator", "auditor"},
    "/console/webhooks/{endpoint_id}/": {"operator", "auditor"},
    "/console/webhooks/{endpoint_id}/?page_size=1": {"operator", "auditor"},
    "/console/blocks/": {"auditor"},
    "/console/access-log/": {"auditor"},
}
"""Each page, and the roles that may see it."""

ONE_OF_EACH_KIND = ("/console/", "/console/work/", "/console/payments/{paid_session_id}/", "/console/books/")
"""Figures and charts, a list, a payment, and a table with its form."""


def _session(world: World, role: str) -> requests.Session:
    return signed_in(world.instance, token=world.instance.token(USERS[role], role))[0]


@pytest.mark.parametrize(
    "role", ["operator", *(pytest.param(role, marks=pytest.mark.system) for role in ("analyst", "auditor"))]
)
def test_the_navigation_holds_what_the_role_allows_and_nothing_else(
    visit: Callable[..., Page], role: str
) -> None:
    page = visit(role)
    links = page.get_by_role("navigation", name="Console").get_by_role("link").all_inner_texts()
    assert links == [section.title for section in SECTIONS if role in section.roles]
    for title in links:
        page.get_by_role("navigation", name="Console").get_by_role("link", name=title, exact=True).click()
        expect(page.locator("nav [aria-current=page]").first).to_have_text(title)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_refused_by_its_address_and_the_attempt_recorded(world: World, path: str) -> None:
    log = world.instance.services.audit_log
    for role, user in USERS.items():
        before, _ = log.entries(kind="access_refused")
        answer = _session(world, role).get(
            f"{world.instance.base_url}{path.format(**world.known)}", timeout=10, stream=True
        )
        after, entries = log.entries(kind="access_refused")
        if role in PAGES[path]:
            answer.close()  # A page that stays live would else be read for as long as it may.
            assert (answer.status_code, after) == (200, before)
            continue
        assert (answer.status_code, after) == (403, before + 1)
        assert entries[0].actor == f"user:{user}"
        assert "ask for a token with that role" in answer.text


def test_every_section_is_for_someone_of_the_staff_and_leads_to_a_page_that_is_tested(world: World) -> None:
    with world.instance.app.test_request_context():
        rules = {rule.endpoint: rule.rule for rule in world.instance.app.url_map.iter_rules()}
    for section in SECTIONS:
        assert section.roles
        assert section.roles <= STAFF
        assert PAGES[rules[section.endpoint]] == set(section.roles)


def test_every_view_of_the_console_but_its_sign_in_belongs_to_a_section(world: World) -> None:
    views = world.instance.app.view_functions
    open_to_all = {
        name for name, view in views.items() if name.startswith("console.") and not hasattr(view, "section")
    }
    assert open_to_all == {"console.sign_in", "console.sign_out", "console.static"}


@pytest.mark.parametrize(
    ("role", "scheme", "viewport", "paths"),
    [
        pytest.param("auditor", "light", None, ONE_OF_EACH_KIND, id="auditor-wide"),
        pytest.param("operator", "dark", NARROW, PAGES, id="operator-narrow", marks=pytest.mark.system),
        pytest.param("auditor", "dark", NARROW, PAGES, id="auditor-narrow", marks=pytest.mark.system),
        pytest.param("operator", "light", None, PAGES, id="operator-wide", marks=pytest.mark.system),
        pytest.param("auditor", "light", None, PAGES, id="auditor-wide-all", marks=pytest.mark.system),
    ],
)
def test_axe_finds_nothing_and_no_page_scrolls_sideways(
    visit: Callable[..., Page],
    world: World,
    role: str,
    scheme: str,
    viewport: dict[str, int] | None,
    paths: Collection[str],
) -> None:
    page = visit(role, color_scheme=scheme, **({"viewport": viewport} if viewport else {}))
    for path in ["/", *paths, "/console/nowhere/"]:
        if path.endswith((".csv", ".zip", "/live/")) or role not in PAGES.get(path, {role}):
            continue
        page.goto(path.format(**world.known))
        assert violations(page) == [], path
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, path
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert violations(page) == []


@pytest.mark.system
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_second_button_has_the_green_of_the_shop(
    visit: Callable[..., Page], world: World, scheme: str
) -> None:
    page = visit("operator", color_scheme=scheme)
    page.goto("/console/work/refund_due/{refund_session_id}.refund.1/".format(**world.known))
    expect(page.get_by_role("button", name="Hold")).to_have_css("background-color", "rgb(74, 90, 81)")


@pytest.mark.system
def test_the_keyboard_reaches_the_content_first_and_then_the_navigation_in_order(
    visit: Callable[..., Page],
) -> None:
    page = visit("auditor")
    page.goto("/console/blocks/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.goto("/console/blocks/")
    focused = []
    for _ in range(3 + len(SECTIONS)):
        page.keyboard.press("Tab")
        style = page.evaluate(
            "(({outlineWidth, outlineStyle}) => [outlineWidth, outlineStyle])(getComputedStyle(document.activeElement))"
        )
        focused.append(page.evaluate("document.activeElement.textContent.trim()"))
        assert style[1] != "none", focused
        assert style[0] != "0px", focused
    titles = [section.title for section in SECTIONS if "auditor" in section.roles]
    assert focused[: 3 + len(titles)] == ["Skip to the content", "Daftari", *titles, "Sign out"]


def test_a_page_works_without_a_script_and_loads_nothing_from_elsewhere(world: World) -> None:
    answer = _session(world, "auditor").get(f"{world.instance.base_url}/console/blocks/", timeout=10)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "<script" not in answer.text
    assert not re.search(r'(src|href)="(https?:)?//(?!127\.0\.0\.1)', answer.text)
    assert " style=" not in answer.text


def test_signing_in_leads_to_the_page_that_was_asked_for_and_to_no_other_site(world: World) -> None:
    console, token = f"{world.instance.base_url}/console/", world.instance.token(10, "auditor")
    for asked, reached in (
        ("/console/blocks/?page=1", "/console/blocks/?page=1"),
        ("//evil.example/", "/console/"),
        ("https://evil.example/console/", "/console/"),
        ("/shop/", "/console/"),
        ("/console/\r\nSet-Cookie: x=1", "/console/"),
        (f"/console/{'x' * 600}", "/console/"),
    ):
        answer = signed_in(world.instance, token=token, page=asked)[1]
        assert answer.status_code == 303
        assert answer.headers["Location"] == reached
    shown = requests.get(f"{console}blocks/?page=2", timeout=10).text
    assert 'name="page" value="/console/blocks/?page=2"' in shown


def test_the_paths_of_the_work_page_lead_to_the_console(world: World) -> None:
    base = world.instance.base_url
    for old, new in (
        ("/work/?kind=refund_due", "/console/work/?kind=refund_due"),
        ("/work/", "/console/work/"),
        ("/work/act/", "/console/work/act/"),
        ("/work/sign-in/", "/console/sign-in/"),
        ("/work/static/shop.css", "/console/static/shop.css"),
    ):
        answer = requests.get(f"{base}{old}", timeout=10, allow_redirects=False)
        assert answer.status_code == 308
        assert answer.headers["Location"] == new


def test_a_form_of_the_work_page_that_was_open_still_works(world: World) -> None:
    session = _session(world, "operator")
    base = world.instance.base_url
    proof = re.search('name="proof" value="([0-9a-f]+)"', session.get(f"{base}/work/", timeout=10).text)
    assert proof
    form = {"proof": proof[1], "kind": "refund_due", "case_id": "x", "action": "approve"}
    answer = session.post(f"{base}/work/act/", data=form, timeout=10)
    assert answer.status_code == 404
    assert "There is no such refund." in answer.text


def test_what_is_wrong_in_an_address_is_a_page_that_says_so(world: World) -> None:
    session, base = _session(world, "auditor"), f"{world.instance.base_url}/console/"
    for path, status, told in (
        ("access-log/?page=x", 400, "Write a whole number in digits."),
        ("access-log/?surprise=1", 400, "There is no field of this name here."),
        ("blocks/?cursor=x", 400, "Follow the `next` and `previous` links"),
        ("nowhere/", 404, "There is no such page."),
    ):
        answer = session.get(f"{base}{path}", timeout=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert told in answer.text
        assert "no-store" in answer.headers["Cache-Control"]


def test_the_access_log_is_filtered_and_escapes_what_people_wrote(
    visit: Callable[..., Page], world: World
) -> None:
    world.instance.services.audit_log.record(
        None, "noted", actor="user:9", subject="user:7", reason="<script>alert(1)</script>"
    )
    page = visit("auditor", "/console/access-log/")
    page.get_by_label("Kind").fill("noted")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("<script>alert(1)</script>")
    page.get_by_label("Kind").fill("nothing of the kind")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("There is no such entry.")).to_be_visible()


def test_the_blocks_show_the_last_verification_and_their_names(
    visit: Callable[..., Page], world: World
) -> None:
    wait_until(lambda: world.instance.services.blocks.last() is not None, "a block is signed")
    last = world.instance.services.blocks.last()
    assert last is not None
    page = visit("auditor", "/console/blocks/")
    expect(page.locator("tbody").last).to_contain_text(last.name)
    expect(page.get_by_text("violations over")).to_be_visible()
