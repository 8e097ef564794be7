"""The blind indexes of a customer's phones: what finds the messages and movements that name them."""

from typing import Any

from psycopg import Connection

from ledger.phone import PhoneNumber
from ledger.store.customer_keys import Erased
from ledger.store.key_ring import WrongKey
from ledger.store.vault import PHONE, Vault
from payments.inbox.inbox import digests_of_phone
from payments.operators.stakes import digests_of_payer

_SEALED_PHONES = """
SELECT session_id, state->>'phone_sealed' AS sealed
FROM payment_events JOIN payment_sessions USING (session_id)
WHERE user_id = %s AND state ? 'phone_sealed' AND state->>'phone_sealed' IS NOT NULL
"""


def phone_digests_of(connection: Connection[Any], vault: Vault, user_id: int) -> list[str]:
    """Return the blind indexes of every phone that the customer's sessions name; none once they are erased."""
    digests = set[str]()
    with connection.cursor() as rows:  # One by one: a customer may have tens of thousands of sessions.
        for row in rows.stream(_SEALED_PHONES, (user_id,)):
            digests |= _digests(vault, user_id, row)
    return sorted(digests)


def _digests(vault: Vault, user_id: int, row: dict[str, Any]) -> set[str]:
    try:
        phone = vault.decrypt(user_id, row["sealed"], purpose=PHONE, row=row["session_id"])
    except (Erased, WrongKey):
        return set()
    digits = PhoneNumber(phone).digits
    return {*digests_of_phone(vault, digits), *digests_of_payer(vault, digits)}
