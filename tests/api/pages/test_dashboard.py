"""The dashboard: whole without a script, live with one, and the same to every reader."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from api.pages.console.dashboard import STEPS
from api.pages.console.readings import KEPT_READINGS, MAX_SECONDS, MIN_SECONDS, Readings
from ledger import clock
from ledger.store.database import Database
from projections import dashboard
from projections.dashboard import PERIODS, Figures, Period
from tests.api.pages.conftest import USERS
from tests.api.pages.test_work import signed_in
from tests.scenarios.steps import PAYS_AT_ONCE
from tests.security.world import World
from tests.support.axe import violations
from tests.support.checkouts import Checkout
from tests.support.instance import Instance
from tests.support.waiting import wait_until


def value_of(page: Page, title: str) -> str:
    return page.locator(".tiles > div", has_text=title).first.locator(".value").inner_text()


def open_dashboard(page: Page, instance: Instance, path: str = "/console/", role: str = "operator") -> None:
    page.goto(path)
    page.get_by_label("Token").fill(instance.token(USERS[role], role))
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="Payments,")).to_be_visible()


def test_a_payment_shows_without_a_reload_and_what_is_open_stays_open(page: Page, instance: Instance) -> None:
    open_dashboard(page, instance)
    expect(page.get_by_text("· live")).to_be_visible()
    page.evaluate("window.isTheSamePage = true")
    assert value_of(page, "Paid") == "0"
    panel = page.get_by_role("region", name="From checkout to order")
    panel.get_by_text("SQL").click()
    sql = panel.locator("pre").inner_text()
    summary = page.get_by_role("region", name="Over time").locator("summary").first
    summary.click()
    summary.focus()
    instance.pay(instance.client(1), phone_number=PAYS_AT_ONCE)
    row = panel.get_by_role("row", name="Order made")
    expect(row.get_by_role("cell").first).to_have_text("1")
    expect(page.locator(".tiles > div", has_text="Order made").locator(".value")).to_have_text("1")
    expect(panel.locator("pre")).not_to_have_text(sql)
    expect(page.get_by_role("table", name="Sessions over time")).to_be_visible()
    assert page.evaluate("document.activeElement.textContent").startswith("Table")
    assert page.evaluate("window.isTheSamePage")


@pytest.mark.system
def test_without_a_script_the_page_is_whole(browser: Browser, world: World) -> None:
    context = browser.new_context(base_url=world.instance.base_url, java_script_enabled=False)
    page = context.new_page()
    open_dashboard(page, world.instance)
    for title in ("From checkout to order", "Over time", "Why payments fail", "Time from prompt to payment"):
        expect(page.get_by_role("region", name=title).locator("pre").first).to_contain_text("FROM")
    for title in (*STEPS.values(), "Received", "Money held now", "In doubt now", "Open cases now"):
        assert re.search(r"\d", value_of(page, title)), title
    expect(page.get_by_text("live")).to_have_count(0)
    context.close()


@pytest.mark.parametrize(
    "name", ["week", *(pytest.param(name, marks=pytest.mark.system) for name in PERIODS if name != "week")]
)
def test_each_period_is_a_page_that_axe_finds_nothing_on(visit: Callable[..., Page], name: str) -> None:
    page = visit("analyst")
    page.get_by_role("navigation", name="Period").get_by_role("link", name=PERIODS[name].title).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Payments, {PERIODS[name].title.lower()}")
    expect(page.get_by_role("navigation", name="Period").locator("[aria-current=page]")).to_have_text(
        PERIODS[name].title
    )
    for summary in page.locator("summary").all():
        summary.press("Enter")
    for viewport in ({"width": 1120, "height": 700}, {"width": 390, "height": 760}):
        page.set_viewport_size(viewport)  # type: ignore[arg-type]  # Playwright's own type of a dict
        assert violations(page) == []
        assert (
            page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        )


def test_the_figures_of_the_page_are_those_of_its_queries(world: World) -> None:
    browser = signed_in(world.instance, token=world.instance.token(10, "auditor"))[0]
    page = browser.get(f"{world.instance.base_url}/console/?period=hour", timeout=10).text
    sql = re.search(r'data-live="sql-funnel"><code>(.*?)</code>', page, re.DOTALL)
    assert sql
    query = sql[1].replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">")
    with world.instance.services.database.connection() as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row
    for name in STEPS:
        shown = re.search(
            rf'data-live="tile-{STEPS[name].lower().replace(" ", "-")}">.*?value">([\d,]+)<', page
        )
        assert shown
        assert shown[1] == str(row[name])
    assert row["paid"]


@pytest.mark.system
def test_operators_and_auditors_are_led_to_the_cases_and_analysts_are_not(visit: Callable[..., Page]) -> None:
    for role, links in (("operator", 1), ("auditor", 1), ("analyst", 0)):
        page = visit(role)
        expect(page.get_by_role("link", name="Go to the cases")).to_have_count(links)
        expect(page.get_by_role("heading", name="Sections")).to_have_count(links)


def test_a_period_that_is_none_is_refused(world: World) -> None:
    browser = signed_in(world.instance, token=world.instance.token(11, "analyst"))[0]
    for query in ("period=year", "period=day&seen=1"):
        answer = browser.get(f"{world.instance.base_url}/console/?{query}", timeout=10)
        assert answer.status_code == 400


@pytest.mark.system
def test_a_reason_that_only_the_period_before_had_is_shown_with_none(
    world: World, visit: Callable[..., Page]
) -> None:
    at = clock.now() - timedelta(minutes=90)
    Checkout(world.instance.services.ledger, at=at).prompt().cancel()
    page = visit("analyst", "/console/?period=hour")
    row = page.get_by_role("region", name="Why payments fail").get_by_role("row", name="Another reason")
    expect(row.get_by_role("cell").first).to_have_text("0")
    expect(row).to_contain_text("\N{MINUS SIGN}1: 100.0 % fewer")


def stream(world: World, role: str = "analyst", **query: str) -> requests.Response:
    browser = signed_in(world.instance, token=world.instance.token(USERS[role], role))[0]
    return browser.get(f"{world.instance.base_url}/console/live/", params=query, stream=True, timeout=30)


def test_a_stream_names_a_version_once_and_ends_by_itself(world: World) -> None:
    answer = stream(world)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    text = answer.text
    assert text.startswith("retry: ")
    versions = re.findall(r"^data: ([0-9a-f]{16})$", text, re.MULTILINE)
    assert len(versions) == len(set(versions)) >= 1
    assert versions[-1] not in stream(world, seen=versions[-1]).text


def test_who_is_not_signed_in_gets_no_stream(world: World) -> None:
    answer = requests.get(f"{world.instance.base_url}/console/live/", timeout=10)
    assert answer.headers["Content-Type"].startswith("text/html")
    token = world.instance.token(1, "customer")
    cookie = {"daftari_operator": token}
    answer = requests.get(f"{world.instance.base_url}/console/live/", cookies=cookie, timeout=10)
    assert answer.headers["Content-Type"].startswith("text/html")


def test_pages_share_what_was_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read_periods: list[Period] = []

    def read(database: Database, period: Period, until: datetime) -> Figures:
        read_periods.append(period)
        return dashboard.read(database, period, until)

    monkeypatch.setattr("api.pages.console.readings.dashboard", SimpleNamespace(read=read))
    readings = Readings(lambda: world.instance.services)
    with ThreadPoolExecutor(8) as pool:
        shown = set(pool.map(lambda _: id(readings.get(PERIODS["day"])), range(32)))
    assert read_periods == [PERIODS["day"]]
    assert len(shown) == 1


def test_figures_are_kept_for_as_long_as_twenty_readings_take(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr("api.pages.console.readings.monotonic", lambda: seconds[0])
    readings = Readings(lambda: world.instance.services)

    def read(database: Database, period: Period, until: datetime) -> Figures:
        seconds[0] += 0.5
        return dashboard.read(database, period, until)

    monkeypatch.setattr("api.pages.console.readings.dashboard", SimpleNamespace(read=read))
    first = readings.get(PERIODS["day"])
    seconds[0] = 0.5 + KEPT_READINGS * 0.5 - 0.01
    assert readings.get(PERIODS["day"]) is first
    seconds[0] += 0.02
    assert readings.get(PERIODS["day"]) is first
    wait_until(lambda: readings.get(PERIODS["day"]) is not first, "the figures are read anew")


def test_old_figures_are_not_shown_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]
    monkeypatch.setattr("api.pages.console.readings.monotonic", lambda: seconds[0])
    readings = Readings(lambda: world.instance.services)
    first = readings.get(PERIODS["day"])
    seconds[0] = MIN_SECONDS + MAX_SECONDS
    assert readings.get(PERIODS["day"]) is not first
