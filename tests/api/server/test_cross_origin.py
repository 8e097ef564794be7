"""What the server says to scripts of other origins, also in answers that wait and in refusals of its own."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from api.local.local_settings import local_settings
from api.server.http_server import Task
from api.server.lanes import Lanes
from api.server.web_server import make_server
from api.server.wsgi import Wsgi
from tests.support.ports import LOCALHOST
from tests.support.web_server import everything, serving

SHOP = "https://shop.example"
POLL = b"GET /api/payments/sessions/a38d0889-82a5-42db-b32b-2746a2a26d6f/status/?wait=1 HTTP/1.1\r\nHost: shop\r\n"
FROM_SHOP = f"Origin: {SHOP}\r\n".encode()
ALLOWED = f"Access-Control-Allow-Origin: {SHOP}\r\n".encode()


class FullLanes(Lanes[Task]):
    """Queues without room."""

    def put(self, task: Task, *, opens_checkout: bool = False) -> bool:  # noqa: ARG002 - the signature of Lanes
        """Refuse every request."""
        return False


def broken(_environ: Any, _start_response: Any) -> list[bytes]:
    raise RuntimeError


@contextmanager
def server_of(folder: Path, application: Wsgi, lanes: Lanes[Task], **changed: Any) -> Iterator[int]:
    """Serve an application to pages of the shop meanwhile, and give the port."""
    settings = local_settings({"DAFTARI_DATA_DIR": str(folder), "DAFTARI_CORS_ORIGINS": SHOP})
    listener = socket.create_server((LOCALHOST, 0))
    port: int = listener.getsockname()[1]
    server = make_server(
        replace(settings, **changed), 4_096, listener, application, lanes, on_tick=lambda: None
    )
    thread = Thread(target=server.run)
    thread.start()
    try:
        yield port
    finally:
        server.stop()
        thread.join()


def answer_to(port: int, sent: bytes) -> bytes:
    with socket.create_connection((LOCALHOST, port), timeout=30) as client:
        client.sendall(sent)
        return everything(client)


@pytest.mark.parametrize(
    ("lanes", "status"), [(FullLanes(1), b"503"), (Lanes[Task](1), b"500")], ids=["busy", "faulty"]
)
def test_a_refusal_by_the_server_can_be_read_there(tmp_path: Path, lanes: Lanes[Task], status: bytes) -> None:
    with server_of(tmp_path, broken, lanes) as port:
        told = answer_to(port, POLL + FROM_SHOP + b"\r\n")
        assert told.startswith(b"HTTP/1.1 " + status)
        assert ALLOWED in told
        assert b"Vary: Origin\r\n" in told
        assert ALLOWED not in answer_to(port, POLL + b"Origin: https://evil.example\r\n\r\n")
        callback = b"POST /api/payments/callbacks/token/ HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n"
        refused = answer_to(port, callback + FROM_SHOP + b"\r\n")
        assert refused.startswith(b"HTTP/1.1 " + status)
        assert b"Access-Control" not in refused


def test_who_sends_too_slowly_or_too_much_can_read_so_there(tmp_path: Path) -> None:
    slow = b"PUT /api/cart/items/1/ HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n" + FROM_SHOP + b"\r\n{"
    long = POLL + FROM_SHOP + b"X: " + b"y" * 40_000
    with server_of(tmp_path, broken, Lanes[Task](1), daftari_request_seconds=1) as port:
        for sent, status in ((slow, b"408"), (long, b"431")):
            told = answer_to(port, sent)
            assert told.startswith(b"HTTP/1.1 " + status)
            assert ALLOWED in told


def test_answers_that_wait_and_lean_ones_can_be_read_there(database_url: str, data_folder: Path) -> None:
    with serving(database_url, data_folder, DAFTARI_CORS_ORIGINS=SHOP) as server:
        checkout = server.checkout(7)
        asked = [
            (allowed, server.ask(7, checkout.session_id, what, Origin=origin))
            for what in ("status/", "status/?wait=1", "stream/", "events/")
            for origin, allowed in ((SHOP, SHOP), ("https://evil.example", None))
        ]
        for allowed, connection in asked:
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == allowed
            assert answer.headers["Vary"] == "Origin"
