"""The security headers of every response. What other origins may read is said in cross_origin.py."""

from flask import Flask, Response
from flask.globals import request_ctx

from api.http.framework import API_PREFIX

PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"

_OF_ALL = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"))
_OF_PAGES = (*_OF_ALL, ("Content-Security-Policy", PAGE_POLICY))
_OF_DATA = (*_OF_ALL, ("Content-Security-Policy", DATA_POLICY))
_NOT_STORED = ("Cache-Control", "no-store")

OF_API = (*_OF_DATA, _NOT_STORED)
"""The headers of what a view under API_PREFIX returns that sets none of them."""


def install_security_headers(app: Flask) -> None:
    """Add the security headers that a view has not set itself."""
    app.after_request(_protect)


def _protect(response: Response) -> Response:
    wanted: tuple[tuple[str, str], ...] = _OF_PAGES if response.mimetype == "text/html" else _OF_DATA
    if request_ctx.request.path.startswith(API_PREFIX):
        wanted = (*wanted, _NOT_STORED)
    given = {name.lower() for name in response.headers.keys()}  # noqa: SIM118 - headers iterate over pairs
    response.headers.extend([(name, value) for name, value in wanted if name.lower() not in given])
    return response
