"""A browser, and two running instances: a demo shop whose worker works, and one that the staff looks at."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from ledger import clock
from ledger.session.values import Evidence
from payments.reconciliation.movements import Movement, MovementKind
from projections.follower import LogReader
from shop.demo import demo_data
from tests.security.world import OWNER, World, running_world
from tests.support.browser import FLAGS, find_browser
from tests.support.horizon import until_readable
from tests.support.instance import Instance, running_instance
from tests.support.invariants import assert_invariants_hold

WAIT_MS = 20_000
"""How long a page may take on a busy machine."""

USERS = {"operator": 9, "auditor": 10, "analyst": 11}

REFUSED_REQUEST = "Failed to load resource"
"""What a browser notes about each answer of 400 and above, which the pages expect and show."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser for all pages: while Playwright runs, no other test of the process could run an event loop."""
    path = find_browser()
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    """A running instance with two buyers; when a test is over, nothing may be wrong with its books."""
    with running_instance(database_url, data_folder, DAFTARI_DEMO_OPERATOR="on") as running:
        demo_data(running.services.database, users=2)
        running.start_worker()
        yield running
        running.stop_worker()
        running.work()
        assert_invariants_hold(running.services.database, running.services.vault)


@pytest.fixture
def page(browser: Browser, instance: Instance) -> Iterator[Page]:
    """A page whose paths are relative to the instance; a script's fault or a breach of its policy fails the test."""
    faults: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(REFUSED_REQUEST):
            faults.append(message.text)

    context = browser.new_context(base_url=instance.base_url, locale="en-GB")
    shown = context.new_page()
    shown.on("console", note)
    shown.on("pageerror", lambda error: faults.append(str(error)))
    yield shown
    context.close()
    assert faults == []


@pytest.fixture(scope="module")
def world(server_url: str, template_database: str) -> Iterator[World]:
    """A running instance in which a buyer has something of everything, verified and signed."""
    with running_world(server_url, template_database) as running:
        unmatched = Movement(
            MovementKind.PAYMENT,
            "UKGUNKNOWN",
            350_00,
            clock.now(),
            Evidence.C2B,
            reference="0712 345 678",
            payer="254712345678",
        )
        running.instance.services.worker.matcher.ingest([unmatched])
        _queue_webhooks(running)
        for job in running.instance.jobs:
            if job.name != "verifying":
                job.work()
        running.instance.services.verifier.run()
        paid = running.instance.client(OWNER).get("/api/payments/sessions/?status=order_created").json()
        running.known["paid_session_id"] = paid["results"][0]["session_id"]
        yield running


def _queue_webhooks(running: World) -> None:
    """Have something queued for the webhook endpoint, which nothing is sent to."""
    services, endpoint_id = running.instance.services, UUID(running.known["endpoint_id"])
    services.webhook_endpoints.deliver_since(endpoint_id, clock.now() - timedelta(hours=1), by="cli")
    services.webhook_endpoints.change(endpoint_id, enabled=True, by="cli")
    log = LogReader(services.database, services.ledger.macs)
    until_readable(services.database)
    while services.worker.delivery_queue.run(log):
        pass
    services.webhook_endpoints.change(endpoint_id, enabled=False, by="cli")


@pytest.fixture
def visit(browser: Browser, world: World) -> Iterator[Callable[..., Page]]:
    """Open the console as someone of a role; a fault of a page or a breach of its policy fails the test."""
    faults: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(REFUSED_REQUEST):
            faults.append(message.text)

    def opened(role: str, path: str = "/console/", **options: Any) -> Page:
        context = browser.new_context(base_url=world.instance.base_url, locale="en-GB", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(path.format(**world.known))
        page.get_by_label("Token").fill(world.instance.token(USERS[role], role))
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []
