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
SELECT DISTINCT session_id, state->>'phone_sealed' AS sealed
FROM payment_events JOIN payment_sessions USING (session_id)
WHERE user_id = %s AND state ? 'phone_sealed' AND state->>'phone_sealed' IS NOT NULL
"""


def phone_digests_of(connection: Connection[Any], vault: Vault, user_id: int) -> list[str]:
    """Return the blind indexes of every phone that the customer's sessions name; none once they are erased."""
    digests = set[str]()
    for row in connection.execute(_SEALED_PHONES, (user_id,)).fetchall():
        try:
            phone = vault.decrypt(user_id, row["sealed"], purpose=PHONE, row=row["session_id"])
        except (Erased, WrongKey):
            continue
        digits = PhoneNumber(phone).digits
        digests.update(digests_of_phone(vault, digits))
        digests.update(digests_of_payer(vault, digits))
    return sorted(digests)
