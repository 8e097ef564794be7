"""Structured logs: JSON in production, text for people in development, without personal data in either.

Callers leave personal data out of what they log; the redaction here is the second line of defence.
"""

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

import msgspec
import structlog

Event = MutableMapping[str, Any]

HIDDEN = "[hidden]"
HOT = {
    "request": frozenset({"event", "method", "route", "status", "duration_ms"}),
    "appended": frozenset({"event", "events", "version", "position"}),
}
"""The lines of every request and of every append, with those of their values that cannot be personal or secret."""

MAX_FRAMES = 40
MAX_CHARACTERS = 4_000
MIN_SECRET_NUMBER = 10**11
"""A phone number written as an integer begins with 254 and has twelve digits."""

_SECRET_NAME = re.compile(
    r"phone|msisdn|full_?name|address|authorization|token|secret|passkey|password|credential|consumer_key"
    r"|master_key|checkout_?request_?id|cookie|body|idempotency_key",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"(?<![0-9A-Za-z])(?:\+?254|0)[17][0-9]{8}(?![0-9A-Za-z])"
    r"|ws_CO_[0-9A-Za-z]+"
    r"|(?i:bearer|basic)\s+[0-9A-Za-z._~+/=-]{8,}"
    r"|eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]*"
    r"|dk_(?:live|test)_[0-9A-Za-z]{4,}"
    r"|whsec_[0-9A-Za-z+/=]{8,}"
    r"|(?<![0-9A-Za-z])pl_[0-9A-Za-z_-]{40,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)


_bound: ContextVar[Mapping[str, Any]] = ContextVar("what each line of this thread says", default={})  # noqa: B039 - never changed


def configure_logging(
    log_format: str, stream: TextIO | None = None, *, lowest_level: int = logging.INFO
) -> None:
    """Send all logs of this process, ours and the libraries', to `stream` (stderr) as "json" or "console".

    Ours begin at `lowest_level`, the libraries' at warnings.
    """
    stream = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        _add_bound,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        show_where,
        redact,
    ]
    render = _renderer(log_format, stream)
    wrapper = structlog.make_filtering_bound_logger(lowest_level)
    if log_format == "json" and lowest_level <= logging.INFO:
        wrapper = _writing_hot_lines(wrapper)
    structlog.configure(
        processors=[*shared, _without_reads, render] if log_format == "console" else [*shared, render],
        wrapper_class=wrapper,
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, render],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def keep_loggers() -> None:
    """Make each logger of this process once and not for every line: the configuration is final."""
    structlog.configure(**structlog.get_config() | {"cache_logger_on_first_use": True})


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Hide what looks personal or secret by its name or its form, at any depth."""
    for name, value in event.items():
        event[name] = _redacted(name, value)
    return event


def _redacted(name: str, value: Any) -> Any:
    return HIDDEN if _is_secret(name) else _without_secrets(value)


def bind(**values: str) -> None:
    """Say these values, none of them personal or secret, in each line of this thread from now on, in place of all that
    was bound before.
    """
    _bound.set(values)


def _add_bound(_logger: object, _method: str, event: Event) -> Event:
    return {**_bound.get(), **event}


def _writing_hot_lines(wrapper: type[Any]) -> type[Any]:
    """Return a class of loggers that write a line of HOT at once, as the processors would.

    Most lines are such, and a request waits for them.
    """

    class HotLogger(wrapper):  # type: ignore[misc]  # structlog makes the class
        def info(self, event: str, *args: Any, **values: Any) -> Any:
            harmless = HOT.get(event)
            if harmless is None or args or "exc_info" in values:
                return super().info(event, *args, **values)
            line = {**_bound.get(), **self._context}
            for name, value in values.items():
                line[name] = value if name in harmless else _redacted(name, value)
            line["event"], line["level"] = event, "info"
            line["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            return self._logger.info(_serialize(line))  # Both are open to such classes, says structlog.

    return HotLogger


def _without_reads(_logger: object, _method: str, event: Event) -> Event:
    """Drop requests that only read, and succeed: in a terminal, polls and static files would hide everything else."""
    if event["event"] == "request" and event["method"] in ("GET", "HEAD") and event["status"] < 400:
        raise structlog.DropEvent
    return event


@lru_cache(maxsize=1_000)
def shown(text: str) -> str:
    """Return a text without what looks personal or secret in it; many requests in a row are about the same session."""
    return _SECRET_VALUE.sub(HIDDEN, text[:MAX_CHARACTERS])


@lru_cache(maxsize=1_000)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def show_where(_logger: object, _method: str, event: Event) -> Event:
    """Replace an exception by its type and traceback, because its message may quote what people typed."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given
    error = error[1] if isinstance(error, tuple) else error
    if isinstance(error, BaseException):
        event["error_type"] = type(error).__qualname__
        event["error_at"] = _frames(error.__traceback__)
        if cause := error.__cause__ or error.__context__:
            event["error_cause"] = type(cause).__qualname__
            event["error_cause_at"] = _frames(cause.__traceback__)
    return event


def _frames(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-MAX_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_VALUE.sub(HIDDEN, value[:MAX_CHARACTERS])
    if isinstance(value, dict):
        return {name: _redacted(str(name), part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets(part) for part in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        if -MIN_SECRET_NUMBER < value < MIN_SECRET_NUMBER:
            return value
        return value if _SECRET_VALUE.sub(HIDDEN, str(value)) == str(value) else HIDDEN
    return _SECRET_VALUE.sub(HIDDEN, str(value)[:MAX_CHARACTERS])


def _renderer(log_format: str, stream: TextIO) -> Any:
    if log_format == "console":
        return structlog.dev.ConsoleRenderer(colors=stream.isatty())
    return structlog.processors.JSONRenderer(serializer=_serialize)


def _serialize(event: Event, **_: Any) -> str:
    return msgspec.json.encode(event).decode()
