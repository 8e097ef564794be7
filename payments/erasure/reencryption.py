"""Encrypts anew what the release before encrypted in version 1, in every table but the log, in small batches.

The worker does it by itself, and `daftari reencrypt` at once. Each batch is one commit, so it may be interrupted, and
several processes may do it side by side. When nothing of version 1 is left, and no process of the release before can
run any more, the database says so, and from then on version 1 is refused outside of events.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, NamedTuple

import structlog

from ledger import clock
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.message_bodies import INBOX_BODY
from ledger.store.vault import ERASED_VALUE, SYSTEM_USER_ID, Vault
from payments.idempotency.keyed_request import KEPT_ANSWER
from payments.inbox.phone_digests import phone_digests
from payments.mpesa.access_tokens import PURPOSE as ACCESS_TOKEN
from payments.mpesa.credentials import SETTING
from payments.reconciliation.typed_references import TYPED_REFERENCE
from shop.builtin.ordering import ORDER_DELIVERY

AT_ONCE = 200
LOOK_AGAIN_AFTER = timedelta(hours=1)
"""A process of the release before may store values of version 1 for as long as it runs."""

_NO_UUID = "00000000-0000-0000-0000-000000000000"
_REPLACE = "SELECT replace_value_of_version_1(%s, %s, %s, %s, %s, %s::text[])"
_END = "SELECT end_reencryption(%s) AS is_done"

_log = structlog.get_logger(__name__)


class SealedColumn(NamedTuple):
    """An encrypted column: `read` finds (owner, row, sealed) of version 1 after a row, which is `first` at first."""

    table: str
    purpose: str
    read: LiteralString
    first: str = ""


COLUMNS = (
    SealedColumn(
        "sealed_settings",
        SETTING,
        "SELECT 0::bigint AS owner, name AS row, sealed_value AS sealed FROM sealed_settings"
        " WHERE name > %(row)s AND sealed_value LIKE 'v1.%%' ORDER BY name LIMIT %(limit)s",
    ),
    SealedColumn(
        "access_tokens",
        ACCESS_TOKEN,
        "SELECT 0::bigint AS owner, consumer AS row, sealed_value AS sealed FROM access_tokens"
        " WHERE consumer > %(row)s AND sealed_value LIKE 'v1.%%' ORDER BY consumer LIMIT %(limit)s",
    ),
    SealedColumn(
        "idempotency_keys",
        KEPT_ANSWER,
        "SELECT user_id AS owner, key AS row, sealed_body AS sealed FROM idempotency_keys"
        " WHERE (user_id, key) > (%(owner)s, %(row)s) AND sealed_body LIKE 'v1.%%' ORDER BY user_id, key"
        " LIMIT %(limit)s",
    ),
    SealedColumn(
        "mpesa_movements",
        TYPED_REFERENCE,
        "SELECT 0::bigint AS owner, movement_key AS row, sealed_reference AS sealed FROM mpesa_movements"
        " WHERE movement_key > %(row)s AND sealed_reference LIKE 'v1.%%' ORDER BY movement_key LIMIT %(limit)s",
    ),
    SealedColumn(
        "daraja_inbox",
        INBOX_BODY,
        "SELECT key_owner AS owner, inbox_id::text AS row, sealed_body AS sealed FROM daraja_inbox"
        " WHERE inbox_id > %(row)s::uuid AND sealed_body LIKE 'v1.%%' ORDER BY inbox_id LIMIT %(limit)s",
        _NO_UUID,
    ),
    SealedColumn(
        "shop_orders",
        ORDER_DELIVERY,
        "SELECT user_id AS owner, session_id::text AS row, sealed_delivery_details AS sealed FROM shop_orders"
        " WHERE session_id > %(row)s::uuid AND sealed_delivery_details LIKE 'v1.%%' ORDER BY session_id"
        " LIMIT %(limit)s",
        _NO_UUID,
    ),
)


class Reencryption:
    """Goes through the tables once in LOOK_AGAIN_AFTER, until everything is done; then it asks nothing any more."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._is_done = False
        self._look_at = datetime.min.replace(tzinfo=UTC)
        self.unreadable = 0
        self._left: list[SealedColumn] = []
        self._after: dict[str, Any] = {}

    def run(self) -> int:
        """Encrypt a batch anew; return how many rows were looked at, 0 once there is nothing to do now."""
        if self._is_done or (not self._left and clock.now() < self._look_at):
            return 0
        if not self._left:
            if self.end(no_old_process=False):
                return 0
            self.begin()
        while self._left:
            if count := self.run_batch()[1]:
                return count
        self._look_at = clock.now() + LOOK_AGAIN_AFTER
        if self.unreadable:
            _log.error("values_cannot_be_decrypted", rows=self.unreadable)
        self.end(no_old_process=False)
        return 0

    def begin(self) -> None:
        """Begin with the first table."""
        self._left, self.unreadable = list(COLUMNS), 0
        self._after = {"owner": -1, "row": COLUMNS[0].first}

    def run_batch(self) -> tuple[str, int] | tuple[None, int]:
        """Encrypt a batch anew; return its table and how many rows it had, None and 0 after the last table."""
        if not self._left:
            return None, 0
        column = self._left[0]
        with self._database.transaction() as connection:
            rows = connection.execute(column.read, self._after | {"limit": AT_ONCE}).fetchall()
            values = [new for row in rows if (new := self._encrypted(column, row)) is not None]
            with connection.cursor() as cursor:
                cursor.executemany(_REPLACE, values)
        if rows:
            self._after = {"owner": rows[-1]["owner"], "row": rows[-1]["row"]}
        else:
            del self._left[0]
            self._after = {"owner": -1, "row": self._left[0].first if self._left else ""}
        return column.table, len(rows)

    def end(self, *, no_old_process: bool) -> bool:
        """Refuse version 1 from now on if nothing of it is left; return whether it is refused.

        A day has to pass since the migration, unless the caller knows that no process of the release before runs.
        """
        with self._database.connection() as connection:
            row = connection.execute(_END, (no_old_process,)).fetchone()
        assert row is not None
        self._is_done = row["is_done"]
        return self._is_done

    def _encrypted(self, column: SealedColumn, row: dict[str, Any]) -> tuple[Any, ...] | None:
        owner, name = row["owner"], row["row"]
        try:
            text = self._vault.decrypt(owner, row["sealed"], purpose=column.purpose, row=name)
            value = self._vault.encrypt(owner, text, purpose=column.purpose, row=name)
        except Erased:
            text, value = "", ERASED_VALUE
        except WrongKey:  # It was altered, and a person has to look at it; the others go on.
            self.unreadable += 1
            return None
        is_ours = column.purpose == INBOX_BODY and owner == SYSTEM_USER_ID
        digests = phone_digests(self._vault, text) if is_ours else None
        return column.table, owner, name, row["sealed"], value, digests
