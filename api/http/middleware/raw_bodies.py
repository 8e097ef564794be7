"""Bodies that are kept as they come, whatever they are: those of M-Pesa, and of whoever pretends to be it."""

import sys

from flask import request

from payments.inbox.inbox import MAX_BYTES_KEPT

MAX_BYTES_READ = 16 << 20
"""Beyond this a body is not even read to its end: cut off earlier, its sender would miss our answer."""


def read_bounded() -> tuple[bytes, int]:
    """Return the head of the request's body and how long it was, as far as it was read."""
    # The bound of other doors answers 413, which M-Pesa would not understand; None would mean that bound again.
    request.max_content_length = sys.maxsize
    kept = request.stream.read(MAX_BYTES_KEPT)
    length = len(kept)
    while length < MAX_BYTES_READ and (more := request.stream.read(MAX_BYTES_KEPT)):
        length += len(more)
    return kept, max(length, request.content_length or 0)
