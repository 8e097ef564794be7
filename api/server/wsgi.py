"""A request as a WSGI environment (PEP 3333), and the application's answer as bytes of HTTP/1.1."""

import sys
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import lru_cache
from io import BytesIO
from time import time
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from api.http.framework.waiting import WHILE_WAITING
from api.http.streaming.long_poll import REQUEST_SLOT, RequestSlot
from api.server.http1 import Request

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]
Head = tuple[str, Headers]

_WITHOUT_BODY = ("1", "204", "304")


def environ_of(
    request: Request, address: str, port: int, slot: RequestSlot, while_waiting: object
) -> Environ:
    """Return what the application is to know of a request that a client of `address` has sent to `port`."""
    path, _, query = _origin_form(request.target).partition(b"?")
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "REMOTE_ADDR": address,
        "CONTENT_LENGTH": str(request.length),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        REQUEST_SLOT: slot,
        WHILE_WAITING: while_waiting,
    }
    for name, value in request.headers:
        if "_" in name:
            continue  # It would pass for a header with hyphens, which a proxy may have checked.
        key = _key_of(name)
        if key == "CONTENT_LENGTH":
            continue
        before = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}" if key in environ else ""
        environ[key] = before + value
    return environ


def _origin_form(target: bytes) -> bytes:
    """Return path and query of a target, which may be a whole URL (RFC 9112, 3.2.2); what is none stays as it is."""
    if target.startswith(b"/"):
        return target
    try:
        parts = urlsplit(target)
    except ValueError:
        return target
    return (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")


@lru_cache(maxsize=256)
def _key_of(name: str) -> str:
    """Return the key of a header in the environment."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def call(application: Wsgi, environ: Environ) -> tuple[Head, bytes]:
    """Return the head and the whole body of an application's answer."""
    heads: list[Head] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> Any:
        heads.append((status, headers))

    parts = application(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    return heads[-1], body


def response(head: Head, body: bytes, request: Request | None, *, closes: bool) -> bytes:
    """Return an answer to a request, None if it could not be read."""
    status, headers = head
    is_bare = status.startswith(_WITHOUT_BODY)
    lines = _lines(status)
    lines += [f"{name}: {value}" for name, value in headers]
    if not is_bare and not any(name.lower() == "content-length" for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    if closes:
        lines.append("Connection: close")
    elif request is not None and request.version == "1.0":
        lines.append("Connection: keep-alive")
    has_body = not is_bare and (request is None or request.method != "HEAD")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + (body if has_body else b"")


def stream_head(head: Head) -> bytes:
    """Return the head of an answer that ends with its connection."""
    lines = [*_lines(head[0]), "Connection: close"]
    lines += [f"{name}: {value}" for name, value in head[1] if name.lower() != "content-length"]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


def _lines(status: str) -> list[str]:
    global _date  # noqa: PLW0603 - it is formatted once a second
    now = int(time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return [f"HTTP/1.1 {status}", f"Date: {_date[1]}"]


_date = (0, "")
