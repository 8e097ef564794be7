"""The operator of the organisation: its name and password, and the key pair that the password is sealed with."""

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

from daraja.simulator.kenya_time import SimulatedClock
from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.simulator_settings import SimulatorSettings
from daraja.simulator.state_file import Record, StateFile, record

WRONG_CREDENTIAL = "2001"
LOCKED = "8006"
WRONG_TRIES_UNTIL_LOCKED = 5

_KEY_BITS = 2048
_VALID_FOR = timedelta(days=365)


class InitiatorKeys:
    """Judges SecurityCredentials. Without a password in the settings any credential is good."""

    def __init__(
        self,
        settings: SimulatorSettings,
        clock: SimulatedClock,
        mobile_money: MobileMoney,
        state_file: StateFile,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._mobile_money = mobile_money
        self._making = threading.Lock()
        self._key: rsa.RSAPrivateKey | None = None
        self._wrong_tries = 0
        state_file.register({"operator_key": self._read_key}, self._snapshot)

    def objection_to(self, name: str, credential: str) -> str | None:
        """Return the result code with which an operator is refused, or None."""
        if self._settings.initiator_password is None:
            return None
        if self._wrong_tries >= WRONG_TRIES_UNTIL_LOCKED:
            return LOCKED
        if (
            name != self._settings.initiator_name
            or self._opened(credential) != self._settings.initiator_password
        ):
            self._wrong_tries += 1
            return WRONG_CREDENTIAL
        self._wrong_tries = 0
        return None

    def unlock(self) -> None:
        """Let the operator try again."""
        self._wrong_tries = 0

    def certificate(self) -> bytes:
        """Return the certificate whose key seals the password, as PEM text."""
        key = self._private_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "apicrypt.simulator")])
        now = self._clock.now()
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + _VALID_FOR)
            .sign(key, hashes.SHA256())
        )
        return made.public_bytes(Encoding.PEM)

    def _opened(self, credential: str) -> str | None:
        try:
            encrypted = base64.b64decode(credential, validate=True)
            return self._private_key().decrypt(encrypted, padding.PKCS1v15()).decode()
        except (binascii.Error, ValueError):
            return None

    def _private_key(self) -> rsa.RSAPrivateKey:
        """Return the key, made when it is first wanted: it takes a tenth of a second."""
        with self._making:
            if self._key is None:
                self._key = rsa.generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)
                with self._mobile_money.changed:
                    self._mobile_money.note(_key_record(self._key))
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
