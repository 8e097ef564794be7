"""Two operators erase a customer; nobody else can."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout
from tests.support.instance import Instance, running_instance

PATH = "/api/customers/7/erasure/"
REASON = {"reason": "The customer asked by letter."}


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        running.services.vault.encrypt(7, "so that there is a key", purpose="test", row=1)
        yield running


def test_one_operator_proposes_and_another_approves(instance: Instance) -> None:
    Checkout(instance.services.ledger, user_id=7).prompt().pay("NLJ7RT61SV").order(789)
    one, other = instance.client(41, "operator"), instance.client(42, "operator")

    assert one.get(PATH).json()["counts"]["sessions"] == 1
    assert one.post(f"{PATH}approve/").json()["error_code"] == "ERASURE_NOT_PROPOSED"
    assert one.post(PATH, json=REASON).json()["proposed_by"] == "user:41"
    assert one.post(f"{PATH}approve/").json()["error_code"] == "ERASURE_NEEDS_ANOTHER"
    assert other.post(f"{PATH}approve/").json()["is_erased"] is True
    assert other.post(f"{PATH}approve/").status_code == 410


def test_other_roles_erase_nobody(instance: Instance) -> None:
    assert instance.anonymous().get(PATH).status_code == 401
    for role in ("customer", "analyst", "auditor"):
        assert instance.client(9, role).get(PATH).status_code == 403
        assert instance.client(9, role).post(PATH, json=REASON).status_code == 403
