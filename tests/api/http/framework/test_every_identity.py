"""Whoever asks, with a right to it or not, causes no fault: the requests of `test_conformance` by every identity."""

from typing import Any

import pytest
import schemathesis
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.api.http.framework.test_conformance import (
    EXAMPLES,
    Known,
    assert_answered_as_documented,
    be_impatient,
    document,
    instance,
    known,
    name_something_known,
    requests_of,
)
from tests.support.instance import Instance

__all__ = ["instance", "known"]

schema = requests_of(document(), with_bounds=True)

ANSWERS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
"""What holds for whoever asks, with or without a right to it."""

IDENTITIES: dict[str, tuple[int, list[str]] | None] = {
    "anonymous": None,
    "other buyer": (2, ["customer"]),
    "operator": (9, ["operator"]),
    "auditor": (10, ["auditor"]),
    "analyst": (11, ["analyst"]),
    "server": None,
    "all roles": (12, ["customer", "operator", "auditor", "analyst"]),
}


@pytest.mark.system
@pytest.mark.parametrize("identity", IDENTITIES)
@schema.parametrize()
@hypothesis_settings(max_examples=EXAMPLES, derandomize=True, deadline=None)
def test_whoever_asks_causes_no_fault(
    case: schemathesis.Case[Any], instance: Instance, known: Known, identity: str
) -> None:
    name_something_known(case, known)
    be_impatient(case)
    caller = IDENTITIES[identity]
    token = known.server_key if identity == "server" else caller and instance.token(caller[0], *caller[1])
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    case.call_and_validate(base_url=instance.base_url, headers=headers, checks=ANSWERS)


@pytest.mark.system
@schema.parametrize()
@hypothesis_settings(max_examples=EXAMPLES, derandomize=True, deadline=None)
def test_every_answer_at_a_bound_is_as_documented(
    case: schemathesis.Case[Any], instance: Instance, known: Known
) -> None:
    assert_answered_as_documented(case, instance, known)
