"""The keys that tokens may be signed with: a shared secret, those of a PEM file, or those that a provider publishes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from api.http.middleware.published_keys import MIN_RSA_BITS, PublicKey, PublishedKeys, is_strong
from api.setting_rules import ConfigurationError
from api.settings import Settings

MAX_KEYS_IN_FILE = 8

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)

KeySource = Callable[[str], list[tuple[Any, str]]]
"""Returns the keys that a token may be signed with, each with the only algorithm that it is good for."""


def key_source(settings: Settings) -> KeySource:
    """Return the keys that the settings name. Raises ConfigurationError for a file that cannot be used."""
    if settings.daftari_jwt_jwks_url:
        published = PublishedKeys(settings.daftari_jwt_jwks_url)
        return lambda token: [_with_its_algorithm(published.key_for(token))]
    if settings.daftari_jwt_public_key_file:
        keys = _keys_from(settings.daftari_jwt_public_key_file)
    else:
        secrets = (settings.daftari_jwt_secret, settings.daftari_jwt_previous_secret)
        keys = [(secret, "HS256") for secret in secrets if secret]
    return lambda _token: keys


def _with_its_algorithm(key: PublicKey) -> tuple[Any, str]:
    return key, "RS256" if isinstance(key, RSAPublicKey) else "EdDSA"


def _keys_from(file: Path) -> list[tuple[Any, str]]:
    """Return the keys of a PEM file: one, or the new and the old while tokens of both are about."""
    try:
        text = file.read_text("ascii")
        found = [load_pem_public_key(each.group().encode()) for each in _PEM.finditer(text)]
    except (OSError, ValueError) as error:
        raise _unusable(file, "is not a readable file of PEM public keys") from error
    if not 1 <= len(found) <= MAX_KEYS_IN_FILE:
        raise _unusable(file, f"must hold 1 to {MAX_KEYS_IN_FILE} PEM public keys")
    strong = [key for key in found if is_strong(key)]
    if len(strong) < len(found):
        raise _unusable(file, f"must hold only RSA keys of {MIN_RSA_BITS} bits or more, or Ed25519")
    return [_with_its_algorithm(key) for key in strong]


def _unusable(file: Path, problem: str) -> ConfigurationError:
    return ConfigurationError([f"DAFTARI_JWT_PUBLIC_KEY_FILE: {file} {problem}."])
