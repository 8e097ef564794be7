"""The organisation's initiator: its name and password, and the key pair that encrypts the password."""

import base64
import binascii
import threading
from collections.abc import Iterator
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.state_file import Record, record

WRONG_CREDENTIAL = "2001"
LOCKED = "8006"
MAX_WRONG_CREDENTIALS = 5

_KEY_BITS = 2048
_VALID_FOR = timedelta(days=365)


class InitiatorKeys:
    """Checks SecurityCredentials. Without a password in the settings any credential is accepted."""

    def __init__(self, mobile_money: MobileMoney) -> None:
        self._settings = mobile_money.settings
        self._mobile_money = mobile_money
        self._generating = threading.Lock()
        self._key: rsa.RSAPrivateKey | None = None
        self._wrong_credentials = 0
        mobile_money.state_file.register({"operator_key": self._read_key}, self._snapshot)

    def objection_to(self, name: str, credential: str) -> str | None:
        """Return the result code with which an initiator is refused, or None."""
        if self._settings.initiator_password is None:
            return None
        if self._wrong_credentials >= MAX_WRONG_CREDENTIALS:
            return LOCKED
        if (
            name != self._settings.initiator_name
            or self._decrypted(credential) != self._settings.initiator_password
        ):
            self._wrong_credentials += 1
            return WRONG_CREDENTIAL
        self._wrong_credentials = 0
        return None

    def unlock(self) -> None:
        """Unlock the initiator after too many wrong credentials."""
        self._wrong_credentials = 0

    def certificate(self) -> bytes:
        """Return the certificate whose key encrypts the password, as PEM text."""
        key = self._private_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "apicrypt.simulator")])
        now = self._mobile_money.now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + _VALID_FOR)
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM)

    def _decrypted(self, credential: str) -> str | None:
        try:
            encrypted = base64.b64decode(credential, validate=True)
            return self._private_key().decrypt(encrypted, padding.PKCS1v15()).decode()
        except (binascii.Error, ValueError):
            return None

    def _private_key(self) -> rsa.RSAPrivateKey:
        """Return the key, generated on first use: that takes a tenth of a second."""
        with self._generating:
            if self._key is None:
                self._key = rsa.generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)
                with self._mobile_money.changed:
                    self._mobile_money.state_file.write(_key_record(self._key))
            return self._key

    def _snapshot(self) -> Iterator[Record]:
        if self._key is not None:
            yield _key_record(self._key)

    def _read_key(self, read: Record) -> None:
        key = load_pem_private_key(str(read["pem"]).encode(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key = key


def _key_record(key: rsa.RSAPrivateKey) -> Record:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return record("operator_key", pem=pem.decode())
