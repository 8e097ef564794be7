"""Phone lock and PaymentRequested are one commit: a refused lock leaves no attempt, and no attempt leaves no lock."""

from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from ledger.application import Ledger
from ledger.errors import Rejected
from ledger.session.session import PaymentSession
from ledger.store.database import Database
from payments.prompts.phone_locks import PhoneLocks, PromptRefused
from tests.support.checkouts import Checkout
from tests.support.prompt_limits import AMPLE

LIVE = timedelta(minutes=2)


def request(ledger: Ledger, locks: PhoneLocks, checkout: Checkout, transaction_id: int) -> None:
    """Request a payment on the one phone of these tests."""
    known = checkout.session
    command = partial(
        PaymentSession.request_payment,
        transaction_id=transaction_id,
        phone_sealed="sealed",
        prompt_seconds=90,
        max_attempts=10,
        at=known.created_on,
    )
    lock = partial(locks.to_write, "phone", transaction_id, LIVE)
    ledger.decide(checkout.session_id, command, known=known, beside=lock)


def count(database: Database, table: str) -> int:
    with database.connection() as connection:
        return len(connection.execute(f"SELECT 1 FROM {table}").fetchall())


def test_an_attempt_and_its_lock_are_written_together(ledger: Ledger, database: Database) -> None:
    one, locks = Checkout(ledger, user_id=1), PhoneLocks(database, AMPLE)
    request(ledger, locks, one, 5)
    assert one.session.attempts[1].transaction_id == 5
    assert (count(database, "live_prompts"), count(database, "prompt_counts")) == (1, 1)


def test_a_refused_lock_leaves_nothing_behind(ledger: Ledger, database: Database) -> None:
    one, two, locks = Checkout(ledger, user_id=1), Checkout(ledger, user_id=2), PhoneLocks(database, AMPLE)
    request(ledger, locks, one, 5)
    with pytest.raises(PromptRefused) as refused:
        request(ledger, locks, two, 6)
    assert refused.value.refusal.reason == "phone_busy"
    assert two.session.version == 1
    assert count(database, "prompt_counts") == 1


def test_an_attempt_that_may_not_be_made_locks_no_phone(ledger: Ledger, database: Database) -> None:
    one, locks = Checkout(ledger, user_id=1), PhoneLocks(database, AMPLE)
    stale = one.session
    request(ledger, locks, one, 5)
    command = partial(
        PaymentSession.request_payment,
        transaction_id=6,
        phone_sealed="sealed",
        prompt_seconds=90,
        max_attempts=10,
        at=stale.created_on,
    )
    lock = partial(locks.to_write, f"other {uuid4()}", 6, LIVE)
    with pytest.raises(Rejected, match="PAYMENT_IN_PROGRESS"):
        ledger.decide(one.session_id, command, known=stale, beside=lock)
    assert count(database, "live_prompts") == 1
