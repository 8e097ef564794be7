"""How a request waits for others without the slot in which its server lets it compute."""

from contextlib import AbstractContextManager, nullcontext
from typing import cast

from flask import has_request_context, request

WHILE_WAITING = "daftari.while_waiting"
"""The WSGI key of a function that makes such a context, on a server that has slots (api/server/lanes.py)."""


def while_waiting() -> AbstractContextManager[None]:
    """Return a context in which this thread waits for something that needs none of our processor time."""
    release = request.environ.get(WHILE_WAITING, nullcontext) if has_request_context() else nullcontext
    return cast("AbstractContextManager[None]", release())
