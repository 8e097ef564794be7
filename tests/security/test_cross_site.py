"""No other site can act on the console by a visitor's browser, nor sign it in as somebody else."""

import pytest
import requests

from tests.api.pages.test_work import proof_in
from tests.security.world import OPERATOR, World

ELSEWHERE = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:1"},
]


@pytest.mark.parametrize("headers", ELSEWHERE)
def test_a_sign_in_from_another_site_is_refused(world: World, headers: dict[str, str]) -> None:
    browser, work = requests.Session(), f"{world.instance.base_url}/console/"
    form = {
        "token": world.instance.token(OPERATOR, "operator"),
        "proof": proof_in(browser.get(work, timeout=10).text),
    }
    answer = browser.post(f"{work}sign-in/", data=form, headers=headers, timeout=10, allow_redirects=False)
    assert answer.status_code == 403
    own = {"Origin": world.instance.base_url, "Sec-Fetch-Site": "same-origin"}
    answer = browser.post(f"{work}sign-in/", data=form, headers=own, timeout=10, allow_redirects=False)
    assert answer.status_code == 303


def test_a_sign_in_needs_the_proof_of_this_browser(world: World) -> None:
    work = f"{world.instance.base_url}/console/"
    theirs = proof_in(requests.get(work, timeout=10).text)
    token = world.instance.token(OPERATOR, "operator")
    victim = requests.Session()
    victim.get(work, timeout=10)
    for form in ({"token": token}, {"token": token, "proof": theirs}, {"token": token, "proof": ""}):
        answer = victim.post(f"{work}sign-in/", data=form, timeout=10, allow_redirects=False)
        assert answer.status_code == 403
    assert (
        requests.post(f"{work}sign-in/", data={"token": token, "proof": theirs}, timeout=10).status_code
        == 403
    )


def test_the_cookies_are_for_this_page_and_no_script(world: World) -> None:
    kept = requests.get(f"{world.instance.base_url}/console/", timeout=10).headers["Set-Cookie"]
    for attribute in ("HttpOnly", "SameSite=Strict", "Path=/console/"):
        assert attribute in kept
