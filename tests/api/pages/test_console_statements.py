"""An operator uploads a statement in the console, sees how far it is, and reads the differences; auditors only read."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
import requests
from playwright.sync_api import FilePayload, Page, expect

from ledger import clock
from tests.api.pages.conftest import USERS
from tests.api.pages.test_console import NARROW
from tests.api.pages.test_work import proof_in, signed_in
from tests.security.world import World
from tests.support.axe import violations
from tests.support.instance import Instance
from tests.support.statements import Booking, statement

UPLOADS = "/console/statements/uploads/"
DAY = timedelta(days=1)
LARGE = statement(
    [
        Booking(f"OAF7Q{number:05}", paid_in=1_00, at=clock.now() + DAY * (number // 500 * 2 - 1))
        for number in range(1_000)
    ]
)
"""Of three pieces, from yesterday to tomorrow: payments of today are missing in it."""


def _work(instance: Instance) -> None:
    while instance.services.statement_uploads.import_next():
        pass


def _choose(page: Page, name: str, content: bytes) -> None:
    file: FilePayload = {"name": name, "mimeType": "text/csv", "buffer": content}
    page.get_by_label("File from the portal").set_input_files(file)
    page.get_by_role("button", name="Upload and compare").click()


def _session(world: World, role: str, user: int | None = None) -> tuple[requests.Session, str]:
    token = world.instance.token(user or USERS[role], role)
    session = signed_in(world.instance, token=token)[0]
    return session, proof_in(session.get(f"{world.instance.base_url}/console/", timeout=10).text)


@pytest.mark.system
@pytest.mark.parametrize("viewport", [None, NARROW], ids=["wide", "narrow"])
def test_an_operator_uploads_a_statement_of_several_pieces_and_reads_its_differences(
    visit: Callable[..., Page], world: World, viewport: dict[str, int] | None
) -> None:
    page = visit("operator", "/console/statements/", **({"viewport": viewport} if viewport else {}))
    assert violations(page) == []
    _choose(page, "statement.csv", LARGE)
    expect(page.get_by_text("The file is here, and waits for the worker.")).to_be_visible()
    assert violations(page) == []
    _work(world.instance)
    expect(page.get_by_role("heading", level=1)).to_have_text("Differences for a person")
    expect(page.get_by_text("1,000 unmatched payments: they belong to no session")).to_be_visible()
    expect(page.locator("tbody tr", has_text="OAF7Q00999")).to_contain_text("unknown")
    row = page.locator("tbody tr", has_text="UKG7Q2X9LM")
    expect(row).to_contain_text("missing there")
    expect(row).to_contain_text("KES 350.00")
    report = page.url
    page.get_by_role("link", name="All statements").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    _choose(page, "again.csv", LARGE)
    _work_until_reported(page, world, report)


def _work_until_reported(page: Page, world: World, report: str) -> None:
    expect(page.get_by_text("The file is here, and waits for the worker.")).to_be_visible()
    _work(world.instance)
    page.wait_for_url(report)


@pytest.mark.system
def test_a_file_that_is_none_is_refused_with_its_row_and_one_that_is_too_large_at_once(
    visit: Callable[..., Page], world: World
) -> None:
    page = visit("operator", "/console/statements/")
    _choose(page, "broken.csv", LARGE.replace(b"OAF7Q00007", b'OAF7Q00007","', 1))
    expect(page.get_by_text("waits for the worker")).to_be_visible()
    _work(world.instance)
    expect(page.get_by_text("Nothing was recorded.")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("Row ")
    assert violations(page) == []
    page.get_by_role("link", name="All statements").click()
    _choose(page, "empty.csv", b"")
    expect(page.get_by_role("alert")).to_contain_text("A file here has 1 byte to 16 MiB.")
    expect(page.get_by_role("button", name="Upload and compare")).to_be_enabled()


@pytest.mark.system
def test_an_auditor_reads_reports_and_uploads_nothing(visit: Callable[..., Page], world: World) -> None:
    page = visit("auditor", "/console/statements/")
    expect(page.get_by_role("heading", name="M-Pesa's statements")).to_be_visible()
    expect(page.get_by_label("File from the portal")).to_have_count(0)
    for role in ("auditor", "analyst"):
        session, proof = _session(world, role)
        before, _ = world.instance.services.audit_log.entries(kind="access_refused")
        for path in (UPLOADS, f"{UPLOADS}{uuid4()}/pieces/0/", f"{UPLOADS}{uuid4()}/finish/"):
            answer = session.post(
                f"{world.instance.base_url}{path}", data={"proof": proof, "bytes": "5"}, timeout=10
            )
            assert answer.status_code == 403
        after, _ = world.instance.services.audit_log.entries(kind="access_refused")
        assert after == before + 3


def test_pieces_need_the_proof_of_the_form_and_their_own_uploader(world: World) -> None:
    base, piece = world.instance.base_url, {"piece": b"abcde"}
    session, proof = _session(world, "operator")
    other, others_proof = _session(world, "operator", 12)
    begun = session.post(f"{base}{UPLOADS}", data={"proof": proof, "bytes": "5"}, timeout=10).json()
    first = f"{base}{begun['path']}pieces/0/"
    assert session.post(first, data={"proof": "0" * 32}, files=piece, timeout=10).status_code == 403
    assert session.post(f"{base}{UPLOADS}", data={"bytes": "5"}, timeout=10).status_code == 403
    from_elsewhere = {"Origin": "https://evil.example"}
    answer = session.post(first, data={"proof": proof}, files=piece, headers=from_elsewhere, timeout=10)
    assert answer.status_code == 403
    assert other.post(first, data={"proof": others_proof}, files=piece, timeout=10).status_code == 404
    assert session.post(first, data={"proof": proof}, timeout=10).status_code == 400
    beyond = f"{base}{begun['path']}pieces/1/"
    assert session.post(beyond, data={"proof": proof}, files=piece, timeout=10).status_code == 400
    large = {"piece": b"x" * (64 << 10)}
    assert session.post(first, data={"proof": proof}, files=large, timeout=10).status_code == 413
    finish = f"{base}{begun['path']}finish/"
    assert session.post(finish, data={"proof": proof}, timeout=10).status_code == 400
    assert session.post(first, data={"proof": proof}, files=piece, timeout=10).status_code == 204
    assert session.post(finish, data={"proof": proof}, timeout=10).status_code == 204


@pytest.mark.parametrize("size", ["", "x", "-5", "1e3", "99999999999999999999", "16777217"])
def test_a_size_that_is_none_is_refused(world: World, size: str) -> None:
    session, proof = _session(world, "operator")
    answer = session.post(
        f"{world.instance.base_url}{UPLOADS}", data={"proof": proof, "bytes": size}, timeout=10
    )
    assert answer.status_code == 400
    assert "1 byte to 16 MiB" in answer.text


def test_what_is_not_there_is_a_page_that_says_so(world: World) -> None:
    session, _ = _session(world, "operator")
    for path, told in (
        (f"uploads/{uuid4()}/", "There is no such upload"),
        (f"{uuid4()}/", "There is no such import"),
    ):
        answer = session.get(f"{world.instance.base_url}/console/statements/{path}", timeout=10)
        assert answer.status_code == 404
        assert told in answer.text
