"""A payment link is read by who made it, and any other text is none."""

from uuid import UUID, uuid4

import pytest

from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.checkout.payment_links import make_link, read_link
from tests.support.keys import MASTER_KEY

SESSION = UUID("01a220d2-d70c-7c13-a04f-e57c877dc24b")


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.mark.parametrize("user_id", [1, 2**53 - 1, 2**63 - 1])
def test_a_link_names_its_session_and_its_buyer(vault: Vault, user_id: int) -> None:
    link = make_link(vault, SESSION, user_id)
    assert read_link(vault, link) == (SESSION, user_id)
    assert link == make_link(vault, SESSION, user_id)
    assert len(link) == 59


def test_any_other_text_is_none(vault: Vault) -> None:
    link = make_link(vault, SESSION, 7)
    assert read_link(vault, make_link(vault, uuid4(), 7)[:25] + link[25:]) is None
    for place in range(len(link)):
        other = "A" if link[place] != "A" else "B"
        assert read_link(vault, link[:place] + other + link[place + 1 :]) is None
    for text in ("", "pl_", link[:-1], f"{link}A", "pl_" + "ü" * 56, "pl_" + "=" * 56, link.upper()):
        assert read_link(vault, text) is None
