"""What a caller wrote of a session is under the buyer's key, and bound to that session."""

from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from ledger.session.cart import SnapshotLine, Totals
from ledger.session.session import PaymentSession
from ledger.store.caller_texts import (
    LineTexts,
    encrypt_line,
    encrypt_metadata,
    line_texts_of,
    metadata_of,
    reference_of,
)
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.vault import REFERENCE, Vault
from tests.support.checkouts import HALF_PAST_TEN, new_session

FLOUR = LineTexts("Maize flour, 2 kg", "SKU-1", "pc")
LINE = SnapshotLine(None, None, "", "", 1_000, 100_00, 100_00, "")


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, bytes(range(32)))


def session_with_texts(vault: Vault, **changed: Any) -> PaymentSession:
    session_id = uuid4()
    encrypt = partial(vault.encrypt, 7, row=session_id)
    fields: dict[str, Any] = {
        "user_id": 7,
        "lines": (replace(LINE, name_sealed=encrypt_line(encrypt, FLOUR)), LINE),
        "totals": Totals(200_00, 0, 0, 200_00),
        "phone_sealed": None,
        "delivery_sealed": None,
        "reference_sealed": encrypt("ADM-2041", purpose=REFERENCE),
        "metadata_sealed": encrypt_metadata(encrypt, {"term": "1"}),
        "shop": "none",
        "expires_at": HALF_PAST_TEN,
        "at": HALF_PAST_TEN,
    }
    return PaymentSession.create(session_id, **fields | changed)


def test_texts_are_read_as_they_were_written(vault: Vault) -> None:
    session = session_with_texts(vault)
    assert line_texts_of(vault, session) == [FLOUR, None]
    assert reference_of(vault, session) == "ADM-2041"
    assert metadata_of(vault, session) == {"term": "1"}


def test_a_session_of_a_cart_has_none(vault: Vault) -> None:
    session = new_session()
    assert line_texts_of(vault, session) == [None]
    assert reference_of(vault, session) is None
    assert metadata_of(vault, session) == {}
    assert encrypt_metadata(partial(vault.encrypt, 7, row=session.id), {}) is None


def test_nothing_is_in_the_clear_and_nothing_opens_in_another_session(vault: Vault) -> None:
    session, other = session_with_texts(vault), session_with_texts(vault)
    assert "flour" not in str(session.lines)
    moved = session_with_texts(vault, lines=session.lines, reference_sealed=other.reference_sealed)
    for read in (line_texts_of, reference_of):
        with pytest.raises(WrongKey):
            read(vault, moved)


def test_nothing_opens_once_the_buyer_is_erased(vault: Vault) -> None:
    session = session_with_texts(vault)
    vault.erase(7)
    for read in (line_texts_of, reference_of, metadata_of):
        with pytest.raises(Erased):
            read(vault, session)
