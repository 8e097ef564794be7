"""The proxy file of docs/running.md, as nginx runs it."""

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path
from socket import create_connection

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.ports import LOCALHOST, free_port
from tests.support.waiting import wait_until
from tests.support.web_server import serving

pytestmark = pytest.mark.system

PROXY_FILE = Path(__file__).parents[2] / "docs" / "proxies" / "nginx.conf"


def nginx() -> str:
    """Return the path of nginx, which is installed now if that can be done."""
    if not _found() and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", "nginx-light"]):
            subprocess.run(["apt-get", "-qq", *command], check=False, timeout=600)
    assert _found(), "There is no nginx to test its file with: type `sudo apt-get install -y nginx-light`."
    return _found()


def _found() -> str:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or ""


def make_certificate(folder: Path) -> None:
    key, name, now = generate_private_key(SECP256R1()), x509.Name([]), datetime.now(UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    chain = certificate.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    (folder / "fullchain.pem").write_bytes(chain)
    own = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(own)


@contextmanager
def proxying(folder: Path, upstream: int) -> Iterator[int]:
    """Run nginx with the file, its addresses and paths replaced; yield its port."""
    make_certificate(folder)
    port, text = free_port(), PROXY_FILE.read_text("utf-8")
    for given, ours in (
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ("listen 443", f"listen {port}"),
        ("/etc/ssl/daftari", str(folder)),
        ("/var/log/nginx", str(folder)),
    ):
        assert given in text
        text = text.replace(given, ours)
    (folder / "daftari.conf").write_text(text, "utf-8")
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; pid {folder}/nginx.pid; events {{}} http {{ include {folder}/daftari.conf; }}", "utf-8"
    )
    process = subprocess.Popen([nginx(), "-p", str(folder), "-c", str(main)])
    try:
        wait_until(lambda: is_listening(port), "nginx listens")
        yield port
    finally:
        process.terminate()
        process.wait(20)


def is_listening(port: int) -> bool:
    try:
        create_connection((LOCALHOST, port), timeout=5).close()
    except OSError:
        return False
    return True


def ask(port: int, method: str, path: str, body: bytes | None = None) -> int:
    connection = HTTPSConnection(LOCALHOST, port, timeout=30, context=ssl._create_unverified_context())
    connection.request(method, path, body)
    status = connection.getresponse().status
    connection.close()
    return status


def test_requests_and_callbacks_pass_and_no_token_is_logged(database_url: str, data_folder: Path) -> None:
    with (
        serving(database_url, data_folder, DAFTARI_TRUSTED_PROXIES="1") as server,
        proxying(data_folder, server.settings.daftari_port) as port,
    ):
        assert ask(port, "GET", "/api/catalogue/") == 200
        assert ask(port, "GET", "/api/cart/") == 401
        assert ask(port, "POST", "/api/payments/callbacks/secret-token/", b"x" * (1 << 20)) == 200
        assert ask(port, "PUT", "/api/cart/items/1/", b"x" * (1 << 20)) == 413
    logs = b"".join(log.read_bytes() for log in data_folder.glob("*.log"))
    assert b"/api/payments/callbacks/... 200" in logs
    assert b"secret-token" not in logs
