"""Connections: over TLS as over plain TCP, with the same care about what may have been sent."""

import ipaddress
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from daraja import DarajaClient, Retryable, Uncertain
from daraja.wire import new_session
from tests.daraja.client import scripted
from tests.daraja.client.conftest import (
    ACCEPTANCE,
    CHECKOUT_ID,
    NOW,
    make_config,
    make_store,
    push,
    token_reply,
)
from tests.daraja.client.scripted import OAUTH, PUSH, Script, json_reply


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a certificate for 127.0.0.1 that nobody has signed but itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "daraja.example")])
    began = datetime.now(UTC) - timedelta(days=1)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    draft = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    draft = draft.serial_number(x509.random_serial_number()).add_extension(host, critical=False)
    draft = draft.not_valid_before(began).not_valid_after(began + timedelta(days=9))
    signed = draft.sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "daraja.pem"
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.fixture
def tls_script(certificate: Path) -> Iterator[Script]:
    """Give a scripted Daraja that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    script, stop = scripted.serve(context)
    script.at(OAUTH, token_reply("token-1"))
    script.at(PUSH, json_reply(200, ACCEPTANCE))
    yield script
    stop()


@pytest.fixture
def tls_client(tls_script: Script, certificate: Path) -> Iterator[DarajaClient]:
    """Give a client that trusts that server."""
    session = new_session(pool_size=2)
    session.verify = str(certificate)
    config = make_config(base_url=tls_script.base_url, read_timeout_seconds=1.0)
    client = DarajaClient(config, make_store(), clock=lambda: NOW, http=session)
    yield client
    client.close()


def test_a_push_over_tls_is_accepted_on_one_kept_connection(
    tls_client: DarajaClient, tls_script: Script
) -> None:
    assert [push(tls_client).checkout_request_id for _ in range(3)] == [CHECKOUT_ID] * 3
    assert len({request.port for _, request in tls_script.requests}) == 1


@pytest.mark.parametrize(
    "answer", [scripted.hang_up, scripted.cut_short, scripted.drip_head, scripted.drip_body]
)
def test_what_is_lost_over_tls_is_uncertain(
    tls_client: DarajaClient, tls_script: Script, answer: scripted.Deed
) -> None:
    tls_script.at(PUSH, answer)
    with pytest.raises(Uncertain):
        push(tls_client)
    assert len(tls_script.seen(PUSH)) == 1


def test_an_interim_answer_is_not_taken_for_the_answer(script: Script) -> None:
    """The next request would otherwise read what was meant for this one."""
    client = DarajaClient(make_config(base_url=script.base_url), make_store("token-1"), clock=lambda: NOW)
    script.at(PUSH, json_reply(103, ACCEPTANCE), json_reply(200, ACCEPTANCE))
    with pytest.raises(Uncertain):
        push(client)
    assert push(client).checkout_request_id == CHECKOUT_ID
    assert len({request.port for request in script.seen(PUSH)}) == 2


def test_without_the_authorities_nothing_was_sent(tls_script: Script, tmp_path: Path) -> None:
    session = new_session(pool_size=2)
    session.verify = str(tmp_path / "gone.pem")
    config = make_config(base_url=tls_script.base_url)
    client = DarajaClient(config, make_store("token-1"), clock=lambda: NOW, http=session)
    with pytest.raises(Retryable):
        push(client)
    assert tls_script.requests == []


def test_a_certificate_that_is_not_trusted_means_that_nothing_was_sent(tls_script: Script) -> None:
    client = DarajaClient(make_config(base_url=tls_script.base_url), make_store("token-1"), clock=lambda: NOW)
    with pytest.raises(Retryable) as refusal:
        push(client)
    assert refusal.value.code == "DARAJA_UNREACHABLE"
    assert tls_script.requests == []


@pytest.mark.parametrize(("max_idle_seconds", "ports"), [(30.0, 1), (0.0, 2)])
def test_a_long_silent_connection_is_not_used_again(
    script: Script, max_idle_seconds: float, ports: int
) -> None:
    session = new_session(pool_size=2, max_idle_seconds=max_idle_seconds)
    config = make_config(base_url=script.base_url)
    client = DarajaClient(config, make_store("token-1"), clock=lambda: NOW, http=session)
    push(client)
    push(client)
    assert len({request.port for request in script.seen(PUSH)}) == ports


def _until_the_end(line: scripted.Line) -> None:
    line.close_connection = True
    line.wfile.write(
        b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(ACCEPTANCE).encode()
    )


def _in_chunks(line: scripted.Line) -> None:
    body = json.dumps(ACCEPTANCE).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:], b""))
    line.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)


@pytest.mark.parametrize(("answer", "ports"), [(_until_the_end, 3), (_in_chunks, 1)])
def test_an_answer_of_no_stated_length_is_read_to_its_end(
    script: Script, answer: scripted.Deed, ports: int
) -> None:
    script.at(PUSH, answer)
    client = DarajaClient(make_config(base_url=script.base_url), make_store("token-1"), clock=lambda: NOW)
    assert [push(client).checkout_request_id for _ in range(3)] == [CHECKOUT_ID] * 3
    assert len({request.port for request in script.seen(PUSH)}) == ports
    client.close()


def test_settings_of_the_host_do_not_reach_the_session(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client = DarajaClient(make_config(base_url=script.base_url), make_store(), clock=lambda: NOW)
    assert push(client).checkout_request_id == CHECKOUT_ID


def test_a_cookie_is_not_kept(script: Script) -> None:
    script.at(PUSH, json_reply(200, ACCEPTANCE, Set_Cookie="visid=1; Path=/"))
    client = DarajaClient(make_config(base_url=script.base_url), make_store(), clock=lambda: NOW)
    push(client)
    push(client)
    assert "Cookie" not in script.seen(PUSH)[1].headers
