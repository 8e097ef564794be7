"""At most one live prompt a phone, however many ask at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from ledger.store.database import Database
from payments.prompts.phone_locks import PhoneLocks, PromptOutcome
from tests.support.phone_locks import lock_phone
from tests.support.prompt_limits import AMPLE

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
UNTIL = NOW + timedelta(minutes=2)
ONE, TWO = UUID(int=1), UUID(int=2)
USERS = {ONE: 1, TWO: 2}


@pytest.fixture
def phone_locks(database: Database) -> PhoneLocks:
    return PhoneLocks(database, AMPLE)


def acquire(phone_locks: PhoneLocks, phone: str, session_id: UUID, *, now: datetime = NOW) -> int | None:
    """Return the transaction of a lock, None if it is refused; pauses after prompts are over by then."""
    user = USERS.get(session_id, session_id.int % 10**9)
    until = now + timedelta(minutes=2)
    found = lock_phone(phone_locks._database, phone_locks, phone, session_id, user, now=now, until=until)
    return found if isinstance(found, int) else None


def locked(phone_locks: PhoneLocks, *phones: str, now: datetime = NOW) -> set[str]:
    """Return which phones are locked to a session that was never seen before."""
    asked = {phone: uuid4() for phone in phones}
    refused = phone_locks.refused_until([(9, phone, asked[phone]) for phone in phones], now)
    return {phone for phone in phones if asked[phone] in refused}


def test_a_free_phone_is_locked_and_each_lock_has_its_own_transaction(phone_locks: PhoneLocks) -> None:
    first, second = acquire(phone_locks, "phone a", ONE), acquire(phone_locks, "phone b", TWO)
    assert first is not None
    assert second is not None
    assert first != second


def test_a_locked_phone_is_refused_to_other_sessions(phone_locks: PhoneLocks) -> None:
    assert acquire(phone_locks, "phone", ONE) is not None
    assert acquire(phone_locks, "phone", TWO) is None
    assert acquire(phone_locks, "phone", TWO, now=UNTIL - timedelta(seconds=1)) is None
    assert acquire(phone_locks, "phone", TWO, now=UNTIL) is not None
    assert acquire(phone_locks, "phone", ONE, now=UNTIL) is None


def test_its_holder_may_acquire_it_again(phone_locks: PhoneLocks) -> None:
    first = acquire(phone_locks, "phone", ONE)
    again = acquire(phone_locks, "phone", ONE, now=NOW + timedelta(minutes=1))
    assert again is not None
    assert again != first
    assert acquire(phone_locks, "phone", TWO, now=UNTIL) is None


def test_one_of_many_concurrent_sessions_gets_the_lock(phone_locks: PhoneLocks) -> None:
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda _: acquire(phone_locks, "phone", uuid4()), range(16)))
    assert len([number for number in got if number is not None]) == 1


def test_a_phone_is_refused_until_its_lock_expires(phone_locks: PhoneLocks) -> None:
    acquire(phone_locks, "phone a", ONE)
    acquire(phone_locks, "phone b", TWO)
    asked = [(9, phone, UUID(int=10 + number)) for number, phone in enumerate(("phone a", "phone c"))]
    assert phone_locks.refused_until(asked, NOW) == {UUID(int=10): UNTIL}
    assert phone_locks.refused_until(asked, UNTIL) == {}


def test_a_session_releases_the_lock_of_its_own_attempt_only(phone_locks: PhoneLocks) -> None:
    first, _, other = (acquire(phone_locks, *held) for held in (("a", ONE), ("b", ONE), ("c", TWO)))
    assert first is not None
    assert other is not None
    phone_locks.release(ONE, first, PromptOutcome.UNPAID)
    phone_locks.release(ONE, other, PromptOutcome.UNPAID)
    assert locked(phone_locks, "a", "b", "c") == {"b", "c"}


def test_the_end_of_an_earlier_attempt_does_not_release_a_later_ones_lock(phone_locks: PhoneLocks) -> None:
    earlier = acquire(phone_locks, "phone", ONE)
    later = acquire(phone_locks, "phone", ONE, now=NOW + timedelta(minutes=1))
    assert earlier is not None
    assert later is not None
    phone_locks.release(ONE, earlier, PromptOutcome.UNPAID)
    assert locked(phone_locks, "phone") == {"phone"}
    phone_locks.release(ONE, later, PromptOutcome.UNPAID)
    assert locked(phone_locks, "phone") == set()
