"""Cross-origin requests (CORS, as WHATWG's Fetch has it): which scripts in browsers may use the API.

The settings name their origins. A script sends its token itself, so no answer allows cookies. Callbacks and pages are
for no other origin. See docs/adr/0047-browsers-of-other-origins.md.
"""

from collections.abc import Collection, Iterable
from time import perf_counter
from typing import Any

from flask import Flask

from api.http.framework import API_PREFIX, CALLBACK_PREFIXES
from api.http.framework.error_responses import RATE_WINDOW_SECONDS, bare_refusal
from api.http.middleware.access_log import REASON
from api.http.middleware.rate_limit import LIMITS, RequestLimits
from api.http.middleware.request_log import REQUEST_ID, begin, finish
from api.http.middleware.request_metrics import EXTENSION
from api.http.middleware.slashes import WsgiApp
from ledger import clock

PREFLIGHT = "(preflight)"
"""The route of preflights in logs and metrics."""

MAX_AGE_SECONDS = 7_200
"""For how long a browser remembers a preflight; Chromium does so for no longer."""

METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
"""What a preflight allows on a path that does not exist, so that a script can read that it does not."""

REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    REQUEST_ID,
    REASON,
    "traceparent",
    "tracestate",
)
"""The headers that a script may send beside those that need no leave."""

RESPONSE_HEADERS = (
    "Retry-After",
    "Location",
    "WWW-Authenticate",
    "Daftari-Warnings",
    "Idempotency-Replayed",
    REQUEST_ID,
)
"""The headers that a script may read beside those that need no leave."""

Headers = list[tuple[str, str]]

ALLOW_ORIGIN = "Access-Control-Allow-Origin"
_VARY = ("Vary", "Origin")


class AllowedOrigins:
    """The origins of the settings, as browsers write them."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def headers_for(self, path: str, origin: str | None) -> Headers:
        """Return what an answer to a request of a path has to say to a browser there, if it is one.

        Where it depends on the origin, it says so to all, lest a cache gives the answer to one origin to another.
        """
        if not self._origins or not path.startswith(API_PREFIX) or path.startswith(CALLBACK_PREFIXES):
            return []
        if origin is None or origin not in self._origins:
            return [_VARY]
        return [_VARY, (ALLOW_ORIGIN, origin), ("Access-Control-Expose-Headers", ", ".join(RESPONSE_HEADERS))]


class CrossOrigin:
    """Answers preflights, and adds the headers to all other answers of an application, whichever way they are made."""

    def __init__(self, app: Flask, inner: WsgiApp, allowed: AllowedOrigins) -> None:
        self._app = app
        self._inner = inner
        self._allowed = allowed
        self._routes = app.url_map.bind("")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        path: str = environ.get("PATH_INFO", "")
        headers = self._allowed.headers_for(path, environ.get("HTTP_ORIGIN"))
        if ALLOW_ORIGIN in dict(headers) and _is_preflight(environ):
            (status, own), body = self._answer_preflight(environ, path)
            start_response(status, [*own, *headers])
            return [body]

        def start(status: str, own: Headers, *error: Any) -> Any:
            return start_response(status, [*own, *headers], *error)

        return self._inner(environ, start if headers else start_response)

    def _answer_preflight(self, environ: dict[str, Any], path: str) -> tuple[tuple[str, Headers], bytes]:
        """Answer a preflight, which carries no token: by its address, and without asking anything but the routes."""
        started, request_id = perf_counter(), begin(environ, PREFLIGHT, None)
        limits: RequestLimits = self._app.extensions[LIMITS]
        if limits.reads.count(f"address {environ.get('REMOTE_ADDR')}", clock.now()):
            (status, headers), body = ("204 NO CONTENT", self._leave(path)), b""
        else:
            (status, headers), body = bare_refusal("RATE_LIMITED")
            headers.append(("Retry-After", str(RATE_WINDOW_SECONDS)))
        headers.append((REQUEST_ID, request_id))
        seconds = perf_counter() - started
        finish(self._app.extensions[EXTENSION], "OPTIONS", PREFLIGHT, int(status[:3]), seconds)
        return (status, headers), body

    def _leave(self, path: str) -> Headers:
        methods = set(self._routes.allowed_methods(path)) - {"OPTIONS"} or METHODS
        return [
            ("Access-Control-Allow-Methods", ", ".join(sorted(methods))),
            ("Access-Control-Allow-Headers", ", ".join(REQUEST_HEADERS)),
            ("Access-Control-Max-Age", str(MAX_AGE_SECONDS)),
        ]


def _is_preflight(environ: dict[str, Any]) -> bool:
    return environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def across_origins(app: Flask, origins: Collection[str]) -> WsgiApp:
    """Return what answers an app's requests, also those of `origins`; without any, the app's own way."""
    return CrossOrigin(app, app.wsgi_app, AllowedOrigins(origins)) if origins else app.wsgi_app
