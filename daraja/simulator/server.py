"""A small threaded HTTP/1.1 server for a WSGI application, with keep-alive and answers that can be lost.

Werkzeug's own server closes the connection after each answer, and gunicorn cannot run inside a test's process.
"""

import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

CUT = "daraja.simulator.cut"
"""The environ key by which the application asks to end the connection without an answer: `close` or `reset`."""

_MAX_BODY_BYTES = 1_048_576
_MAX_CONNECTIONS = 512
_IDLE_SECONDS = 60
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class SimulatorServer(socketserver.ThreadingTCPServer):
    """Serves one application, a thread for each connection, up to a limit."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], application: "WSGIApplication") -> None:
        self.application = application
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    @property
    def base_url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:8001`."""
        host, port = self.socket.getsockname()[:2]
        return f"http://{host}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection, once another has ended if there are too many."""
        self._slots.acquire()
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        with self._lock:
            self._connections.discard(request)
        self._slots.release()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that went away; anything else is our own fault and is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def hang_up_on_all(self) -> None:
        """Close every open connection, so that no thread waits for a client's next request."""
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client closed it first


class _Handler(BaseHTTPRequestHandler):
    """One connection: requests in turn, until one side closes it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    server: SimulatorServer

    def __getattr__(self, name: str) -> Any:
        """Serve every method the same way; http.server looks for `do_GET` and its like."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        body = self._read_body()
        if body is None:
            return
        environ = self._environ(body)
        head: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            head.append((status, headers))
            return None

        result = self.server.application(environ, start_response)
        self._answer(environ, head, result)

    def log_message(self, *_: Any) -> None:
        """Log nothing: request lines hold phone numbers and callback tokens."""

    def _answer(
        self,
        environ: "WSGIEnvironment",
        head: list[tuple[str, list[tuple[str, str]]]],
        result: Iterable[bytes],
    ) -> None:
        try:
            body = b"".join(result)
            if cut := environ.get(CUT):
                self._cut(cut)
            else:
                self._write(*head[-1], body)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _write(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        lines = [f"HTTP/1.1 {status}", f"Date: {self.date_time_string()}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if not any(name.lower() == "content-length" for name, _ in headers):
            lines.append(f"Content-Length: {len(body)}")
        if self.close_connection:
            lines.append("Connection: close")
        payload = b"" if self.command == "HEAD" else body
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + payload)

    def _cut(self, cut: str) -> None:
        self.close_connection = True
        if cut == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            socket.close(self.connection.detach())

    def _read_body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            self._write("413 Content Too Large", [("Content-Type", "text/plain")], b"")
            return None
        return self.rfile.read(int(length))

    def _environ(self, body: bytes) -> "WSGIEnvironment":
        path, _, query = self.path.partition("?")
        host, port = self.server.server_address[:2]
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": str(host),
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            environ.setdefault("HTTP_" + name.upper().replace("-", "_"), value)
        return environ
