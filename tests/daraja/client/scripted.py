"""An HTTP server that answers as a test tells it to: well, badly, in drips, or not at all."""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Deed = Callable[["Line"], None]

OAUTH = "/oauth/v1/generate"
PUSH = "/mpesa/stkpush/v1/processrequest"
QUERY = "/mpesa/stkpushquery/v1/query"


@dataclass(frozen=True)
class Request:
    """One request as it arrived; `port` tells connections apart."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Line(BaseHTTPRequestHandler):
    """One connection; a deed writes to it what the test wants to be seen."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def do_GET(self) -> None:
        """Take a GET to the script."""
        self._serve()

    def do_POST(self) -> None:
        """Take a POST to the script."""
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        request = Request(self.command, self.path, dict(self.headers.items()), body, self.client_address[1])
        self.server.script.next_deed(path, request)(self)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: the script keeps the requests."""

    @property
    def released(self) -> threading.Event:
        """Set when the test is over, so that nothing stalls longer."""
        return self.server.script.released


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    script: "Script"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about connections that a test has broken on purpose."""


@dataclass
class Script:
    """What the server does at each path: a list of deeds in order, the last one for ever; and what it was asked."""

    deeds: dict[str, list[Deed]] = field(default_factory=dict)
    requests: list[tuple[str, Request]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    base_url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, path: str, *deeds: Deed) -> None:
        """Do these at this path from now on."""
        with self._lock:
            self.deeds[path] = list(deeds)

    def next_deed(self, path: str, request: Request) -> Deed:
        """Note the request and return what to do about it."""
        with self._lock:
            self.requests.append((path, request))
            deeds = self.deeds.get(path, [reply(404, b"")])
            return deeds.pop(0) if len(deeds) > 1 else deeds[0]

    def seen(self, path: str) -> list[Request]:
        """Return the requests that came to a path, in order."""
        with self._lock:
            return [request for asked, request in self.requests if asked == path]


def serve(tls: ssl.SSLContext | None = None) -> tuple[Script, Callable[[], None]]:
    """Start a server on a free port, over TLS if told how; return its script and the function that stops it."""
    server = _Server(("127.0.0.1", 0), Line)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "http" if tls is None else "https"
    server.script = Script(base_url=f"{scheme}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()

    def stop() -> None:
        server.script.released.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    return server.script, stop


def reply(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> Deed:
    """Answer with a whole body; a header's underscores become hyphens."""

    def deed(line: Line) -> None:
        line.send_response(status)
        line.send_header("Content-Type", content_type)
        line.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            line.send_header(name.replace("_", "-"), value)
        line.end_headers()
        line.wfile.write(body)

    return deed


def json_reply(status: int, members: object, **headers: str) -> Deed:
    """Answer with JSON."""
    return reply(status, json.dumps(members).encode(), **headers)


def error_reply(status: int, error_code: str, message: str) -> Deed:
    """Answer with Daraja's error body."""
    return json_reply(status, {"requestId": "1-2-1", "errorCode": error_code, "errorMessage": message})


def html_reply(status: int) -> Deed:
    """Answer with a web page, as the edge does."""
    return reply(status, b"<html><body>Incapsula incident ID 0-0</body></html>", "text/html")


def stall(line: Line) -> None:
    """Read the request and say nothing until the test is over."""
    line.released.wait(timeout=30)
    line.close_connection = True


def reset(line: Line) -> None:
    """Break the connection with a TCP reset once the request has been read."""
    line.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close_connection = True
    line.connection.close()
    line.rfile.close()


def hang_up(line: Line) -> None:
    """Close the connection without a word."""
    line.close_connection = True


def cut_short(line: Line) -> None:
    """Promise a hundred bytes, send a few that would be a whole answer, and hang up."""
    line.send_response(200)
    line.send_header("Content-Length", "500")
    line.end_headers()
    line.wfile.write(b'{"ResponseCode": "0", "CheckoutRequestID": "ws_CO_1"}')
    line.close_connection = True


def drip_head(line: Line) -> None:
    """Send a status line, then header bytes for ever, each well inside any time-out between two bytes."""
    line.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(line)


def drip_body(line: Line) -> None:
    """Send a head at once, then a body byte by byte for ever."""
    line.send_response(200)
    line.send_header("Content-Length", "100000")
    line.end_headers()
    _drip(line)


def _drip(line: Line) -> None:
    line.close_connection = True
    for _ in range(3000):
        if line.released.wait(timeout=0.01):
            return
        line.wfile.write(b"x")
