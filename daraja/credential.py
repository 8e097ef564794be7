"""The SecurityCredential: an initiator's password that only M-Pesa can read."""

import base64
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from daraja.daraja_errors import InvalidConfig

_CERTIFICATE_MARK = b"-----BEGIN CERTIFICATE-----"
_UNUSABLE = (
    "certificate must be a PEM file with Safaricom's certificate, or its RSA public key: "
    "download it again from the Daraja portal, for the environment in use."
)
_MIN_BITS = 1024


def security_credential(password: str, certificate_pem: bytes | str) -> str:
    """Encrypt an initiator's password for M-Pesa: RSA, PKCS#1 v1.5, in base64 (344 characters for a 2048-bit key).

    `certificate_pem` is Safaricom's certificate for the environment, or a public key. Its dates are ignored:
    the certificates in use expired years ago. Padding is random, so the text differs each time, and each may be
    used again. Raise InvalidConfig, without repeating either, when one of them cannot be used.
    Source: the portal's page on security credentials.
    """
    key = public_key(certificate_pem)
    try:
        encrypted = key.encrypt(password.encode(), padding.PKCS1v15())
    except ValueError:
        raise InvalidConfig(
            "initiator_password", "initiator_password is too long for the key in the certificate."
        ) from None
    return base64.b64encode(encrypted).decode()


def public_key(certificate_pem: bytes | str) -> rsa.RSAPublicKey:
    """Return the RSA key of a certificate or of a public-key file; raise InvalidConfig when there is none."""
    pem = certificate_pem.encode() if isinstance(certificate_pem, str) else certificate_pem
    try:
        certified = _CERTIFICATE_MARK in pem
        key = x509.load_pem_x509_certificate(pem).public_key() if certified else load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidConfig("certificate", _UNUSABLE) from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _MIN_BITS:
        raise InvalidConfig("certificate", _UNUSABLE)
    return key


def certificate_end(pem: bytes) -> datetime | None:
    """Return when a PEM certificate ends, aware UTC; None for a public key, or for what cannot be read."""
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError:
        return None
