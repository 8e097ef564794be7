"""Raw bodies of callbacks, which are stored as they come, from M-Pesa or from someone who poses as it."""

import sys

from flask import request

from payments.inbox.inbox import MAX_BYTES_KEPT

MAX_BYTES_READ = 16 << 20
"""Longer bodies are not read to their end; if they were cut off earlier, the sender would miss our response."""


def read_bounded() -> tuple[bytes, int]:
    """Return the head of the request's body, and its length in bytes as far as it was read."""
    # Other endpoints answer 413 beyond their limit, which M-Pesa would not understand; None would mean that limit.
    request.max_content_length = sys.maxsize
    kept = request.stream.read(MAX_BYTES_KEPT)
    length = len(kept)
    while length < MAX_BYTES_READ and (more := request.stream.read(MAX_BYTES_KEPT)):
        length += len(more)
    return kept, max(length, request.content_length or 0)
