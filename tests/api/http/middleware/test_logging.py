import json
import logging
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
import structlog
from flask.testing import FlaskClient
from freezegun import freeze_time

from api.http.middleware.logging import HIDDEN, HOT, bind, configure_logging, keep_loggers, redact

Bearer = Callable[..., dict[str, str]]
SESSION = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    structlog.reset_defaults()
    bind()
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def lines() -> Callable[[], list[dict[str, Any]]]:
    """Switches JSON logs on; called, it returns what was logged since."""
    stream = StringIO()
    configure_logging("json", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


Lines = Callable[[], list[dict[str, Any]]]


def test_a_request_is_one_line_with_its_template_and_session(
    lines: Lines, client: FlaskClient, bearer: Bearer
) -> None:
    answer = client.get(f"/api/probes/things/{SESSION}/?secret=1", headers=bearer())
    (line,) = lines()
    assert (
        line.items()
        >= {
            "event": "request",
            "method": "GET",
            "route": "/api/probes/things/<uuid:session_id>/",
            "status": 200,
            "session_id": SESSION,
            "user": 7,
            "request_id": answer.headers["X-Request-ID"],
            "level": "info",
        }.items()
    )
    assert line["duration_ms"] >= 0
    assert line["timestamp"].endswith("Z")


def test_a_refusal_is_logged_with_its_code(lines: Lines, client: FlaskClient, bearer: Bearer) -> None:
    client.get("/api/probes/refusals/rejected/", headers=bearer())
    (line,) = lines()
    assert (line["status"], line["error_code"]) == (400, "PROBE_REJECTED")


def test_a_fault_is_logged_by_type_and_place_and_not_by_its_message(
    lines: Lines, client: FlaskClient, bearer: Bearer
) -> None:
    client.get("/api/probes/refusals/fault/", headers=bearer())
    fault, request = lines()
    assert fault["level"] == "error"
    assert fault["error_type"] == "RuntimeError"
    assert any("probes.py" in place for place in fault["error_at"])
    assert fault["request_id"] == request["request_id"]
    assert "254712345678" not in json.dumps(fault)


def test_a_safe_request_id_is_kept_and_any_other_replaced(lines: Lines, client: FlaskClient) -> None:
    kept = client.get("/healthz", headers={"X-Request-ID": "trace-0123.abc"})
    assert kept.headers["X-Request-ID"] == "trace-0123.abc"
    for odd in ("short", "x" * 65, "with blank inside", "<script>alert"):
        made = client.get("/healthz", headers={"X-Request-ID": odd}).headers["X-Request-ID"]
        assert made != odd
        assert len(made) == 32
    assert len(lines()) == 5


def test_one_request_does_not_inherit_the_session_of_another(
    lines: Lines, client: FlaskClient, bearer: Bearer
) -> None:
    client.get(f"/api/probes/things/{SESSION}/", headers=bearer())
    client.get("/healthz")
    assert "session_id" not in lines()[1]


@pytest.mark.parametrize(
    "text",
    [
        "paid by 254712345678 today",
        "paid by +254112345678",
        "paid by 0712345678",
        "push ws_CO_15012024103045123712345678 was lost",
        "Authorization: Bearer abcdef0123456789",
        "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl",
        "postgresql://daftari:hunter22@db/daftari",
        f"GET /pay/pl_{'Hunter22' * 7}/ failed",
        "signed by whsec_hunter22+hunter22/hunter22=",
    ],
)
def test_what_looks_personal_or_secret_is_hidden_by_its_form(text: str) -> None:
    shown = redact(None, "info", {"event": text, "deep": {"list": [text]}})
    assert HIDDEN in shown["event"]
    assert shown["deep"]["list"] == [shown["event"]]
    for secret in ("12345678", "ws_CO", "abcdef", "eyJ", "hunter22", "Hunter22"):
        assert secret not in json.dumps(shown)


@pytest.mark.parametrize(
    "name",
    ["phone_number", "full_name", "detailed_address", "passkey", "MPESA_CONSUMER_KEY", "checkout_request_id"],
)
def test_what_is_personal_or_secret_by_name_is_hidden(name: str) -> None:
    assert redact(None, "info", {"event": "x", name: "y", "deep": {name: 7}}) == {
        "event": "x",
        name: HIDDEN,
        "deep": {name: HIDDEN},
    }


def test_a_phone_number_that_is_an_integer_is_hidden_and_an_amount_is_not() -> None:
    shown = redact(
        None, "info", {"event": "x", "a": 254712345678, "amount_cents": 35000, "at": 1.5, "n": None}
    )
    assert shown == {"event": "x", "a": HIDDEN, "amount_cents": 35000, "at": 1.5, "n": None}


def test_logs_of_libraries_take_the_same_form_and_redaction(lines: Lines) -> None:
    logging.getLogger("some.library").warning("lost %s", "postgresql://daftari:hunter22@db/x")
    (line,) = lines()
    assert line["logger"] == "some.library"
    assert line["level"] == "warning"
    assert "hunter22" not in line["event"]


def test_an_error_of_a_library_is_shown_by_type_and_place(lines: Lines) -> None:
    try:
        raise ValueError("Key (phone)=(254712345678) exists")  # noqa: TRY301 - it is what a driver does
    except ValueError:
        logging.getLogger("library").exception("it failed")
    (line,) = lines()
    assert line["error_type"] == "ValueError"
    assert "254712345678" not in json.dumps(line)


def test_the_console_form_is_for_people() -> None:
    stream = StringIO()
    configure_logging("console", stream)
    structlog.get_logger().info("hello", phone="0712345678")
    shown = stream.getvalue()
    assert "hello" in shown
    assert "0712345678" not in shown


def test_the_console_form_leaves_out_requests_that_only_read() -> None:
    stream = StringIO()
    configure_logging("console", stream)
    for method, status in (("GET", 200), ("GET", 500), ("POST", 201)):
        structlog.get_logger().info("request", method=method, status=status)
    assert [line.split("status=")[1] for line in stream.getvalue().splitlines()] == ["500", "201"]


@freeze_time("2026-11-28T09:00:00.5Z")
@pytest.mark.parametrize(
    "values",
    [
        {"method": "GET", "route": "/healthz", "status": 200, "duration_ms": 0.1},
        {"status": 404, "user": 7, "error_code": "SESSION_NOT_FOUND", "request_id": "given"},
        {
            "user": 254712345678,
            "key_name": "of 0712345678",
            "phone": 7,
            "deep": {"token": "x", "list": [None]},
        },
        {"exc_info": ValueError("254712345678")},
    ],
)
def test_a_line_that_is_written_at_once_reads_as_any_other(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]
) -> None:
    bind(request_id="chosen-by-a-client", session_id=SESSION)
    written = []
    for hot in (HOT, {}):
        monkeypatch.setattr("api.http.middleware.logging.HOT", hot)
        configure_logging("json", stream := StringIO())
        structlog.get_logger().bind(of="this logger").info("request", **values)
        written.append(stream.getvalue())
    assert written[0] == written[1] != ""


def test_a_request_id_or_a_session_that_looks_like_a_phone_number_is_hidden(
    lines: Lines, client: FlaskClient, bearer: Bearer
) -> None:
    session = "00000000-0000-4000-8000-254712345678"
    client.get(f"/api/probes/things/{session}/", headers=bearer() | {"X-Request-ID": "254712345678"})
    (line,) = lines()
    assert (line["request_id"], line["session_id"]) == (HIDDEN, session[:24] + HIDDEN)


def test_a_logger_that_is_kept_writes_with_what_is_bound_later(lines: Lines) -> None:
    keep_loggers()
    log = structlog.get_logger("kept")
    for request_id in ("first", "second"):
        bind(request_id=request_id)
        log.info("appended", version=1)
    assert [line["request_id"] for line in lines()] == ["first", "second"]
    assert log.bind() is log.bind()
