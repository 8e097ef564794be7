"""The examples of /openapi.json are true: each request is accepted, and each answer has the shape of its example."""

import shutil
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from api.http.framework.document_parts import examples
from api.issued_tokens import Role
from tests.api.http.framework.test_conformance import document
from tests.support.database import new_database, reachable_folder
from tests.support.example_calls import BUYER, TAGS, Call, Caller, purchase, sale, shop_instance
from tests.support.instance import Instance

Calls = dict[str, Call]


@pytest.fixture(scope="module")
def instance(server_url: str, template_database: str) -> Iterator[Instance]:
    folder = reachable_folder()
    with new_database(server_url, template_database) as url, shop_instance(url, folder) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def calls(instance: Instance) -> Calls:
    return {call[0]: call for call in (*purchase(instance), *sale(instance))}


def shape(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the type of each part of an answer; of a list, those of its entries."""
    kind = (
        "number" if isinstance(value, Decimal | int) and not isinstance(value, bool) else type(value).__name__
    )
    yield path, kind
    if isinstance(value, dict):
        for name, part in value.items():
            yield from shape(part, f"{path}.{name}")
    elif isinstance(value, list):
        for part in value:
            yield from shape(part, f"{path}[]")


@pytest.mark.parametrize("operation_id", sorted(examples()))
def test_the_answer_to_an_example_has_the_shape_of_its_example(operation_id: str, calls: Calls) -> None:
    _, status, content = calls[operation_id]
    example = examples()[operation_id]
    assert status == example["status"]
    assert set(shape(content)) == set(shape(example["answer"])), "See whether `make examples` is wanted."


def test_every_operation_of_checkout_clients_and_servers_has_an_example() -> None:
    operations = [
        operation
        for item in document()["paths"].values()
        for method, operation in item.items()
        if method != "parameters" and TAGS & set(operation["tags"])
    ]
    wanted = {
        operation["operationId"]
        for operation in operations
        if operation.get("x-roles", [Role.CUSTOMER]) != [Role.OPERATOR]
    }
    assert wanted
    assert wanted <= set(examples())


def test_the_document_shows_the_examples_where_they_belong(instance: Instance) -> None:
    operation = Caller(instance.client(BUYER)).document["paths"]["/api/payments/sessions/"]["post"]
    wanted = examples()["createSession"]
    for carrier, part in ((operation["requestBody"], "request"), (operation["responses"]["201"], "answer")):
        assert carrier["content"]["application/json"]["example"] == wanted[part]
