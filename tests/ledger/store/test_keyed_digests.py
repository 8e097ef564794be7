"""A digest by a key that was taken in before is HMAC-SHA256, whatever was digested in between."""

import hmac

from ledger.store.keyed_digests import keyed_digest

KEYS = (b"k" * 32, bytes(range(32)), b"long" * 40)
MESSAGES = (b"", b"phone\0254712345678", bytes(200))


def test_it_is_hmac_sha256_however_often_a_key_is_used() -> None:
    for _ in range(2):
        for key in KEYS:
            for message in MESSAGES:
                assert keyed_digest(key, message) == hmac.digest(key, message, "sha256")
