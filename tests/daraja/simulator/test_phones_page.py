"""The phones page: served whole by ourselves, and fit for a frame."""

import re

import pytest

from tests.daraja.simulator.conftest import PHONE, Shop


@pytest.mark.parametrize("path", ["/", "/phones/", f"/phones/{PHONE}", f"/phones/{PHONE}/"])
def test_a_page_is_served_that_may_be_framed(shop: Shop, path: str) -> None:
    page = shop.http.get(shop.url + path, timeout=10)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "X-Frame-Options" not in page.headers
    assert "frame-ancestors" not in page.headers["Content-Security-Policy"]


def test_all_that_a_page_loads_comes_from_the_simulator(shop: Shop) -> None:
    page = shop.http.get(shop.url, timeout=10).text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len([path for path in loaded if path.startswith("/phones/static/")]) == 3
    for path in loaded:
        assert path.startswith(("/", "data:"))
        if path.startswith("/"):
            assert shop.http.get(shop.url + path, timeout=10).status_code == 200
    assert "://" not in page


def test_a_page_for_one_phone_names_it_and_has_every_button(shop: Shop) -> None:
    page = shop.http.get(f"{shop.url}/phones/{PHONE}", timeout=10).text
    assert f'data-phone="{PHONE}"' in page
    assert re.findall(r'data-action="([a-z-]+)"', page) == ["approve", "wrong-pin", "cancel", "ignore"]


@pytest.mark.parametrize("phone", ["0712345678", "254812345678", "%3Cscript%3E"])
def test_what_is_no_phone_has_no_page(shop: Shop, phone: str) -> None:
    answer = shop.http.get(f"{shop.url}/phones/{phone}", timeout=10)
    assert answer.status_code == 404
    assert "script" not in answer.text
