"""No one decides about their own session, refund or payment."""

import hashlib
from collections.abc import Collection, Iterable
from uuid import UUID

from ledger.session.session import PaymentSession
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.vault import PHONE, Vault
from payments.operators.operator import Operator, own_payment

MAX_EVENTS_READ = 5_000
"""Of an operator's own sessions, the newest first."""

OWN_PHONES = """
SELECT session_id, event.state->>'phone_sealed' AS phone_sealed
FROM payment_sessions AS session JOIN payment_events AS event USING (session_id)
WHERE session.user_id = %s AND (event.version = 1 OR event.topic = 'payment_session.payment_requested.v1')
ORDER BY session.created_at DESC LIMIT %s
"""


def payer_digest(vault: Vault, payer: str | None) -> str | None:
    """Return the keyed digest of a payer as M-Pesa names them: by phone number, or by the SHA-256 of one.

    None for a masked number, which many people share.
    """
    if payer is None or not payer.isalnum():
        return None
    return vault.digest("phone" if payer.isdigit() else "phone sha256", payer)


def digests_of_payer(vault: Vault, digits: str) -> set[str]:
    """Return the digests of one phone as `payer_digest` makes them, in the clear and as M-Pesa hashes it."""
    hashed = hashlib.sha256(digits.encode()).hexdigest()
    return {str(payer_digest(vault, payer)) for payer in (digits, hashed)}


class Stakes:
    """Knows what is an operator's own: by the buyer's number, and by the phones of their own sessions."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def refuse_own(
        self, by: Operator, sessions: Iterable[PaymentSession], payers: Collection[str | None] = ()
    ) -> None:
        """Raise NotAllowed OWN_PAYMENT if the operator bought in one of the sessions, or paid.

        `payers` are digests as `payer_digest` makes them, None where M-Pesa names nobody.
        """
        digests = {payer for payer in payers if payer is not None}
        for session in sessions:
            if session.user_id == by.user_id:
                raise own_payment()
            phones = [(session.id, attempt.phone_sealed) for attempt in session.attempts.values()]
            digests |= self._digests(session.user_id, phones)
        if digests and not digests.isdisjoint(self._own_digests(by.user_id)):
            raise own_payment()

    def _own_digests(self, user_id: int) -> set[str]:
        with self._database.connection() as connection:
            rows = connection.execute(OWN_PHONES, (user_id, MAX_EVENTS_READ)).fetchall()
        return self._digests(user_id, [(row["session_id"], row["phone_sealed"]) for row in rows])

    def _digests(self, user_id: int, phones: Iterable[tuple[UUID, str | None]]) -> set[str]:
        """Return the digests of encrypted phones by session, plain and hashed; none of those that were erased."""
        digests: set[str] = set()
        for session_id, encrypted in phones:
            if encrypted is None:
                continue
            try:
                phone = self._vault.decrypt(user_id, encrypted, purpose=PHONE, row=session_id)
            except (Erased, WrongKey):
                continue
            digests |= digests_of_payer(self._vault, phone)
        return digests
