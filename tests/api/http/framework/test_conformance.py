"""The API keeps to its own document, whatever is sent: schemathesis makes the requests from /openapi.json."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import checks

from api.http.app import create_app
from api.http.middleware.idempotency import IDEMPOTENCY_KEY
from api.http.schemas.session_queries import MAX_WAIT_SECONDS
from api.local.local_settings import local_settings
from api.wiring import build_services
from shop.demo import make_buyers
from tests.api.http.conftest import SECRET
from tests.scenarios.steps import PAYS_AT_ONCE, TOMATOES, put_in_cart
from tests.support.api_keys import make_key
from tests.support.database import new_database, reachable_folder
from tests.support.instance import Instance, running_instance

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
"""For each operation, and again for each identity; `make fuzz` asks for many more."""

BUYER = 1
_numbers = count(1)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.ignored_auth,
    checks.unsupported_method,
]
"""Not `positive_data_acceptance`: what is well-formed may still be refused by the history, and is documented to be."""


@dataclass(frozen=True)
class Known:
    """What is there to be found."""

    sessions: list[str]
    order_id: int
    server_key: str


def document() -> dict[str, Any]:
    """Return the document as any instance serves it; no secret and no database of an instance is in it."""
    variables = {
        "DAFTARI_DATA_DIR": "/nowhere",
        "DAFTARI_JWT_SECRET": SECRET,
        "DAFTARI_MASTER_KEY": "A" * 43 + "=",
    }
    settings = local_settings(variables)
    answer = create_app(settings, partial(build_services, settings)).test_client().get("/openapi.json")
    made: dict[str, Any] = json.loads(answer.data)
    return made


def requests_of(document: dict[str, Any], *, with_bounds: bool) -> BaseSchema:
    """Return what makes up the requests; `with_bounds` adds some forty to each operation, one for each bound.

    They take seconds of each process that collects the tests, and five times as long to send as the others.
    """
    config = {
        # Whether tokens are asked for is the business of `ignored_auth`: no broken token stands beside broken fields.
        "generation": {"with-security-parameters": False},
        "phases": {"coverage": {"enabled": with_bounds}},
    }
    return schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(config))


schema = requests_of(document(), with_bounds=False)


@pytest.fixture(scope="module")
def instance(server_url: str, template_database: str) -> Iterator[Instance]:
    """One instance for all operations, which change what they like: the document holds in every state."""
    folder = reachable_folder()
    with (
        new_database(server_url, template_database) as url,
        running_instance(
            url, folder, DAFTARI_RATE_PER_MINUTE="1000000", DAFTARI_STREAM_SECONDS="1"
        ) as running,
    ):
        assert list(make_buyers(running.services.database, 1, 1))
        yield running
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def known(instance: Instance) -> Known:
    """A session with an order, one that waits for the buyer, and one without an attempt."""
    buyer = instance.client(BUYER)
    paid = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    instance.work()
    put_in_cart(buyer, TOMATOES, "2")
    waiting = instance.pay(buyer)
    fresh = buyer.create().json()["session_id"]
    services = instance.services
    key = make_key(services.database, services.vault, "web-shop")
    return Known([paid, waiting, fresh], buyer.status(paid)["order"]["order_id"], key)


@schema.parametrize()
@hypothesis_settings(max_examples=EXAMPLES, derandomize=True, deadline=None)
def test_every_answer_is_as_documented(
    case: schemathesis.Case[Any], instance: Instance, known: Known
) -> None:
    assert_answered_as_documented(case, instance, known)


def assert_answered_as_documented(case: schemathesis.Case[Any], instance: Instance, known: Known) -> None:
    """Send a request as someone whom its operation is for."""
    name_something_known(case, known)
    be_impatient(case)
    roles = case.operation.definition.raw.get("x-roles", ["customer"])
    token = known.server_key if roles == ["server"] else instance.token(BUYER, *roles)
    case.call_and_validate(
        base_url=instance.base_url, headers={"Authorization": f"Bearer {token}"}, checks=CHECKS
    )


def name_something_known(case: schemathesis.Case[Any], known: Known) -> None:
    """Turn half of the well-formed ids into ids of something that is there, and no key into one that was used."""
    key = case.headers.get(IDEMPOTENCY_KEY)
    if isinstance(key, str) and key.isascii() and key.isprintable():
        case.headers[IDEMPOTENCY_KEY] = f"{key}{next(_numbers)}"
    for name, value in case.path_parameters.items():
        if name == "session_id" and (number := _uuid(value)) is not None and number % 2:
            case.path_parameters[name] = known.sessions[number % len(known.sessions)]
        elif name != "session_id" and isinstance(value, int) and value > 0 and value % 2:
            case.path_parameters[name] = {"listing_id": TOMATOES, "order_id": known.order_id}.get(name, 1)


def be_impatient(case: schemathesis.Case[Any]) -> None:
    """Wait for changes no longer than it takes to see that waiting works."""
    wait = case.query.get("wait")
    if isinstance(wait, int) and 1 < wait <= MAX_WAIT_SECONDS:
        case.query["wait"] = 1


def _uuid(text: object) -> int | None:
    try:
        return UUID(str(text)).int
    except ValueError:
        return None
