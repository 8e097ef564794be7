"""The trace of a request goes into its events and on to M-Pesa; spans are exported where OpenTelemetry is told to."""

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from structlog.testing import capture_logs

from api import tracing
from daraja.client import PUSH_PATH
from tests.scenarios.steps import PHONE, TOMATOES, approve, observe, put_in_cart, put_on_shelf
from tests.support.daraja_proxy import DarajaProxy
from tests.support.http_receiver import HttpReceiver, http_receiver
from tests.support.instance import Client, Instance, running_instance
from tests.support.waiting import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GIVEN = f"00-{TRACE}-00f067aa0ba902b7-01"
TRACE_OF_EVENTS = (
    "SELECT DISTINCT metadata ->> 'traceparent' FROM payment_events WHERE session_id = %s AND topic = %s"
)
INITIATED = "payment_session.payment_initiated.v1"


@pytest.fixture
def instance(database_url: str, data_folder: Path, mpesa: DarajaProxy) -> Iterator[Instance]:
    with running_instance(database_url, data_folder, MPESA_BASE_URL=mpesa.url) as running:
        mpesa.target = running.simulator.base_url
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


@pytest.fixture
def buyer(instance: Instance) -> Client:
    client = instance.client(1)
    put_in_cart(client, TOMATOES, "2")
    client.headers["traceparent"] = GIVEN
    return client


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpReceiver]:
    """What spans are exported to from now on; ask for it before `instance`."""
    with http_receiver() as receiver:
        monkeypatch.setattr(tracing, "_tracer", None)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        tracing.configure_tracing({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.url})
        yield receiver


def exported(collector: HttpReceiver) -> dict[str, Span]:
    """Return the spans that were exported until now, by name."""
    spans: dict[str, Span] = {}
    for body in list(collector.taken):
        plain = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        for resource in ExportTraceServiceRequest.FromString(plain).resource_spans:
            for scope in resource.scope_spans:
                spans |= {span.name: span for span in scope.spans}
    return spans


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_without_opentelemetry_the_clients_trace_reaches_m_pesa(
    instance: Instance, buyer: Client, mpesa: DarajaProxy
) -> None:
    session_id = instance.pay(buyer, phone_number=PHONE)
    assert (PUSH_PATH, GIVEN) in mpesa.traces
    assert observe(instance, TRACE_OF_EVENTS, session_id, INITIATED) == [(GIVEN,)]


def test_a_request_without_a_trace_sends_none(instance: Instance, buyer: Client, mpesa: DarajaProxy) -> None:
    buyer.headers["traceparent"] = "00-zz-1-1"
    instance.pay(buyer, phone_number=PHONE)
    assert {trace for _, trace in mpesa.traces} == {None}


@pytest.mark.usefixtures("collector")
def test_spans_of_the_command_and_of_the_push_are_of_the_clients_trace(
    collector: HttpReceiver, instance: Instance, buyer: Client, mpesa: DarajaProxy
) -> None:
    session_id = instance.pay(buyer, phone_number=PHONE)
    approve(instance)
    command = "POST /api/payments/sessions/<uuid:session_id>/initiate_payment/"
    push = f"POST {PUSH_PATH}"
    wait_until(lambda: {command, push} <= exported(collector).keys(), "both spans are exported")
    spans = exported(collector)

    assert spans[command].trace_id.hex() == spans[push].trace_id.hex() == TRACE
    assert spans[command].parent_span_id.hex() == "00f067aa0ba902b7"
    assert spans[push].parent_span_id == spans[command].span_id
    assert (spans[command].kind, spans[push].kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert attributes(spans[command])["http.response.status_code"] == 200
    assert (PUSH_PATH, f"00-{TRACE}-{spans[push].span_id.hex()}-01") in mpesa.traces
    [(of_events,)] = observe(instance, TRACE_OF_EVENTS, session_id, INITIATED)
    assert of_events == f"00-{TRACE}-{spans[command].span_id.hex()}-01"


def test_no_span_names_a_person_or_a_token(
    collector: HttpReceiver, instance: Instance, buyer: Client
) -> None:
    instance.pay(buyer, phone_number=PHONE)
    approve(instance)
    wait_until(
        lambda: any("callback" in name for name in exported(collector)), "the callback's span is exported"
    )
    assert not any(name.startswith("GET /api") for name in exported(collector))
    for span in exported(collector).values():
        told = repr((span.name, attributes(span)))
        assert not any(private in told for private in (PHONE, PHONE[-9:], "simulator-secret", "Bearer"))


def test_without_the_packages_payments_go_on_and_the_log_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "_tracer", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with capture_logs() as logs:
        tracing.configure_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    assert [log["event"] for log in logs] == ["spans_not_exported"]
    assert tracing.begin_request("POST", "/x/", GIVEN) == GIVEN
