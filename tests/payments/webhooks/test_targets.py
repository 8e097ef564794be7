"""Webhooks go to the public Internet alone, to the very address that was checked."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ledger.application import Ledger
from ledger.errors import InvalidValue
from ledger.store.database import Database
from payments.webhooks.connections import Connections, NotPosted
from payments.webhooks.http_post import Route, addresses_of
from payments.webhooks.targets import is_public, parse_target
from tests.payments.webhooks.setting import Webhooks, ordered
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver

PRIVATE = (
    *("127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1"),
    *("::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"),
)
REFUSED = (
    *("http://shop.example/", "ftp://shop.example/", "shop.example", "https:///x", "https://"),
    *("https://user:secret@shop.example/", "https://user@shop.example/", "https://shop.example/#part"),
    *("https://localhost/", "https://x.localhost/", "https://printer.local/", "https://127.0.0.1/"),
    *("https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest/meta-data/"),
    *("https://shop.example:0/", "https://shop.example:99999/", "https://shop..example/", "https://[::1"),
    *("https://shop.example/a b", "https://shop.example/\r\nHost:x", "https://shop.example\\@127.0.0.1/"),
    *("https://shop.exämple/", "https://shop.example/" + "x" * 2_000),
)


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_everybodys_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "196.201.214.200", "2001:4860:4860::8888"])
def test_an_address_that_everybody_reaches_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_leads_nowhere_public_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        parse_target(url, allows_private=False)
    assert set(refusal.value.errors) == {"url"}


def test_a_url_is_taken_apart() -> None:
    target = parse_target("https://shop.example:8443/hooks?shop=1", allows_private=False)
    assert (target.host, target.port, target.authority) == ("shop.example", 8443, "shop.example:8443")
    assert (target.is_encrypted, target.resource) == (True, "/hooks?shop=1")
    assert parse_target("http://[::1]:9", allows_private=True).authority == "[::1]:9"


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "017700000001"])
def test_a_number_that_means_this_machine_is_found_out_by_its_address(host: str) -> None:
    target = parse_target(f"https://{host}/", allows_private=False)
    with pytest.raises(NotPosted, match=r"not public|unknown"):
        asyncio.run(addresses_of(target, allows_private=False))


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names resolve to these answers one after the other, the last for ever; return the names asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        try:
            ip_address(host)
            found = [host]
        except ValueError:
            asked.append(host)
            found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_that_leads_inside_is_sent_nothing(
    ledger: Ledger, database: Database, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhooks = Webhooks(ledger, database, allows_private=False)
    endpoint = webhooks.add(f"https://shop.example:{receiver.port}/")
    ordered(ledger, receipt="INSIDE")
    resolving(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    webhooks.work()
    assert receiver.received == []
    last = webhooks.deliveries.page(endpoint.endpoint_id)[-1]
    assert (last.state, last.last_error) == ("pending", "the address is not public")


def test_a_name_is_looked_up_once_and_its_address_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name service that answers otherwise the second time leads nobody inside."""
    asked = resolving(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    connected: list[str] = []

    async def create_connection(_: Any, __: Any, host: str, *___: Any, **____: Any) -> Any:
        connected.append(host)
        raise OSError

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", create_connection)
    with pytest.raises(NotPosted):
        send_to("https://shop.example/", ssl.create_default_context(), allows_private=False)
    assert (asked, connected) == (["shop.example"], ["8.8.8.8"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of shop.example that it signed itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "shop.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    return file


@pytest.fixture
def encrypted(certificate: Path) -> Iterator[WebhookReceiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with webhook_receiver(context) as running:
        yield running


def send_to(url: str, tls: ssl.SSLContext, *, allows_private: bool = True) -> int:
    async def send() -> int:
        target = parse_target(url, allows_private=allows_private)
        route = Route(target, Connections(lambda: tls), uuid4(), allows_private=allows_private)
        return (await route.post({}, b"{}")).status

    return asyncio.run(send())


def test_tls_is_verified_by_the_name_and_not_by_the_address(
    encrypted: WebhookReceiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, ["127.0.0.1"])
    trusting = ssl.create_default_context(cafile=str(certificate))
    url = f"https://shop.example:{encrypted.port}/hook"
    assert send_to(url, trusting) == 204
    assert encrypted.received[0].headers["host"] == f"shop.example:{encrypted.port}"
    with pytest.raises(NotPosted, match="TLS failed"):
        send_to(f"https://other.example:{encrypted.port}/hook", trusting)
    with pytest.raises(NotPosted, match="TLS failed"):
        send_to(url, ssl.create_default_context())
