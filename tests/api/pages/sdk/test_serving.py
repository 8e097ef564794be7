"""How daftari.js is served: small, to everybody, and kept by caches."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.http.app import create_app
from api.local.local_settings import local_settings
from api.pages import install_pages, sdk
from payments.services import Services

MAX_BYTES = 8 * 1024
PATHS = ("/sdk/daftari.js", "/sdk/v1/daftari.js")


def no_services() -> Services:
    """Fail: nothing here may ask for them."""
    raise AssertionError


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    """A client of an application without services, which these files need none of."""
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path)})
    return create_app(settings, no_services, install_pages).test_client()


@pytest.mark.parametrize("path", PATHS)
def test_the_module_is_small_and_for_every_origin(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Origin": "https://shop.example"})
    assert answer.status_code == 200
    assert len(answer.data) < MAX_BYTES
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers
    assert b"import " not in answer.data.replace(b"/** @import", b"")


def test_its_types_are_beside_it(client: FlaskClient) -> None:
    for path in PATHS:
        answer = client.get(path.replace(".js", ".d.ts"))
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/typescript; charset=utf-8"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_caches_keep_it_and_ask_whether_it_has_changed(client: FlaskClient) -> None:
    newest, versioned = (client.get(path) for path in PATHS)
    assert newest.headers["Cache-Control"] == f"public, max-age={sdk.NEWEST_SECONDS}"
    assert versioned.headers["Cache-Control"] == f"public, max-age={sdk.VERSIONED_SECONDS}"
    assert newest.headers["ETag"] == versioned.headers["ETag"]
    again = client.get(PATHS[1], headers={"If-None-Match": versioned.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "path", ["/sdk/", "/sdk/__init__.py", "/sdk/v2/daftari.js", "/sdk/v1/..%2f__init__.py"]
)
def test_nothing_else_is_there(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404
