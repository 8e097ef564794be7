"""/docs/ for people: what it opens with, on a phone, in the dark and without scripts; its steps can be pasted."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from api.pages.docs.guide import ADDRESS_IN_PAGES, PARTS, guide
from tests.support.axe import violations
from tests.support.instance import Instance

ROOT = Path(__file__).resolve().parents[3]
STEP = re.compile(r"```sh\n(.*?)```", re.DOTALL)
PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest.fixture
def docs(browser: Browser, instance: Instance) -> Iterator[Page]:
    """The page on a phone, without scripts."""
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{instance.base_url}/docs/")
    yield page
    context.close()


def test_the_page_opens_with_the_guide_and_goes_on_with_the_reference(docs: Page) -> None:
    titles = docs.locator("main h2").all_text_contents()
    assert titles[: len(PARTS)] == [
        "Quick start", "Testing", "Webhooks", "Waiting", "Idempotency", "Errors"
    ]  # fmt: skip
    assert "sessions" in titles[len(PARTS) :]
    expect(docs.locator("#testing")).to_contain_text("2547000100NN")
    expect(docs.locator("#OUT_OF_STOCK")).to_contain_text("There is not enough in stock")


@pytest.mark.system
def test_the_page_fits_a_phone_and_keeps_nobody_from_using_it(browser: Browser, instance: Instance) -> None:
    context = browser.new_context(viewport=PHONE)
    page = context.new_page()
    page.goto(f"{instance.base_url}/docs/")
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert violations(page) == []
    context.close()


def test_the_steps_of_the_quick_start_pay_when_pasted(instance: Instance, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "developers.md").read_text("utf-8")
    quick_start = re.sub(r"^   ", "", text.partition("## Testing")[0], flags=re.MULTILINE)
    steps = "".join(STEP.findall(quick_start)).replace(ADDRESS_IN_PAGES, instance.base_url)
    pasted = steps.replace(".venv/bin/daftari", str(Path(sys.executable).with_name("daftari")))
    done = subprocess.run(
        ["bash", "-eu", "-c", pasted],
        cwd=tmp_path,
        env={
            **os.environ,
            "DATABASE_URL": instance.settings.database_url,
            "DAFTARI_DATA_DIR": str(instance.settings.daftari_data_dir),
            "no_proxy": "*",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    prompt, _, status = done.stdout.partition("}")
    assert json.loads(prompt + "}")["status"] == "success"
    assert json.loads(status)["session_status"] in ("paid", "order_created")


def test_commands_of_the_guide_name_this_instance_and_no_page_that_is_not_there() -> None:
    parts = guide("https://pay.example.com")
    shown = "".join(part.html for part in parts)
    assert "https://pay.example.com/api/payments/sessions/" in shown
    assert ADDRESS_IN_PAGES not in shown
    assert ".md" not in "".join(re.findall(r'href="([^"]*)"', shown))
