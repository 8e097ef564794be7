"""A server that keeps what is posted to one path, and refuses everything else."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread


@dataclass
class HttpReceiver:
    """Where it listens, and the bodies that it took, in order."""

    base_url: str
    taken: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address that takes a body."""
        return f"{self.base_url}/taken"

    @property
    def refusing_url(self) -> str:
        """An address that answers with a redirect."""
        return f"{self.base_url}/elsewhere"


@contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    """Run the server meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/taken":
                receiver.taken.append(body)
            self.send_response(200 if self.path == "/taken" else 302)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    receiver = HttpReceiver(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
