"""A shop's own server as webhooks meet it: it takes, refuses, redirects, hangs, drips, floods, or is gone."""

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request: its path, headers in lower case, and body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """The body as JSON."""
        shown: dict[str, Any] = json.loads(self.body)
        return shown


@dataclass
class WebhookReceiver:
    """Where it listens, what it received in order, and how it answers next; `released` ends what hangs."""

    port: int
    scheme: str = "http"
    received: list[Received] = field(default_factory=list)
    answer: "Answer" = field(default=lambda handler: reply(handler, 204))
    released: Event = field(default_factory=Event)

    @property
    def url(self) -> str:
        """The address that takes webhooks."""
        return f"{self.scheme}://localhost:{self.port}/hook?shop=1"

    def sessions(self) -> list[tuple[str, str]]:
        """The sessions and types of what was received, in order."""
        return [(each.message["data"]["session_id"], each.message["type"]) for each in self.received]

    def hang(self, _: "WebhookHandler") -> None:
        """Answer nothing."""
        self.released.wait()

    def drip(self, handler: "WebhookHandler") -> None:
        """Send the head of an answer byte by byte, and never its end."""
        with suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.released.wait(0.02):
                handler.wfile.write(b"a")


class WebhookHandler(BaseHTTPRequestHandler):
    """One request; `got` is what was received."""

    receiver: WebhookReceiver
    got: Received

    def do_POST(self) -> None:
        """Keep what is received, and answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.got = Received(self.path, headers, body)
        self.receiver.received.append(self.got)
        self.receiver.answer(self)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


Answer = Callable[[WebhookHandler], None]


def reply(handler: WebhookHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """Answer with a status; `headers` have _ in place of -."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    with suppress(OSError):
        handler.wfile.write(body)


def answering(status: int, **headers: str) -> Answer:
    """Return what answers with a status."""
    return lambda handler: reply(handler, status, b"", **headers)


@contextmanager
def webhook_receiver(tls: ssl.SSLContext | None = None) -> Iterator[WebhookReceiver]:
    """Run the server meanwhile, by TLS if a context is given."""

    class Handler(WebhookHandler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver = WebhookReceiver(server.server_port, "http" if tls is None else "https")
    Handler.receiver = receiver
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
