"""The SecurityCredential: readable by M-Pesa alone, from whatever PEM file the portal gives."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from daraja import InvalidConfig, security_credential
from tests.daraja.client.conftest import make_config

PASSWORD = "Safe#Word-2026"


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    """Give M-Pesa's key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def public_pem(private_key: rsa.RSAPrivateKey) -> bytes:
    """Give the public half in a file of its own."""
    return private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def certificate_pem(private_key: rsa.RSAPrivateKey) -> bytes:
    """Give a certificate as Safaricom's are: ended years ago."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "apicrypt.example")])
    builder = x509.CertificateBuilder(
        name,
        name,
        private_key.public_key(),
        x509.random_serial_number(),
        datetime(2014, 11, 1, tzinfo=UTC),
        datetime(2016, 11, 1, tzinfo=UTC),
    )
    return builder.sign(private_key, hashes.SHA256()).public_bytes(Encoding.PEM)


def opened(private_key: rsa.RSAPrivateKey, credential: str) -> str:
    """Read a credential as M-Pesa does."""
    return private_key.decrypt(base64.b64decode(credential, validate=True), padding.PKCS1v15()).decode()


def test_an_expired_certificate_serves(private_key: rsa.RSAPrivateKey, certificate_pem: bytes) -> None:
    credential = security_credential(PASSWORD, certificate_pem)
    assert len(credential) == 344
    assert opened(private_key, credential) == PASSWORD
    assert security_credential(PASSWORD, certificate_pem) != credential


def test_a_public_key_serves_as_well_as_bytes_or_text(
    private_key: rsa.RSAPrivateKey, public_pem: bytes
) -> None:
    assert opened(private_key, security_credential(PASSWORD, public_pem)) == PASSWORD
    assert opened(private_key, security_credential(PASSWORD, public_pem.decode())) == PASSWORD


def test_blank_lines_and_windows_line_ends_around_a_certificate_do_no_harm(
    private_key: rsa.RSAPrivateKey, certificate_pem: bytes
) -> None:
    worn = b"\r\n" + certificate_pem.replace(b"\n", b"\r\n") + b"\r\n\r\n"
    assert opened(private_key, security_credential(PASSWORD, worn)) == PASSWORD


def elliptic_pem() -> bytes:
    """Return a key of the wrong kind."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"hush",
        b"-----BEGIN CERTIFICATE-----\nhush\n-----END CERTIFICATE-----\n",
        b"\x30\x82\x00",
        elliptic_pem(),
    ],
)
def test_an_unusable_file_is_refused_in_words(pem: bytes) -> None:
    with pytest.raises(InvalidConfig) as refusal:
        security_credential(PASSWORD, pem)
    assert refusal.value.setting == "certificate"
    assert "Daraja portal" in refusal.value.message
    assert "hush" not in str(refusal.value)


def test_a_password_that_does_not_fit_the_key_is_refused_and_not_shown(public_pem: bytes) -> None:
    with pytest.raises(InvalidConfig) as refusal:
        security_credential("x" * 246, public_pem)
    assert refusal.value.setting == "initiator_password"
    assert "xxx" not in str(refusal.value)


def test_a_configuration_makes_the_credential_from_password_and_certificate(
    private_key: rsa.RSAPrivateKey, certificate_pem: bytes
) -> None:
    config = make_config(initiator_name="testapi", initiator_password=PASSWORD, certificate=certificate_pem)
    name, credential = config.initiator()
    assert (name, opened(private_key, credential)) == ("testapi", PASSWORD)
    assert PASSWORD not in repr(config)


def test_a_ready_made_credential_wins(certificate_pem: bytes) -> None:
    config = make_config(
        initiator_name="testapi",
        initiator_password=PASSWORD,
        certificate=certificate_pem,
        security_credential="A" * 344,
    )
    assert config.initiator() == ("testapi", "A" * 344)
    assert "AAAA" not in repr(config)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"initiator_name": "testapi"},
        {"initiator_name": "testapi", "initiator_password": PASSWORD},
        {"security_credential": "A" * 344},
    ],
)
def test_a_missing_setting_is_named_when_it_is_needed(given: dict[str, str]) -> None:
    with pytest.raises(InvalidConfig, match="MPESA_INITIATOR_NAME"):
        make_config(**given).initiator()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initiator_name", "test api"),
        ("initiator_password", "line\nline"),
        ("security_credential", "not base64!"),
        ("certificate", b"hush"),
    ],
)
def test_what_cannot_work_is_refused_at_once(name: str, value: object) -> None:
    with pytest.raises(InvalidConfig) as refusal:
        make_config(**{name: value})
    assert refusal.value.setting == name
