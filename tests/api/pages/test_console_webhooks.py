"""Operators add, stop and repeat webhooks in the console, without a script; auditors read."""

import re

import pytest
import requests

from tests.api.pages.test_work import proof_in, signed_in
from tests.security.world import World


class Staff:
    """Somebody of the staff at the pages of webhooks, by forms alone."""

    def __init__(self, world: World, role: str) -> None:
        user = {"operator": 9, "auditor": 10}[role]
        self._base = f"{world.instance.base_url}/console/webhooks/"
        self._browser, _ = signed_in(world.instance, token=world.instance.token(user, role))

    def read(self, path: str = "") -> str:
        """Return a page."""
        return self._browser.get(f"{self._base}{path}", timeout=10).text

    def press(self, path: str, **form: str) -> requests.Response:
        """Submit a form of the page."""
        data = {"proof": proof_in(self.read()), **form}
        return self._browser.post(f"{self._base}{path}", data=data, timeout=10)


@pytest.fixture
def operator(world: World) -> Staff:
    return Staff(world, "operator")


def test_an_endpoint_is_added_with_a_secret_that_is_shown_once_and_deleted(operator: Staff) -> None:
    form = {"url": "https://new.example/hook", "key": "web-shop", "events": "payment.paid"}
    added = operator.press("", **form)
    assert added.status_code == 200
    assert re.search(r"<code class=\"hash\">whsec_[A-Za-z0-9+/=]+</code>", added.text)
    listed = operator.read()
    assert "whsec_" not in listed
    assert "key web-shop" in listed
    [path] = re.findall(r'/console/webhooks/([0-9a-f-]{36}/)">https://new\.example/hook<', listed)
    rotated = operator.press(f"{path}rotate/")
    assert "whsec_" in rotated.text
    assert "whsec_" not in operator.read(path)
    assert "Deleted." in operator.press(f"{path}act/", action="delete").text
    assert "new.example" not in operator.read()


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"url": "http://127.0.0.1/", "events": "payment.paid"}, "Write a URL that begins with https://."),
        ({"url": "https://shop.example/"}, "Tick at least one type."),
    ],
)
def test_what_is_wrong_is_a_page_that_says_so(operator: Staff, form: dict[str, str], told: str) -> None:
    answer = operator.press("", **form)
    assert answer.status_code == 400
    assert told in answer.text


def test_what_was_queued_is_shown_and_delivered_again(operator: Staff, world: World) -> None:
    path = f"{world.known['endpoint_id']}/"
    shown = operator.read(path)
    assert "disabled by hand" in shown
    assert "payment.paid" in shown
    assert world.known["paid_session_id"] in shown
    act = f"{path}act/"
    assert "delivered again" in operator.press(act, action="since", text="2026-11-28T08:00").text
    assert operator.press(act, action="since", text="yesterday").status_code == 400
    assert operator.press(act, action="again", delivery="x").status_code == 404
    assert operator.press(act, action="explode").status_code == 404


def test_an_auditor_reads_and_changes_nothing(world: World) -> None:
    auditor, path = Staff(world, "auditor"), f"{world.known['endpoint_id']}/"
    assert "https://shop.example/hook" in auditor.read()
    assert "<form" not in auditor.read(path).partition("<main")[2]
    for action in ("enable", "delete", "since"):
        assert auditor.press(f"{path}act/", action=action).status_code == 403
    assert auditor.press("", url="https://new.example/", events="payment.paid").status_code == 403
