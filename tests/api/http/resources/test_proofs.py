"""Auditors are given proofs; others are not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.store.test_proofs import check_head, check_inclusion
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.instance import Instance, running_instance

INCLUSION, CONSISTENCY = "/api/audit/proofs/inclusion/", "/api/audit/proofs/consistency/"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        yield running


def test_an_auditor_gets_proofs_that_anyone_can_check(instance: Instance) -> None:
    auditor = instance.client(9, "auditor")
    checkout = Checkout(instance.services.ledger)
    event = {"session_id": str(checkout.session_id), "version": "1"}
    refused = auditor.get(INCLUSION, params=event)
    assert (refused.status_code, refused.json()["error_code"]) == (404, "HEAD_NOT_FOUND")
    for _ in range(2):
        until_readable(instance.services.database)
        instance.services.worker.block_signer.run()
        Checkout(instance.services.ledger)

    proof = auditor.get(INCLUSION, params=event).json()
    check_inclusion(proof)
    assert auditor.get(INCLUSION, params={"position": proof["position"]}).json() == proof
    older = auditor.get(INCLUSION, params=event | {"head": "1"}).json()
    check_inclusion(older)

    grown = auditor.get(CONSISTENCY, params={"first": 1}).json()
    assert (grown["first"], grown["second"]) == (older["head"], proof["head"])
    check_head(grown["second"])
    listed = auditor.get("/api/audit/blocks/").json()["results"]
    assert [block["root_hash"] for block in listed] == [
        proof["head"]["root_hash"],
        older["head"]["root_hash"],
    ]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"position": "0"},
        {"position": "-1"},
        {"position": "1.0"},
        {"position": str(2**63)},
        {"position": "1", "version": "1"},
        {"version": "1"},
        {"session_id": "x", "version": "1"},
        {"position": "1", "head": "last"},
        {"position": "1", "colour": "red"},
    ],
)
def test_a_query_that_names_no_one_event_is_refused(instance: Instance, query: dict[str, str]) -> None:
    answer = instance.client(9, "auditor").get(INCLUSION, params=query)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_INPUT")
    answer = instance.client(9, "auditor").get(CONSISTENCY, params={"second": "1"} if query else {})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["first"])


def test_other_roles_get_no_proofs(instance: Instance) -> None:
    for path in (f"{INCLUSION}?position=1", f"{CONSISTENCY}?first=1"):
        assert instance.anonymous().get(path).status_code == 401
        for role in ("customer", "analyst", "operator"):
            assert instance.client(9, role).get(path).status_code == 403
