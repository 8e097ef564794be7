"""Auditors are shown the signed blocks of the log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.instance import Instance, running_instance

PATH = "/api/audit/blocks/"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        yield running


def test_any_reader_can_check_a_block(instance: Instance) -> None:
    Checkout(instance.services.ledger)
    until_readable(instance.services.database)
    instance.services.worker.block_signer.run()

    listed = instance.client(9, "auditor").get(PATH).json()

    (block,) = listed["results"]
    assert (listed["count"], block["origin"], block["number"], block["events"]) == (1, 1, 1, 1)
    assert block["name"] == f"1-1-{block['hash']}"
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(block["public_key"]))
    key.verify(bytes.fromhex(block["signature"]), bytes.fromhex(block["hash"]))


def test_other_roles_read_no_blocks(instance: Instance) -> None:
    assert instance.anonymous().get(PATH).status_code == 401
    for role in ("customer", "analyst", "operator"):
        assert instance.client(9, role).get(PATH).status_code == 403
