"""The lean form of an endpoint and its full one, by webargs and flask-smorest, answer every request alike."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from werkzeug.test import TestResponse

from api.http.framework.blueprint import ApiBlueprint
from api.http.middleware.logging import configure_logging
from api.http.middleware.request_metrics import EXTENSION
from tests.scenarios.steps import TOMATOES, callback, own_path, prompt_of, put_in_cart, put_on_shelf
from tests.support.database import new_database
from tests.support.instance import DELIVERY, Instance, running_instance

SESSIONS = "/api/payments/sessions/"
NOBODYS = f"{SESSIONS}a38d0889-82a5-42db-b32b-2746a2a26d6f/"
GOOD = {
    "delivery_details": DELIVERY,
    "special_instructions": " Gate ",
    "estimated_delivery_date": "2026-11-20",
}
BODIES: tuple[Any, ...] = (
    GOOD,
    GOOD | {"delivery_time_slot": "noon"},
    GOOD | {"unknown": 1, "delivery_details": DELIVERY | {"odd": None, "county_id": 2**31}},
    {"delivery_details": DELIVERY | {"full_name": "", "phone_number": 7, "subcounty_id": True}},
    {"delivery_details": []},
    {"delivery_details": None, "special_instructions": "\x07", "estimated_delivery_date": "2026-02-30"},
    {"delivery_details": DELIVERY | {"county_id": 99, "subcounty_id": 99}, "delivery_time_slot": 3},
    {},
    [],
    "text",
)
_ID = re.compile(
    r"(?i:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})|ws_CO_[0-9A-Za-z]+|callbacks/[0-9A-Za-z_-]{20,}|duration_ms\":[0-9.]+|position\":\"?[0-9]+|request_id\":\"[0-9a-f]{32}"
)
RATE = 120
_STATUS = re.compile(r'"status":([0-9]+)')
RAW = (b"", b"{", b"\xff", b'{"a": 1e999}', b'{"a": NaN}', b'{"phone_number": "\\u0000"}', b"[" * 40)
QUERIES = (
    "",
    "?wait=0",
    "?wait=x",
    "?wait=31",
    "?after=1&after=2",
    "?odd=1&wait=0",
    "?=",
    "?status=paid",
    "?page=0",
)

ODD_HEADERS = (
    ("X-Request-ID", "254712345678"),
    ("X-Request-ID", "<script>"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("Host", "shop.example:8000"),
    ("Host", "not a host/"),
    ("Host", "a..b"),
    ("Host", "x" * 70),
    ("Upgrade", "websocket"),
    ("Authorization", "Bearer wrong"),
    ("Authorization", "Basic eDp5"),
    ("Authorization", ""),
    ("If-None-Match", "*"),
    ("Range", "bytes=0-3"),
)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


def requests_of(session_id: str) -> Iterator[Asked]:
    own = f"{SESSIONS}{session_id}/"
    for query in QUERIES:
        for path in (SESSIONS, own, f"{own}status/", f"{own}status", f"{own}events/", f"{NOBODYS}status/"):
            yield Asked("GET", f"{path}{query}")
        yield Asked("HEAD", f"{own}status/{query}")
    bodies = [json.dumps(body).encode() for body in BODIES] + list(RAW)
    for body in bodies:
        yield Asked("POST", f"{SESSIONS}", body)
        yield Asked("POST", f"{own}initiate_payment/?odd", body)
        yield Asked("POST", f"{own}extend_session/", body)
        yield Asked("POST", "/api/payments/callbacks/", body)
        yield Asked("PUT", "/api/cart/items/123/", body)
    for headers in ODD_HEADERS:
        yield Asked("GET", f"{own}status/", headers=(headers,))
    yield Asked("GET", f"{own.upper()}status/")
    yield Asked("GET", f"{SESSIONS}{session_id.upper()}/status/", b"a body")
    yield Asked("GET", f"{SESSIONS}%20{session_id}/status/")
    problem = (("Accept", "application/problem+json"),)
    yield Asked("GET", f"{own}status/?wait=x", headers=problem)
    yield Asked("POST", SESSIONS, b"{}", problem)
    yield Asked("POST", SESSIONS, b"{}", (("Content-Type", "text/plain"),))
    yield Asked("POST", SESSIONS, b"{}", (("Idempotency-Key", "ä"),))
    for method in ("DELETE", "OPTIONS", "PATCH"):
        yield Asked(method, f"{own}status/")
    yield Asked("GET", "/api/payments/sessions/not-an-id/status/")
    for path in (
        "/healthz",
        "/api/nothing/",
        "/api/openapi.json",
        "/api/cart/",
        "/api/orders/",
        "/api/places/",
    ):
        yield Asked("GET", path)


Ask = Callable[[Asked], TestResponse]


def pay(instance: Instance, ask: Ask, number: int, headers: tuple[tuple[str, str], ...]) -> None:
    """Send the requests of a payment, each under these headers, and those that it refuses."""
    ask(Asked("POST", f"{SESSIONS}?odd={number}", json.dumps(GOOD | {"odd": 1}).encode(), headers))
    path = ask(Asked("POST", SESSIONS, json.dumps(GOOD).encode())).get_json()["session_id"]
    phone = f"25471200000{number % 10}"
    for body in (b"{}", b"[]", json.dumps({"phone_number": phone}).encode()):
        ask(Asked("POST", f"{SESSIONS}{path}/initiate_payment/", body, headers))
    ask(Asked("POST", f"{SESSIONS}{path}/initiate_payment", json.dumps({"phone_number": phone}).encode()))
    for _ in range(3):
        ask(Asked("POST", f"{SESSIONS}{path.upper()}/extend_session/", b"", headers))
    callback_path = own_path(prompt_of(instance, phone))
    report = json.dumps(callback(prompt_of(instance, phone), 0)).encode()
    for asked_path in (
        f"{callback_path}?odd=1",
        callback_path.rstrip("/"),
        "/api/payments/callbacks/dG9rZW4/",
    ):
        ask(Asked("POST", asked_path, report, headers))
    ask(Asked("POST", f"{SESSIONS}{path}/initiate_payment/", b"{}", headers))
    ask(Asked("POST", f"{SESSIONS}{path}/extend_session/", b"{}", headers))
    ask(Asked("GET", f"{SESSIONS}{path}/status/"))


def use_keys(ask: Ask, session_id: str) -> None:
    """Send requests under keys: repeated, under a key of another request, refused, and in conflict."""
    good, other = json.dumps(GOOD).encode(), json.dumps(GOOD | {"delivery_time_slot": "morning"}).encode()
    for key, body in (("k1", good), ("k1", good), ("k1", other), ("k2", b"{}"), ("k2", b"{}"), ("", good)):
        ask(Asked("POST", SESSIONS, body, (("Idempotency-Key", key),)))
    for key in ("k3", "k3", "k4"):
        for command in ("initiate_payment", "extend_session"):
            ask(Asked("POST", f"{SESSIONS}{session_id}/{command}/", b"{}", (("Idempotency-Key", key),)))
            ask(Asked("POST", f"{NOBODYS}{command}/", b"{}", (("Idempotency-Key", f"{key}-{command}"),)))


def answers(database_url: str, folder: Path) -> list[Any]:
    """Send all requests to a new Daftari; return what client, log and metrics know of each, but for ids of new rows."""
    with running_instance(database_url, folder, DAFTARI_RATE_PER_MINUTE=str(RATE)) as instance:
        app, answered = vars(instance.app), list[bool]()
        answer_lean = app["answer_lean"]

        def counted(environ: Any) -> Any:
            app["read_ahead"]([environ, {**environ}])
            answer = answer_lean(environ)
            answered.append(answer is not None)
            return answer

        app["answer_lean"] = counted if ApiBlueprint.is_lean else None
        put_on_shelf(instance, TOMATOES, stock="40")
        buyer = instance.client(1)
        put_in_cart(buyer, TOMATOES, "2")
        session_id = buyer.create().json()["session_id"]
        log = StringIO()
        configure_logging("json", log)
        client, told = instance.app.test_client(), []
        token = {"Authorization": f"Bearer {instance.token(1)}", "X-Request-ID": "compared-1"}

        def ask(asked: Asked) -> TestResponse:
            given = {"Content-Type": "application/json", **token, **dict(asked.headers)}
            answer = client.open(asked.path, method=asked.method, data=asked.body, headers=given)
            if ("X-Request-ID", "<script>") in asked.headers:
                assert len(answer.headers.pop("X-Request-ID")) == 32
            told.append(
                (asked.method, asked.path, asked.body, answer.status, list(answer.headers), answer.data)
            )
            return answer

        for asked in requests_of(session_id):
            ask(asked)
        for number, headers in enumerate(ODD_HEADERS):
            put_in_cart(instance.client(number + 2), TOMATOES, "1")
            token["Authorization"] = f"Bearer {instance.token(number + 2)}"
            pay(instance, ask, number, (headers,))
        use_keys(ask, session_id)
        for role, user in (("operator", 40), ("customer", 41)):
            token["Authorization"] = f"Bearer {instance.token(user, role)}"
            for _ in range(RATE + 2 if role == "customer" else 2):
                ask(Asked("POST", f"{NOBODYS}extend_session/", b"{}"))
        token["Authorization"] = f"Bearer {instance.token(42)}"
        ask(Asked("POST", f"{SESSIONS}{session_id}/extend_session/", b"{}"))
        instance.client(42).post("/api/users/me/sign-out/")
        ask(Asked("POST", f"{SESSIONS}{session_id}/extend_session/", b"{}"))
        assert sum(answered) >= (350 if ApiBlueprint.is_lean else 0)
        lines = log.getvalue().splitlines()
        return [_ID.sub("an id", str(each)) for each in [*told, *lines, *sorted(_counts(instance).items())]]


def _counts(instance: Instance) -> dict[str, float]:
    registry = instance.app.extensions[EXTENSION].registry
    return {
        str(sorted(sample.labels.items())): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name.endswith("_count")
    }


@pytest.fixture(autouse=True)
def _root_log_as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def test_both_forms_answer_alike(
    server_url: str, template_database: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = []
    for is_lean in (True, False):
        monkeypatch.setattr(ApiBlueprint, "is_lean", is_lean)
        with freeze_time("2026-11-16T07:30:00Z"), new_database(server_url, template_database) as url:
            forms.append(answers(url, data_folder))
    for number, (lean, full) in enumerate(zip(*forms, strict=True)):
        assert lean == full, number
    seen = set(_STATUS.findall("".join(forms[0])))
    assert seen >= {"200", "201", "400", "401", "403", "404", "405", "409", "415", "429"}
