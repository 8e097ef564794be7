"""A callback is stored before anything else, whatever happens to its session."""

from uuid import UUID, uuid4

from ledger.application import Ledger
from ledger.session.session import PaymentSession
from ledger.store.database import Database
from ledger.store.vault import SYSTEM_USER_ID
from payments.inbox.inbox import session_and_owner
from tests.support.checkouts import Checkout
from tests.support.keys import key_ring


class UnreadableLedger(Ledger):
    """A ledger whose sessions fail to load."""

    def session(self, session_id: UUID, *, user_id: int | None = None) -> PaymentSession:  # noqa: ARG002 - the signature of Ledger
        raise ValueError(f"an event of {session_id} cannot be decoded")


def test_a_message_is_encrypted_for_the_user_of_the_session_that_its_url_names(ledger: Ledger) -> None:
    checkout = Checkout(ledger)
    session, owner = session_and_owner(ledger, checkout.session_id)
    assert session is not None
    assert (session.id, owner) == (checkout.session_id, checkout.session.user_id)


def test_a_message_about_a_session_that_fails_to_load_is_still_encrypted_for_its_user(
    ledger: Ledger, database: Database
) -> None:
    checkout = Checkout(ledger)
    unreadable = UnreadableLedger(database, key_ring(database))
    assert session_and_owner(unreadable, checkout.session_id) == (None, checkout.session.user_id)


def test_a_message_without_a_session_is_encrypted_for_the_system(ledger: Ledger) -> None:
    for session_id in (None, uuid4()):
        assert session_and_owner(ledger, session_id) == (None, SYSTEM_USER_ID)
