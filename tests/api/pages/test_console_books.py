"""An auditor reads the books in the console: trial balance, close of a day, statement of an account, CSV."""

import csv
import io
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from ledger import clock
from tests.api.pages.test_work import signed_in
from tests.security.world import World


@pytest.mark.system
def test_the_trial_balance_leads_to_the_statement_of_an_account_and_to_its_payment(
    visit: Callable[..., Page],
) -> None:
    page = visit("auditor", "/console/books/")
    expect(page.get_by_text("It balances, to the cent.")).to_be_visible()
    row = page.locator("tr", has=page.get_by_role("link", name="M-Pesa clearing"))
    expect(row).to_contain_text("KES 1,165.00")
    page.get_by_role("link", name="M-Pesa clearing").click()
    expect(page.get_by_role("heading", name="M-Pesa clearing")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(3)
    page.locator("tr", has_text="UKG7Q2X9LM").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paid, but no order")


@pytest.mark.system
def test_a_day_before_any_payment_closes_at_nothing_and_keeps_its_period(
    visit: Callable[..., Page],
) -> None:
    page = visit("auditor", "/console/books/")
    page.get_by_label("From the day").fill("2024-01-15")
    page.get_by_label("To the day").fill("2024-01-15")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Close of 2024-01-15: 0 entries")).to_be_visible()
    page.get_by_role("link", name="Sales", exact=True).click()
    expect(page.get_by_text("No entry in this period.")).to_be_visible()
    expect(page.get_by_label("From the day")).to_have_value("2024-01-15")


def test_the_csv_is_the_trial_balance_of_the_page(world: World) -> None:
    auditor, _ = signed_in(world.instance, token=world.instance.token(10, "auditor"))
    day = f"{clock.now().astimezone(clock.NAIROBI):%Y-%m-%d}"
    answer = auditor.get(
        f"{world.instance.base_url}/console/books/trial-balance.csv?since=2024-01-15&until={day}", timeout=10
    )
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["Cache-Control"] == "no-store"
    rows = {row["account"]: row for row in csv.DictReader(io.StringIO(answer.text))}
    assert rows["mpesa_clearing"]["closing_debit"] == "1165.00"
    assert rows["refunds_due"]["closing_credit"] == "350.00"


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("?since=2024-02-02&until=2024-02-01", 400, "The period is empty."),
        ("?since=yesterday", 400, "Write a day like 2024-01-15."),
        ("?recorded_as_of=2024-01-15", 400, "Write a moment with its zone"),
        ("nonsense/", 404, "There is no such account."),
        ("sales/?after=x", 400, "Write a whole number in digits."),
    ],
)
def test_what_is_wrong_is_a_page_that_says_so(world: World, path: str, status: int, told: str) -> None:
    auditor, _ = signed_in(world.instance, token=world.instance.token(10, "auditor"))
    answer = auditor.get(f"{world.instance.base_url}/console/books/{path}", timeout=10)
    assert answer.status_code == status
    assert told in answer.text
