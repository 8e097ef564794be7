"""Notifications go to real mail servers: with TLS to other machines, with a login, or not at all."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from payments.exceptions.notification_channels import channel_of
from tests.support.ports import free_port

REMOTE = "127.0.0.2"
"""An address of this machine that is none of the names that may do without TLS."""

MESSAGE = json.dumps({"subject": "Daftari: 1 open case, 1 new", "text": "refund_due: 1"}).encode()


class Mailbox:
    """Keeps what the mail server took."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.taken.append(envelope)
        return "250 OK"


@contextmanager
def mail_server(host: str = "127.0.0.1", **options: Any) -> Iterator[tuple[Mailbox, int]]:
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname=host, port=free_port(), **options)
    controller.start()
    try:
        yield mailbox, controller.port
    finally:
        controller.stop()


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate of REMOTE, which this process trusts while the test runs."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(REMOTE))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, pem = tmp_path / "server.pem", serialization.Encoding.PEM
    file.write_bytes(
        signed.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_an_email_has_the_subject_the_text_and_all_who_get_it() -> None:
    with mail_server() as (mailbox, port):
        address = f"smtp://127.0.0.1:{port}/?from=daftari@example.co.ke&to=a@example.co.ke&to=b@example.co.ke"
        assert channel_of(address).failure_of(MESSAGE) is None
    [envelope] = mailbox.taken
    mail = message_from_bytes(envelope.content, policy=policy.default)
    assert envelope.rcpt_tos == ["a@example.co.ke", "b@example.co.ke"]
    assert (mail["Subject"], mail["From"]) == ("Daftari: 1 open case, 1 new", "daftari@example.co.ke")
    assert mail.get_content().strip() == "refund_due: 1"
    assert mail["Date"]
    assert mail["Message-ID"].endswith("@example.co.ke>")


@pytest.mark.parametrize("password", ["a p:w@d/1", "wrong"])
def test_a_login_goes_over_tls_alone_and_a_wrong_one_is_told(
    certificate: ssl.SSLContext, password: str
) -> None:
    def authenticate(*arguments: Any) -> AuthResult:
        login = arguments[-1]
        assert isinstance(login, LoginPassword)
        is_right = (login.login, login.password) == (b"shop", b"a p:w@d/1")
        return AuthResult(success=is_right, handled=False)

    options = {"tls_context": certificate, "authenticator": authenticate, "require_starttls": True}
    with mail_server(REMOTE, **options) as (mailbox, port):
        quoted = password.replace(" ", "%20").replace(":", "%3A").replace("@", "%40").replace("/", "%2F")
        address = f"smtp://shop:{quoted}@{REMOTE}:{port}/?from=a@example.co.ke&to=b@example.co.ke"
        failure = channel_of(address).failure_of(MESSAGE)
    assert (failure, len(mailbox.taken)) == (
        (None, 1) if password != "wrong" else ("SMTPAuthenticationError", 0)
    )


def test_no_mail_goes_to_another_machine_without_tls() -> None:
    with mail_server(REMOTE) as (mailbox, port):
        failure = channel_of(f"smtp://{REMOTE}:{port}/?from=a@example.co.ke&to=b@example.co.ke").failure_of(
            MESSAGE
        )
    assert (failure, mailbox.taken) == ("the mail server offers no STARTTLS", [])


def test_a_mail_server_that_nobody_vouches_for_gets_nothing(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with mail_server(REMOTE, tls_context=certificate) as (mailbox, port):
        failure = channel_of(f"smtp://{REMOTE}:{port}/?from=a@example.co.ke&to=b@example.co.ke").failure_of(
            MESSAGE
        )
    assert (failure, mailbox.taken) == ("SSLCertVerificationError", [])
