"""The names of headers that several modules know, and the security headers of every answer.

No address of ours answers to other origins (no CORS).
"""

from flask import Flask, Response, request

from api.http.middleware.auth import GUARDED_PREFIX

IDEMPOTENCY_KEY = "Idempotency-Key"
IDEMPOTENCY_REPLAYED = "Idempotency-Replayed"
REQUEST_ID = "X-Request-ID"

PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


def install_security_headers(app: Flask) -> None:
    """Add the headers that a view has not set itself."""
    app.after_request(_protect)


def _protect(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    is_page = response.mimetype == "text/html"
    headers.setdefault("Content-Security-Policy", PAGE_POLICY if is_page else DATA_POLICY)
    if request.path.startswith(GUARDED_PREFIX):
        headers.setdefault("Cache-Control", "no-store")
    return response
