"""Raw bodies of callbacks, which are stored as they come, from M-Pesa or from someone who poses as it."""

import sys

from flask.globals import request_ctx

from api.http.framework.json import whole_body
from payments.inbox.inbox import MAX_BYTES_KEPT

MAX_BYTES_READ = 16 << 20
"""Longer bodies are not read to their end; if they were cut off earlier, the sender would miss our response."""


def read_bounded() -> tuple[bytes, int]:
    """Return the head of the request's body, and its length in bytes as far as it was read."""
    asked = request_ctx.request
    whole = whole_body(asked)
    if whole is not None and len(whole) <= MAX_BYTES_KEPT:
        return whole, len(whole)
    # Other endpoints answer 413 beyond their limit, which M-Pesa would not understand; None would mean that limit.
    asked.max_content_length = sys.maxsize
    kept = asked.stream.read(MAX_BYTES_KEPT)
    length = len(kept)
    while length < MAX_BYTES_READ and (more := asked.stream.read(MAX_BYTES_KEPT)):
        length += len(more)
    return kept, max(length, asked.content_length or 0)
