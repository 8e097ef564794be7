"""The callback endpoints: every body is stored and acknowledged, whoever sends it."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import structlog
from werkzeug.test import Client, TestResponse

from api.http.app import create_app
from api.local.local_settings import local_settings
from api.wiring import build_services
from tests.scenarios.steps import (
    TOMATOES,
    callback,
    messages,
    observe,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
)
from tests.support.instance import Instance, running_instance

PATHS = (
    "/api/payments/callbacks/",
    "/api/payments/callbacks/dG9rZW4/",
    "/api/payments/transactions/mpesa_callback/",
    "/api/payments/transactions/mpesa_callback/dG9rZW4/",
)
ACKNOWLEDGED = b'{"ResultCode":0,"ResultDesc":"Accepted"}'
SAFARICOM, STRANGER, PROXY = "196.201.212.69", "203.0.113.9", "10.0.0.2"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        yield running


@pytest.fixture
def endpoint(instance: Instance) -> Client:
    """Sends requests straight to the application, with headers that a well-behaved client cannot send."""
    return instance.app.test_client()


def open_prompt(instance: Instance) -> str:
    """Let user 1 have a prompt on the phone; return the session."""
    put_on_shelf(instance, TOMATOES, stock="40")
    buyer = instance.client()
    put_in_cart(buyer, TOMATOES, "2")
    return instance.pay(buyer)


def assert_acknowledged(answer: TestResponse) -> None:
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "application/json", ACKNOWLEDGED)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("slash", ["/", ""])
def test_every_address_acknowledges_in_darajas_form(endpoint: Client, path: str, slash: str) -> None:
    assert_acknowledged(endpoint.post(path.rstrip("/") + slash, json={"Body": {}}))


def test_only_post_reports_a_result(instance: Instance, endpoint: Client) -> None:
    for path, method in product(PATHS, ("GET", "PUT", "DELETE", "PATCH")):
        answer = endpoint.open(path, method=method)
        assert answer.status_code == 405, path
        assert answer.headers["Allow"] == "OPTIONS, POST"
    assert messages(instance) == []


@pytest.mark.parametrize(
    "sent",
    [
        {"data": b""},
        {"data": b"{", "content_type": "application/json"},
        {"data": b"Amount=1&PhoneNumber=2", "content_type": "application/x-www-form-urlencoded"},
        {"data": b"\xff\xfe\x00", "content_type": "text/xml; charset=utf-16"},
        {"data": b'{"Body": 1}', "content_type": "multipart/form-data; boundary=x"},
        {"data": b"[" * 60_000, "content_type": "application/json"},
        {"data": b'{"a": 1}', "headers": {"Content-Encoding": "gzip"}},
        {"data": b"{}", "headers": {"X-HTTP-Method-Override": "DELETE", "Authorization": "Bearer nonsense"}},
    ],
    ids=["empty", "cut", "form", "xml", "multipart", "deep", "gzip", "override"],
)
def test_any_body_is_stored_and_acknowledged(
    instance: Instance, endpoint: Client, sent: dict[str, Any]
) -> None:
    assert_acknowledged(endpoint.post(PATHS[0], **sent))
    instance.work()
    [(state, _)] = messages(instance)
    assert state == "set_aside"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_five_megabytes_is_cut_acknowledged_and_dead_lettered(
    instance: Instance, chunked: bool
) -> None:
    megabyte = b"x" * (1 << 20)
    body: Any = (megabyte for _ in range(5)) if chunked else megabyte * 5
    answer = instance.anonymous().post(PATHS[0], data=body)
    assert (answer.status_code, answer.content) == (200, ACKNOWLEDGED)
    instance.work()
    assert messages(instance) == [("set_aside", "too_large")]
    assert observe(instance, "SELECT body_bytes FROM daraja_inbox") == [(5 << 20,)]


def test_a_result_under_a_token_that_was_cut_is_no_proof(instance: Instance, endpoint: Client) -> None:
    session_id = open_prompt(instance)
    prompt = prompt_of(instance)
    assert_acknowledged(endpoint.post(own_path(prompt)[:-2] + "/", json=callback(prompt)))
    assert instance.client().status(session_id)["session_status"] == "payment_initiated"


def test_a_body_that_cannot_be_stored_is_not_acknowledged(tmp_path: Path, free_port: int) -> None:
    lost = {"DATABASE_URL": f"postgresql://127.0.0.1:{free_port}/lost", "DAFTARI_DATA_DIR": str(tmp_path)}
    settings = local_settings(lost)
    answer = create_app(settings, partial(build_services, settings)).test_client().post(PATHS[0], json={})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json is not None
    assert answer.json["error_code"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("policy", "proxies", "sender", "forwarded_for", "status"),
    [
        ("off", 0, STRANGER, "", "order_created"),
        ("warn", 0, STRANGER, "", "order_created"),
        ("enforce", 0, SAFARICOM, "", "order_created"),
        ("enforce", 0, f"::ffff:{SAFARICOM}", "", "order_created"),
        ("enforce", 0, STRANGER, "", "payment_initiated"),
        ("enforce", 0, STRANGER, SAFARICOM, "payment_initiated"),
        ("enforce", 1, PROXY, SAFARICOM, "order_created"),
        ("enforce", 1, PROXY, f"{SAFARICOM}, {STRANGER}", "payment_initiated"),
        ("enforce", 2, PROXY, f"{SAFARICOM}, {PROXY}", "order_created"),
    ],
)
def test_a_result_from_an_unknown_address_is_accepted_unless_addresses_are_enforced(
    instance: Instance, policy: str, proxies: int, sender: str, forwarded_for: str, status: str
) -> None:
    session_id = open_prompt(instance)
    prompt = prompt_of(instance)
    settings = replace(instance.settings, daftari_safaricom_addresses=policy, daftari_trusted_proxies=proxies)
    endpoint = create_app(settings, lambda: instance.services).test_client()
    answer = endpoint.post(
        own_path(prompt),
        json=callback(prompt),
        headers={"X-Forwarded-For": forwarded_for},
        environ_overrides={"REMOTE_ADDR": sender},
    )
    assert_acknowledged(answer)
    assert len(messages(instance)) == 1
    assert instance.client().status(session_id)["session_status"] == status


def test_a_result_from_elsewhere_is_logged_without_what_it_says(instance: Instance) -> None:
    settings = replace(instance.settings, daftari_safaricom_addresses="warn")
    endpoint = create_app(settings, lambda: instance.services).test_client()
    before, stream = structlog.get_config(), StringIO()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger("WARNING"),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    try:
        endpoint.post(PATHS[1], json={"phone": "254712345678"}, environ_overrides={"REMOTE_ADDR": STRANGER})
    finally:
        structlog.configure(**before)
    assert STRANGER in stream.getvalue()
    assert "254712345678" not in stream.getvalue()
