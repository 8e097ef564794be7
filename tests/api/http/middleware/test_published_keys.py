"""An identity provider's keys: changed at any moment, used on while it is silent, asked for within a bound."""

from collections.abc import Iterator
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from freezegun import freeze_time

from api.http.middleware.published_keys import (
    FETCH_AGAIN_AFTER,
    FRESH_FOR,
    KEPT_FOR,
    MAX_FETCHES_AT_ONCE,
    PublishedKeys,
)
from ledger.errors import Unavailable
from tests.api.http.middleware.key_set import KeySet, PrivateKey, published

OLD, NEW = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


@pytest.fixture
def key_set() -> Iterator[KeySet]:
    provider = KeySet(old=OLD)
    yield provider
    provider.close()


def token(key: PrivateKey, **names: str) -> str:
    return jwt.encode({"sub": "7"}, key, "EdDSA", headers=names)


def test_a_new_key_is_found_at_once_and_a_revoked_one_is_not(key_set: KeySet) -> None:
    keys = PublishedKeys(key_set.url)
    assert keys.key_for(token(OLD, kid="old")) == OLD.public_key()
    key_set.publish(published(NEW, kid="new"))
    assert keys.key_for(token(NEW, kid="new")) == NEW.public_key()
    with pytest.raises(jwt.PyJWTError):
        keys.key_for(token(OLD, kid="old"))


def test_invented_key_ids_cause_no_flood_of_fetches_and_no_harm_to_valid_tokens(key_set: KeySet) -> None:
    with freeze_time("2024-01-15 10:30:00") as clock:
        keys = PublishedKeys(key_set.url)
        for number in range(50):
            with pytest.raises(jwt.PyJWTError):
                keys.key_for(token(OLD, kid=f"invented-{number}"))
        assert key_set.asked == MAX_FETCHES_AT_ONCE
        assert keys.key_for(token(OLD, kid="old")) == OLD.public_key()
        clock.tick(FETCH_AGAIN_AFTER)
        key_set.publish(published(NEW, kid="new"))
        assert keys.key_for(token(NEW, kid="new")) == NEW.public_key()


def test_known_keys_are_fetched_again_and_used_on_while_the_provider_is_silent(key_set: KeySet) -> None:
    with freeze_time("2024-01-15 10:30:00") as clock:
        keys = PublishedKeys(key_set.url)
        keys.key_for(token(OLD, kid="old"))
        key_set.fall_silent()
        clock.tick(FRESH_FOR + timedelta(seconds=1))
        assert keys.key_for(token(OLD, kid="old")) == OLD.public_key()
        assert key_set.asked == 2
        with pytest.raises(Unavailable):
            keys.key_for(token(NEW, kid="new"))
        clock.tick(KEPT_FOR)
        with pytest.raises(Unavailable):
            keys.key_for(token(OLD, kid="old"))
        key_set.publish(published(OLD, kid="old"))
        clock.tick(FETCH_AGAIN_AFTER)
        assert keys.key_for(token(OLD, kid="old")) == OLD.public_key()


def test_the_only_key_needs_no_name(key_set: KeySet) -> None:
    key_set.publish(published(OLD))
    assert PublishedKeys(key_set.url).key_for(token(OLD)) == OLD.public_key()
    key_set.publish(published(OLD, kid="old"), published(NEW, kid="new"))
    with pytest.raises(jwt.PyJWTError):
        PublishedKeys(key_set.url).key_for(token(OLD))


def test_secrets_and_weak_keys_are_no_keys(key_set: KeySet) -> None:
    weak = generate_private_key(65537, 1024)
    secret = {"kty": "oct", "kid": "secret", "k": "AAAA"}
    key_set.publish(published(weak, kid="weak"), secret, published(OLD, kid="old"))
    keys = PublishedKeys(key_set.url)
    for name in ("weak", "secret"):
        with pytest.raises(jwt.PyJWTError):
            keys.key_for(token(OLD, kid=name))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"keys": 5}', b'{"keys": [5]}', b"\xff"])
def test_what_is_no_key_set_is_as_good_as_silence(key_set: KeySet, body: bytes) -> None:
    key_set.body = body
    with pytest.raises(Unavailable):
        PublishedKeys(key_set.url).key_for(token(OLD, kid="old"))
