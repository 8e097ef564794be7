"""An encrypted value opens for its owner, purpose and row alone, in whichever column somebody puts it."""

from typing import Any

import pytest

from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.message_bodies import INBOX_BODY
from ledger.store.vault import (
    CHECKOUT_ID,
    DELIVERY,
    PHONE,
    REFERENCE,
    SYSTEM_USER_ID,
    WEBHOOK_DEFINITION,
    Vault,
)
from payments.checkout.checkout_rows import RETURN_URLS
from payments.idempotency.keyed_request import KEPT_ANSWER
from payments.mpesa.access_tokens import PURPOSE as ACCESS_TOKEN
from payments.mpesa.credentials import SETTING
from payments.reconciliation.statement_uploads import STATEMENT_PIECE
from payments.reconciliation.typed_references import TYPED_REFERENCE
from payments.users.user_ids import USER_TEXT
from shop.builtin.ordering import ORDER_DELIVERY

MASTER_KEY = bytes(range(32))
COLUMNS = {
    "daraja_inbox.sealed_body": INBOX_BODY,
    "idempotency_keys.sealed_body": KEPT_ANSWER,
    "sealed_settings.sealed_value": SETTING,
    "access_tokens.sealed_value": ACCESS_TOKEN,
    "mpesa_movements.sealed_reference": TYPED_REFERENCE,
    "statement_pieces.sealed_piece": STATEMENT_PIECE,
    "shop_orders.sealed_delivery_details": ORDER_DELIVERY,
    "webhook_endpoints.sealed_definition": WEBHOOK_DEFINITION,
    "checkouts.sealed_urls": RETURN_URLS,
    "user_texts.sealed_text": USER_TEXT,
}
"""Every encrypted column, and its purpose."""

IN_EVENTS = (PHONE, DELIVERY, CHECKOUT_ID, REFERENCE)
SEALED_COLUMNS = """
SELECT table_name || '.' || column_name AS name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name LIKE 'sealed%'
"""


@pytest.fixture
def vault(database: Database) -> Vault:
    vault = Vault(database, MASTER_KEY)
    for user in (7, 8):
        vault.encrypt(user, "so that there is a key", purpose="test", row=1)
    return vault


def test_the_list_names_every_encrypted_column(database: Database) -> None:
    with database.connection() as connection:
        found = {row["name"] for row in connection.execute(SEALED_COLUMNS).fetchall()}
    assert found == set(COLUMNS)


@pytest.mark.parametrize("owner", [7, SYSTEM_USER_ID])
@pytest.mark.parametrize("made_for", [*COLUMNS.values(), *IN_EVENTS])
def test_a_value_moved_to_another_column_does_not_open(vault: Vault, owner: int, made_for: str) -> None:
    value = vault.encrypt(owner, "https://attacker.example", purpose=made_for, row=1)
    for moved_to in {*COLUMNS.values(), *IN_EVENTS} - {made_for}:
        with pytest.raises(WrongKey):
            vault.decrypt(owner, value, purpose=moved_to, row=1)


@pytest.mark.parametrize("purpose", [*COLUMNS.values(), *IN_EVENTS])
@pytest.mark.parametrize(
    "where", [{"owner": 7, "row": 2}, {"owner": 8, "row": 1}, {"owner": SYSTEM_USER_ID, "row": 1}]
)
def test_a_value_moved_to_another_row_or_owner_does_not_open(
    vault: Vault, purpose: str, where: dict[str, Any]
) -> None:
    value = vault.encrypt(7, "Wanjiku", purpose=purpose, row=1)
    assert vault.decrypt(7, value, purpose=purpose, row=1) == "Wanjiku"
    with pytest.raises(WrongKey):
        vault.decrypt(where["owner"], value, purpose=purpose, row=where["row"])
