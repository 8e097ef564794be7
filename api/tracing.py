"""Distributed traces: W3C's trace context goes from requests into events and on to M-Pesa, and, where OpenTelemetry is
installed and told where to send them, spans of commands and of calls to M-Pesa are exported.

Variables are those of the OpenTelemetry specification: OTEL_EXPORTER_OTLP_ENDPOINT switches it on.
"""

import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import requests
import structlog
from requests.adapters import BaseAdapter

from ledger.store import metadata

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

HEADER = "traceparent"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""As W3C's Trace Context writes it: version, trace, span, flags."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of which no span is made: most reads are polls, which metrics count."""

_tracer: "Tracer | None" = None
_request: ContextVar["Span | None"] = ContextVar("span of the request", default=None)
_log = structlog.get_logger(__name__)


def configure_tracing(environ: Mapping[str, str]) -> None:
    """Export spans from now on if the environment says where to; call it in each process, after it was forked.

    Spans wait in a queue of bounded length and are sent by a thread of its own: an exporter that fails delays nothing.
    """
    global _tracer  # noqa: PLW0603 - one a process, as in OpenTelemetry's own interface
    if _tracer is not None or not any(environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - the extra otel
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
    except ImportError:
        what_to_do = (
            "install opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http, or unset the variable"
        )
        _log.warning("spans_not_exported", what_to_do=what_to_do)
        return
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "daftari"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("daftari")


def begin_request(method: str, route: str, given: str) -> str | None:
    """Return the trace context of what a request causes: the client's if it is valid, or that of the span of ours."""
    parent = given if _TRACE_PARENT.fullmatch(given) else None
    _request.set(None)
    if _tracer is None or method in _READS:
        return parent
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - the extra otel

    attributes = {"http.request.method": method, "http.route": route}
    span = _tracer.start_span(
        f"{method} {route}", context=_context_of(parent), kind=SpanKind.SERVER, attributes=attributes
    )
    _request.set(span)
    return _traceparent(span)


def end_request(status: int) -> None:
    """End the span of the request that this thread has answered, if it has one."""
    span = _request.get()
    if span is not None:
        _request.set(None)
        _end(span, status)


class TracedAdapter(BaseAdapter):
    """Sends requests to M-Pesa by another adapter, with the trace context of what they are for, each in its span."""

    def __init__(self, adapter: BaseAdapter) -> None:
        super().__init__()
        self._adapter = adapter

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send as the other adapter does, and raise what it raises."""
        parent = metadata.current().get(HEADER)
        if _tracer is None:
            if parent is not None:
                request.headers[HEADER] = parent
            return self._adapter.send(request, *args, **options)
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - the extra otel

        path = request.path_url.partition("?")[0]
        attributes = {"http.request.method": str(request.method), "url.path": path}
        span = _tracer.start_span(
            f"{request.method} {path}",
            context=_context_of(parent),
            kind=SpanKind.CLIENT,
            attributes=attributes,
        )
        request.headers[HEADER] = _traceparent(span)
        status = 0
        try:
            response = self._adapter.send(request, *args, **options)
            status = response.status_code
        finally:
            _end(span, status)
        return response

    def close(self) -> None:
        """Close the other adapter."""
        self._adapter.close()


def _end(span: "Span", status: int) -> None:
    """End a span with the status of its answer, 0 if none came."""
    from opentelemetry.trace import StatusCode  # noqa: PLC0415 - the extra otel

    if status:
        span.set_attribute("http.response.status_code", status)
    if status >= 500 or not status:
        span.set_status(StatusCode.ERROR)
    span.end()


def _context_of(parent: str | None) -> "Context":
    from opentelemetry.context import Context  # noqa: PLC0415 - the extra otel
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - as above

    carrier = {} if parent is None else {HEADER: parent}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _traceparent(span: "Span") -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
