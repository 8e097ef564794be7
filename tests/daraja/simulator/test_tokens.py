"""The token endpoint: its form, its errors, and one valid token at a time."""

import pytest

from tests.daraja.simulator.conftest import Shop


def test_a_token_has_28_characters_and_its_lifetime_is_text(shop: Shop) -> None:
    answer = shop.ask_token().json()
    assert len(answer["access_token"]) == 28
    assert answer["expires_in"] == "3599"


@pytest.mark.parametrize("grant_type", ["password", ""])
def test_another_grant_type_is_refused(shop: Shop, grant_type: str) -> None:
    answer = shop.ask_token(params={"grant_type": grant_type})
    assert answer.status_code == 400
    assert answer.json()["errorCode"] == "400.008.02"
    assert answer.json()["errorMessage"] == "Invalid grant type passed"


def test_a_missing_grant_type_is_refused(shop: Shop) -> None:
    assert shop.ask_token(params={}).json()["errorCode"] == "400.008.02"


@pytest.mark.parametrize("authorization", ["Bearer abc", "Basic ???", "Basic", "abc"])
def test_a_header_that_is_not_basic_is_refused(shop: Shop, authorization: str) -> None:
    answer = shop.ask_token(auth=None, headers={"Authorization": authorization})
    assert answer.status_code == 400
    assert answer.json()["errorCode"] == "400.008.01"
    assert answer.json()["errorMessage"] == "Invalid Authentication passed"


def test_wrong_credentials_get_400_and_nothing_else(shop: Shop) -> None:
    answer = shop.ask_token(auth=("simulator-key", "wrong"))
    assert (answer.status_code, answer.content) == (400, b"")


def test_a_token_is_requested_with_get(shop: Shop) -> None:
    answer = shop.http.post(f"{shop.url}/oauth/v1/generate", timeout=10)
    assert answer.status_code == 405
    assert answer.json()["errorCode"] == "405.001"


def test_a_new_token_voids_the_old_one(shop: Shop) -> None:
    old, new = (shop.ask_token().json()["access_token"] for _ in range(2))
    assert old != new
    refused = shop.send_push(shop.document(), headers={"Authorization": f"Bearer {old}"})
    assert (refused.status_code, refused.json()["errorCode"]) == (404, "404.001.03")
    assert shop.send_push(shop.document(), headers={"Authorization": f"Bearer {new}"}).status_code == 200


def test_a_token_lives_for_an_hour(shop: Shop) -> None:
    shop.ask_token()
    shop.simulator.advance(3599)
    assert shop.simulator.tokens.valid_token() is not None
    shop.simulator.advance(1)
    assert shop.simulator.tokens.valid_token() is None


def test_a_voided_token_is_refused_until_the_next_is_issued(shop: Shop) -> None:
    old = shop.headers()
    shop.simulator.tokens.void()
    assert shop.send_push(shop.document(), headers=old).json()["errorMessage"] == "Invalid Access Token"
    assert shop.send_push(shop.document()).status_code == 200
