"""examples/static_shop/, served by a plain server of files: a buyer signs in, pays and is thanked."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.pages.sdk.world import PayServer, pay_server
from tests.support.static_server import static_server

pytestmark = pytest.mark.system

EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "static_shop"


def fill_in(page: Page, server: PayServer) -> None:
    """Sign in, and fill in the form but for the phone."""
    page.get_by_label("Token").fill(server.token())
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Add Irish Potatoes").click()
    page.get_by_label("Name", exact=True).fill("Amina Wanjiru")
    page.get_by_label("County", exact=True).select_option("Mombasa")
    page.get_by_label("Subcounty").select_option(label="Mvita")
    page.get_by_label("Address").fill("Moi Avenue 12")


def test_a_buyer_pays_at_a_shop_of_static_files(
    browser: Browser, database_url: str, data_folder: Path, tmp_path: Path
) -> None:
    folder, faults = tmp_path / "shop", list[str]()
    shutil.copytree(EXAMPLE, folder)
    with static_server(folder) as origin, pay_server(database_url, data_folder, origin) as server:
        server.buyer = 1
        config = folder / "config.js"
        config.write_text(config.read_text("utf-8").replace("http://127.0.0.1:8000", server.url), "utf-8")
        page = browser.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(origin)
        fill_in(page, server)
        said, pay = page.get_by_role("status"), page.get_by_role("button", name="Pay KES")
        page.get_by_label("M-Pesa number").fill("12")
        pay.click()
        expect(said).to_contain_text("Write a Kenyan mobile number")
        page.get_by_label("M-Pesa number").fill(server.phone)
        pay.click()
        expect(said).to_have_text("Enter your M-Pesa PIN on your phone.")
        page.get_by_role("button", name="More time").click()
        server.approve()
        expect(said).to_contain_text("Thank you. Your order is ORD-")
        [listed] = server.client().get("/api/payments/sessions/").json()["results"]
        expect(said).to_contain_text(listed["receipt"])
        page.close()
    assert faults == []
