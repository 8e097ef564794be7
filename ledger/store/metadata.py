"""The metadata of events: what caused them, and who. Entry points and processes say it, the append reads it.

It is no part of a decision, so no command takes it. It holds no personal data: users are numbers, messages are ids.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum

MAX_CHARACTERS = 100
"""Of one value; what is longer is cut."""

_current: ContextVar[Mapping[str, str]] = ContextVar("metadata of events", default={})  # noqa: B039 - never changed


class Cause(StrEnum):
    """What events come from."""

    REQUEST = "request"
    OPERATOR = "operator"
    CALLBACK = "callback"
    STATUS_QUERY = "status_query"
    EVENT = "event"
    SWEEP = "sweep"
    STATEMENT = "statement"
    PULL = "pull"


def current() -> Mapping[str, str]:
    """Return the metadata of what is written now; empty where nobody said anything."""
    return _current.get()


def begin(cause: Cause, **details: str | None) -> None:
    """Say what this thread writes from now on comes from, in place of all that was said before; see `caused_by`."""
    _current.set(_merged({}, cause, details))


def add(cause: Cause | None = None, **details: str | None) -> None:
    """Say more about what this thread writes from now on."""
    _current.set(_merged(_current.get(), cause, details))


@contextmanager
def caused_by(cause: Cause | None = None, **details: str | None) -> Iterator[None]:
    """Say what the events written inside this block come from; what it leaves out stays as it was said outside.

    `details` are text: `actor` (as "user:42", "cli:user:42", "policy:auto", "mpesa", "system"), `process` (the name of
    a process of the worker), `source` (the id of the inbound message, of the import, or the version of the event),
    `source_commitment` (to the message as it is stored; it is of one source, and ends with it), `request_id`,
    `traceparent` (W3C).
    """
    token = _current.set(_merged(_current.get(), cause, details))
    try:
        yield
    finally:
        _current.reset(token)


def _merged(
    known: Mapping[str, str], cause: Cause | None, details: Mapping[str, str | None]
) -> dict[str, str]:
    given = {name: text[:MAX_CHARACTERS] for name, text in details.items() if text is not None}
    if "source" in given:
        known = {name: text for name, text in known.items() if name != "source_commitment"}
    return {**known, **given} | ({"cause": str(cause)} if cause else {})
