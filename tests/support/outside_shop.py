"""The reference shop of examples/ as a process of its own, and a proxy that spoils what it answers."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import requests

from tests.support.ports import LOCALHOST, free_port
from tests.support.waiting import wait_until

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "http_shop.py"
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
TOMATOES, EGGS = 1, 2
SPOILT = {
    "500": (500, b"{}"),
    "404": (404, b'{"refused": "OUT_OF_STOCK"}'),
    "redirect": (302, b""),
    "garbage": (200, b"<html>Welcome!</html>"),
    "nothing": (200, b"{}"),
    "huge": (200, b'{"order": "' + 300_000 * b"x" + b'"}'),
    "a number of the wrong kind": (200, b'{"order": {"order_number": "WEB-1", "order_id": 1.0}}'),
    "a refusal of its own": (200, b'{"refused": "I_DO_NOT_LIKE_IT"}'),
    "a phone number": (200, b'{"order": {"order_number": "0712345678"}}'),
}
"""Answers in place of the shop's own."""


class ReferenceShop:
    """The shop's process on a database file; its tables can be read and changed beside it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "shop.sqlite"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = f"http://{LOCALHOST}:{self._port}"
        self.url = f"{self.base_url}/daftari"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM, self._path, str(self._port)],
            env={**os.environ, "DAFTARI_SHOP_SECRET": SECRET},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, "the shop answers")

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def run(self, statement: str, *values: object) -> list[Any]:
        """Run a statement on the shop's tables; return its rows."""
        with sqlite3.connect(self._path, timeout=10) as db:
            return db.execute(statement, values).fetchall()

    def empty(self) -> None:
        """Forget all carts and orders, and fill the shelf."""
        for table in ("cart_lines", "orders", "order_lines", "ruled_out"):
            self.run(f"DELETE FROM {table}")
        self.run("UPDATE products SET stock = 40000")

    def put_in_cart(self, user: int | str, quantity: str, product: int = TOMATOES) -> None:
        """Fill a cart as the shop's own page would."""
        path = f"{self.base_url}/carts/{user}/{product}/"
        assert requests.put(path, json={"quantity": quantity}, timeout=10).status_code == 200

    def stock(self, product: int = TOMATOES) -> int:
        """Return how many thousandths of a product are on the shelf."""
        [(stock,)] = self.run("SELECT stock FROM products WHERE product_id = ?", product)
        return int(stock)

    def orders(self) -> list[dict[str, Any]]:
        """Return what was asked for each order that it made."""
        return [json.loads(body) for (body,) in self.run("SELECT body FROM orders ORDER BY order_id")]

    def _answers(self) -> bool:
        with suppress(requests.ConnectionError):
            return requests.post(self.url, data=b"", timeout=5).status_code == 401
        return False


class ShopProxy(ThreadingHTTPServer):
    """Passes requests on to `target`, but spoils the answers to those of the types that `faults` names.

    A fault is one of SPOILT, "unreachable", "lost" (it arrives, and the answer does not), "late" (as lost, and the
    connection stays open until `let_go`), or "twice". `asked` has the type of each request.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__((LOCALHOST, 0), _Handler)
        self.target = target
        self.url = f"http://{LOCALHOST}:{self.server_port}/daftari"
        self.faults: dict[str, str] = {}
        self.asked: list[str] = []
        self.let_go = Event()


class _Handler(BaseHTTPRequestHandler):
    server: ShopProxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = json.loads(body)["type"]
        self.server.asked.append(kind)
        fault = self.server.faults.get(kind)
        if fault == "unreachable":
            self.close_connection = True
            return
        status, content = SPOILT.get(fault or "") or self._passed_on(body)
        if fault == "twice":
            status, content = self._passed_on(body)
        if fault in ("late", "lost"):
            self.close_connection = True
            if fault == "late":
                self.server.let_go.wait(60)
            return
        self.send_response(status)
        self.send_header("Location", self.server.target)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(content)

    def _passed_on(self, body: bytes) -> tuple[int, bytes]:
        headers = {name: text for name, text in self.headers.items() if name.startswith("webhook-")}
        answer = requests.post(self.server.target, data=body, headers=headers, timeout=20)
        return answer.status_code, answer.content

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def reference_shop(folder: Path) -> Iterator[ReferenceShop]:
    """Run the reference shop."""
    shop = ReferenceShop(folder)
    try:
        shop.start()
        yield shop
    finally:
        shop.stop()


@contextmanager
def shop_proxy(target: str) -> Iterator[ShopProxy]:
    """Run a proxy in front of a shop."""
    proxy = ShopProxy(target)
    thread = Thread(target=proxy.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.let_go.set()
        proxy.shutdown()
        thread.join()
        proxy.server_close()
