"""The security headers of every response. No endpoint answers other origins (no CORS)."""

from flask import Flask, Response, request

from api.http.framework import API_PREFIX

PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


def install_security_headers(app: Flask) -> None:
    """Add the security headers that a view has not set itself."""
    app.after_request(_protect)


def _protect(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    is_page = response.mimetype == "text/html"
    headers.setdefault("Content-Security-Policy", PAGE_POLICY if is_page else DATA_POLICY)
    if request.path.startswith(API_PREFIX):
        headers.setdefault("Cache-Control", "no-store")
    return response
