"""The sessions that server keys made: which key may use each, by what reference the key finds it, where buyers return.

A row counts by its MAC alone, which the database cannot make: a login of it cannot give a session to another key.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog

from ledger.errors import Conflict
from ledger.session.session import PaymentSession
from ledger.store.checkout_macs import checkout_mac, is_genuine
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.listing import Key
from ledger.store.parts import Part
from ledger.store.vault import CHECKOUT_REFERENCE, REFERENCE, Vault

_REFERENCE_USED = "DF012"
RETURN_URLS = "return urls"
"""The purpose of the encrypted addresses."""

_ADD = "add_checkout(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
_IS_USED = "EXISTS (SELECT FROM checkouts WHERE reference_digest = %s AND key_name = %s)"
_WITHOUT_BUYER = """(
    SELECT count(*)
    FROM (SELECT FROM checkouts WHERE key_name = %s AND NOT has_buyer AND expires_at > %s LIMIT %s) AS open
)"""
_ROWS = """
SELECT session_id, made.key_name, made.mac, made.created_at, session.user_id, session.reference_sealed
FROM checkouts AS made JOIN payment_sessions AS session USING (session_id) WHERE made.key_name = %(key_name)s
"""
_OF_SESSION = f"{_ROWS} AND made.session_id = %(session_id)s"
_OF_REFERENCE = f"{_ROWS} AND made.reference_digest = %(reference_digest)s"
_PAGE = f"""
{_ROWS} AND (%(at)s::timestamptz IS NULL OR (made.created_at, made.session_id) < (%(at)s, %(id)s))
ORDER BY made.created_at DESC, made.session_id DESC LIMIT %(limit)s
"""
_URLS = "SELECT sealed_urls FROM checkouts WHERE session_id = %s"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReturnUrls:
    """Where a payment page sends the buyer back to: once it was paid, and where they give up."""

    success_url: str | None = None
    cancel_url: str | None = None


NOWHERE = ReturnUrls()


@dataclass(frozen=True, slots=True)
class CheckoutRow:
    """A session that a server key made; `reference` is the caller's, None without one, or once it is erased."""

    session_id: UUID
    user_id: int
    created_at: datetime
    reference: str | None

    @property
    def key(self) -> Key:
        """Its place in the list."""
        return self.created_at, self.session_id


class CheckoutRows:
    """Adds and reads the rows. Safe to share between threads."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def used_part(self, key_name: str, reference: str) -> Part:
        """Return the part of a statement whose value is whether a key has used a reference."""
        return Part(_IS_USED, (self._digest(reference), key_name))

    def without_buyer_part(self, key_name: str, now: datetime, most: int) -> Part:
        """Return the part that counts, up to `most`, a key's sessions without a buyer that would not be expired yet."""
        return Part(_WITHOUT_BUYER, (key_name, now, most))

    def add_part(
        self,
        session: PaymentSession,
        key_name: str,
        *,
        reference: str | None,
        sealed_urls: str | None,
        has_buyer: bool,
    ) -> Part:
        """Return the part that adds the row of a new session; it raises Conflict REFERENCE_USED."""
        values = (
            session.id,
            session.user_id,
            key_name,
            None if reference is None else self._digest(reference),
            sealed_urls,
            has_buyer,
            session.created_on,
            session.expires_at,
            checkout_mac(self._vault.keys, session.id, key_name),
        )
        return Part(_ADD, values, refusals={_REFERENCE_USED: lambda _: reference_used()})

    def owner_of(self, session_id: UUID, key_name: str) -> int | None:
        """Return the user of a session that a key of this name made, None of any other session."""
        rows = self._read(_OF_SESSION, {"key_name": key_name, "session_id": session_id})
        return next((row["user_id"] for row in rows), None)

    def of_reference(self, key_name: str, reference: str) -> list[CheckoutRow]:
        """Return the session to which the key gave this reference, if there is one."""
        digest = self._digest(reference)
        return self._shown(self._read(_OF_REFERENCE, {"key_name": key_name, "reference_digest": digest}))

    def page(self, key_name: str, after: Key | None, limit: int) -> list[CheckoutRow]:
        """Return at most `limit` sessions of a key, the newest first, from behind the one with the key `after`."""
        at, last = after or (None, None)
        values = {"key_name": key_name, "at": at, "id": last, "limit": limit}
        return self._shown(self._read(_PAGE, values))

    def urls_of(self, session: PaymentSession) -> ReturnUrls:
        """Return where the buyer of a session returns to. Raises Erased, and WrongKey."""
        with self._database.connection() as connection:
            row = connection.execute(_URLS, (session.id,)).fetchone()
        if row is None or row["sealed_urls"] is None:
            return NOWHERE
        text = self._vault.decrypt(session.user_id, row["sealed_urls"], purpose=RETURN_URLS, row=session.id)
        return msgspec.json.decode(text, type=ReturnUrls)

    def _digest(self, reference: str) -> str:
        return self._vault.digest(CHECKOUT_REFERENCE, reference)

    def _read(self, statement: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows that carry our MAC."""
        with self._database.connection() as connection:
            rows = connection.execute(statement.encode(), values).fetchall()
        return list(self._genuine(rows))

    def _genuine(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            if is_genuine(self._vault.keys, row["session_id"], row["key_name"], row["mac"]):
                yield row
            else:
                _log.error("checkout_forged", session_id=str(row["session_id"]))

    def _shown(self, rows: list[dict[str, Any]]) -> list[CheckoutRow]:
        self._vault.read_ahead({row["user_id"] for row in rows})
        return [
            CheckoutRow(row["session_id"], row["user_id"], row["created_at"], self._reference(row))
            for row in rows
        ]

    def _reference(self, row: Mapping[str, Any]) -> str | None:
        sealed, session_id = row["reference_sealed"], row["session_id"]
        try:
            return sealed and self._vault.decrypt(row["user_id"], sealed, purpose=REFERENCE, row=session_id)
        except Erased:
            return None


def reference_used() -> Conflict:
    """Return the refusal of a reference under which the key has a session."""
    return Conflict(
        "This key has made a checkout with this reference before. `GET /api/payments/checkouts/?reference=` shows it.",
        code="REFERENCE_USED",
    )
