"""Encrypts anew what the release before encrypted in version 1, in every table but the log, in small batches.

Each batch is one commit, so it may be interrupted and run again. When nothing of version 1 is left, it says so in the
database, and from then on version 1 is refused outside of events.
"""

from collections.abc import Iterator
from typing import Any, LiteralString, NamedTuple

from psycopg import Connection

from ledger import clock
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.vault import ERASED_VALUE, EVERYTHING, SYSTEM_USER_ID, Vault
from payments.idempotency.idempotency_store import KEPT_ANSWER
from payments.inbox.inbox import INBOX_BODY, phone_digests
from payments.mpesa.access_tokens import PURPOSE as ACCESS_TOKEN
from payments.mpesa.credentials import SETTING
from payments.reconciliation.movements import TYPED_REFERENCE
from shop.builtin.ordering import ORDER_DELIVERY

AT_ONCE = 200

_DONE = "INSERT INTO reencrypted_tables (name, done_at) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING"
_INDEX_PHONES = "UPDATE daraja_inbox SET phone_digests = %s WHERE inbox_id = %s"


class SealedColumn(NamedTuple):
    """An encrypted column: `read` finds (owner, row, sealed) of version 1, `write` takes (value, owner, row)."""

    table: str
    purpose: str
    read: LiteralString
    write: LiteralString


COLUMNS = (
    SealedColumn(
        "sealed_settings",
        SETTING,
        "SELECT 0::bigint AS owner, name AS row, sealed_value AS sealed FROM sealed_settings"
        " WHERE sealed_value LIKE 'v1.%%' LIMIT %(limit)s FOR UPDATE SKIP LOCKED",
        "UPDATE sealed_settings SET sealed_value = %(value)s WHERE name = %(row)s",
    ),
    SealedColumn(
        "access_tokens",
        ACCESS_TOKEN,
        "SELECT 0::bigint AS owner, consumer AS row, sealed_value AS sealed FROM access_tokens"
        " WHERE sealed_value LIKE 'v1.%%' LIMIT %(limit)s FOR UPDATE SKIP LOCKED",
        "UPDATE access_tokens SET sealed_value = %(value)s WHERE consumer = %(row)s",
    ),
    SealedColumn(
        "idempotency_keys",
        KEPT_ANSWER,
        "SELECT user_id AS owner, key AS row, sealed_body AS sealed FROM idempotency_keys"
        " WHERE sealed_body LIKE 'v1.%%' LIMIT %(limit)s FOR UPDATE SKIP LOCKED",
        "UPDATE idempotency_keys SET sealed_body = %(value)s WHERE user_id = %(owner)s AND key = %(row)s",
    ),
    SealedColumn(
        "mpesa_movements",
        TYPED_REFERENCE,
        "SELECT 0::bigint AS owner, movement_key AS row, sealed_reference AS sealed FROM mpesa_movements"
        " WHERE sealed_reference LIKE 'v1.%%' LIMIT %(limit)s FOR UPDATE SKIP LOCKED",
        "UPDATE mpesa_movements SET sealed_reference = %(value)s WHERE movement_key = %(row)s",
    ),
    SealedColumn(
        "daraja_inbox",
        INBOX_BODY,
        "SELECT key_owner AS owner, inbox_id AS row, sealed_body AS sealed FROM daraja_inbox"
        " WHERE sealed_body LIKE 'v1.%%' LIMIT %(limit)s FOR UPDATE SKIP LOCKED",
        "UPDATE daraja_inbox SET sealed_body = %(value)s WHERE inbox_id = %(row)s",
    ),
    SealedColumn(
        "shop_orders",
        ORDER_DELIVERY,
        "SELECT user_id AS owner, session_id AS row, sealed_delivery_details AS sealed FROM shop_orders"
        " WHERE sealed_delivery_details LIKE 'v1.%%' LIMIT %(limit)s FOR UPDATE SKIP LOCKED",
        "UPDATE shop_orders SET sealed_delivery_details = %(value)s WHERE session_id = %(row)s",
    ),
)


def reencrypt(database: Database, vault: Vault) -> Iterator[tuple[str, int]]:
    """Encrypt everything of version 1 anew, as the owner of the tables; yield (table, rows) after each batch.

    Raises WrongKey for a value that opens with no key: it was altered, and a person has to look at it.
    """
    for column in COLUMNS:
        while True:
            with database.transaction() as connection:
                count = _batch(connection, vault, column)
            if not count:
                break
            yield column.table, count
    with database.transaction() as connection:
        connection.execute(_DONE, (EVERYTHING, clock.now()))


def _batch(connection: Connection[Any], vault: Vault, column: SealedColumn) -> int:
    rows = connection.execute(column.read, {"limit": AT_ONCE}).fetchall()
    for row in rows:
        owner, name = row["owner"], row["row"]
        try:
            text = vault.decrypt(owner, row["sealed"], purpose=column.purpose, row=name)
            value = vault.encrypt(owner, text, purpose=column.purpose, row=name)
        except Erased:
            text, value = "", ERASED_VALUE
        connection.execute(column.write, {"value": value, "owner": owner, "row": name})
        if column.purpose == INBOX_BODY and owner == SYSTEM_USER_ID:
            connection.execute(_INDEX_PHONES, (phone_digests(vault, text), name))
    return len(rows)
