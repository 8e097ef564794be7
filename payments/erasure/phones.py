"""The blind indexes of a customer's phones: what finds the messages and movements that name them.

Only numbers that paid for the customer's sessions count: anybody may type the number of another.
"""

from typing import Any

from psycopg import Connection

from ledger.phone import PhoneNumber
from ledger.store.customer_keys import Erased
from ledger.store.key_ring import WrongKey
from ledger.store.vault import PHONE, Vault
from payments.inbox.phone_digests import digests_of_phone
from payments.operators.stakes import digests_of_payer

# A callback or a query is about the one prompt, which the phone's owner answered by their PIN. Every other source goes
# by a reference, which may be typed on any phone: there the payer that M-Pesa names decides.
_PROMPTED_PHONES = """
SELECT session_id, request.state->>'phone_sealed' AS sealed, EXISTS (
    SELECT FROM payment_events AS payment
    WHERE payment.session_id = request.session_id AND payment.state->'attempt' = request.state->'attempt'
      AND payment.topic IN ('payment_session.paid.v1', 'payment_session.surplus_received.v1')
      AND payment.state->>'evidence' IN ('callback', 'query')) AS has_paid
FROM payment_events AS request JOIN payment_sessions USING (session_id)
WHERE user_id = %s AND request.topic = 'payment_session.payment_requested.v1'
"""
_PAYERS = """
SELECT DISTINCT payer_digest FROM mpesa_movements JOIN payment_sessions USING (session_id)
WHERE user_id = %s AND kind = 'payment' AND payer_digest IS NOT NULL
"""


def phone_digests_of(connection: Connection[Any], vault: Vault, user_id: int) -> list[str]:
    """Return the blind indexes of every phone that the customer has paid from; none once they are erased."""
    payers = {row["payer_digest"] for row in connection.execute(_PAYERS, (user_id,)).fetchall()}
    digests = set[str]()
    with connection.cursor() as rows:  # One by one: a customer may have tens of thousands of sessions.
        for row in rows.stream(_PROMPTED_PHONES, (user_id,)):
            digests |= _digests(vault, user_id, row, payers)
    return sorted(digests)


def _digests(vault: Vault, user_id: int, row: dict[str, Any], payers: set[str]) -> set[str]:
    try:
        phone = vault.decrypt(user_id, row["sealed"], purpose=PHONE, row=row["session_id"])
    except (Erased, WrongKey):
        return set()
    digits = PhoneNumber(phone).digits
    as_payer = digests_of_payer(vault, digits)
    if not row["has_paid"] and payers.isdisjoint(as_payer):
        return set()
    return {*digests_of_phone(vault, digits), *as_payer}
