"""A slash at the end of an address is optional."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

PATHS = ("/api/payments/sessions", "/api/cart", "/api/catalogue", "/api/places/counties")


@pytest.mark.parametrize("path", PATHS)
def test_a_wrong_method_is_405_with_and_without_the_slash(
    client: FlaskClient, bearer: Callable[..., dict[str, str]], path: str
) -> None:
    with_slash = client.patch(f"{path}/", headers=bearer())
    without = client.patch(path, headers=bearer())

    assert (with_slash.status_code, without.status_code) == (405, 405)
    assert without.headers["Allow"] == with_slash.headers["Allow"]
