"""A proxy between us and the simulator that is silent about some prompts: it holds their status queries."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

import requests

from daraja.client import PUSH_PATH, QUERY_PATH
from tests.support.ports import LOCALHOST

_PASSED_ON = ("Authorization", "Content-Type")


class DarajaProxy(ThreadingHTTPServer):
    """Passes requests on to `target`, but holds the queries about the prompts in `silent_about` until `let_go`.

    `held` names the prompts whose queries it holds, `traces` the path and the trace context of each request. A push
    that was sent is answered by `refusal`, if that is not None.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOCALHOST, 0), _Handler)
        self.url = f"http://{LOCALHOST}:{self.server_port}"
        self.target = ""
        self.silent_about: set[str] = set()
        self.held: set[str] = set()
        self.refusal: tuple[int, bytes] | None = None
        self.asked: list[str] = []
        self.traces: list[tuple[str, str | None]] = []
        self._lock = Lock()
        self._goes_on = Event()

    def let_go(self) -> None:
        """End the held queries without an answer, and hold no more."""
        self._goes_on.set()

    def hold(self, checkout_request_id: str) -> bool:
        """Hold a query if it is about one of those prompts; return whether it was held."""
        with self._lock:
            self.asked.append(checkout_request_id)
            if checkout_request_id not in self.silent_about or self._goes_on.is_set():
                return False
            self.held.add(checkout_request_id)
        return self._goes_on.wait(60)


class _Handler(BaseHTTPRequestHandler):
    server: DarajaProxy

    def do_GET(self) -> None:
        self._pass_on(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == QUERY_PATH and self.server.hold(json.loads(body)["CheckoutRequestID"]):
            return
        self._pass_on(body)

    def _pass_on(self, body: bytes) -> None:
        self.server.traces.append((self.path, self.headers["traceparent"]))
        headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        answer = requests.request(
            self.command, self.server.target + self.path, headers=headers, data=body, timeout=20
        )
        status, content = answer.status_code, answer.content
        if self.path == PUSH_PATH and self.server.refusal is not None:
            status, content = self.server.refusal
        self.send_response(status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def daraja_proxy() -> Iterator[DarajaProxy]:
    """Run such a proxy; set its `target` once the simulator runs."""
    with DarajaProxy() as server:
        serving = Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield server
        finally:
            server.let_go()
            server.shutdown()
            serving.join()
