"""The security headers of every response. No endpoint answers other origins (no CORS)."""

from flask import Flask, Response, request

from api.http.framework import API_PREFIX

PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"

OF_READS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Content-Security-Policy", DATA_POLICY),
    ("Cache-Control", "no-store"),
)
"""The headers of what a view under API_PREFIX returns that sets none of them."""

_OF_ALL = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"))
_OF_PAGES = (*_OF_ALL, ("Content-Security-Policy", PAGE_POLICY))
_OF_DATA = (*_OF_ALL, ("Content-Security-Policy", DATA_POLICY))


def install_security_headers(app: Flask) -> None:
    """Add the security headers that a view has not set itself."""
    app.after_request(_protect)


def _protect(response: Response) -> Response:
    headers = response.headers
    given = {name.lower() for name, _ in headers}
    wanted = _OF_PAGES if response.mimetype == "text/html" else _OF_DATA
    headers.extend([(name, value) for name, value in wanted if name.lower() not in given])
    if request.path.startswith(API_PREFIX) and "cache-control" not in given:
        headers["Cache-Control"] = "no-store"
    return response
