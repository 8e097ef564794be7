"""At most one live prompt a phone, whoever asks and however many at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from ledger.store.database import Database
from payments.prompts.phone_locks import PhoneLocks

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
UNTIL = NOW + timedelta(minutes=2)
ONE, TWO = UUID(int=1), UUID(int=2)


@pytest.fixture
def phone_locks(database: Database) -> PhoneLocks:
    return PhoneLocks(database)


def claim(phone_locks: PhoneLocks, phone: str, session_id: UUID, *, now: datetime = NOW) -> int | None:
    return phone_locks.acquire(phone, session_id, now=now, until=now + timedelta(minutes=2))


def test_a_free_phone_is_lent_and_each_lending_has_a_transaction_of_its_own(phone_locks: PhoneLocks) -> None:
    first, second = claim(phone_locks, "phone a", ONE), claim(phone_locks, "phone b", TWO)
    assert first is not None
    assert second is not None
    assert first != second


def test_a_phone_with_a_live_prompt_is_lent_to_nobody_else(phone_locks: PhoneLocks) -> None:
    assert claim(phone_locks, "phone", ONE) is not None
    assert claim(phone_locks, "phone", TWO) is None
    assert claim(phone_locks, "phone", TWO, now=UNTIL - timedelta(seconds=1)) is None
    assert claim(phone_locks, "phone", TWO, now=UNTIL) is not None
    assert claim(phone_locks, "phone", ONE, now=UNTIL) is None


def test_its_holder_may_ask_again(phone_locks: PhoneLocks) -> None:
    first = claim(phone_locks, "phone", ONE)
    again = claim(phone_locks, "phone", ONE, now=NOW + timedelta(minutes=1))
    assert again is not None
    assert again != first
    assert claim(phone_locks, "phone", TWO, now=UNTIL) is None


def test_of_many_at_once_one_gets_the_phone(phone_locks: PhoneLocks) -> None:
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda _: claim(phone_locks, "phone", uuid4()), range(16)))
    assert len([number for number in got if number is not None]) == 1


def test_who_holds_which_phone_is_told_while_it_is_live(phone_locks: PhoneLocks) -> None:
    claim(phone_locks, "phone a", ONE)
    claim(phone_locks, "phone b", TWO)
    wanted = ["phone a", "phone c"]
    assert phone_locks.holders(wanted, NOW) == {"phone a": (ONE, UNTIL)}
    assert phone_locks.holders(wanted, UNTIL) == {}


def test_a_session_gives_up_the_phone_of_one_attempt_and_nobody_elses(phone_locks: PhoneLocks) -> None:
    first, _, other = (claim(phone_locks, *held) for held in (("a", ONE), ("b", ONE), ("c", TWO)))
    assert first is not None
    assert other is not None
    phone_locks.release(ONE, first)
    phone_locks.release(ONE, other)
    assert phone_locks.holders(["a", "b", "c"], NOW) == {"b": (ONE, UNTIL), "c": (TWO, UNTIL)}


def test_the_end_of_an_earlier_attempt_does_not_free_the_phone_of_a_later_one(
    phone_locks: PhoneLocks,
) -> None:
    earlier, later = claim(phone_locks, "phone", ONE), claim(phone_locks, "phone", ONE)
    assert earlier is not None
    assert later is not None
    phone_locks.release(ONE, earlier)
    assert claim(phone_locks, "phone", TWO) is None
    phone_locks.release(ONE, later)
    assert claim(phone_locks, "phone", TWO) is not None


def test_a_phone_taken_in_vain_is_again_that_of_the_attempt_whose_prompt_is_on_it(
    phone_locks: PhoneLocks,
) -> None:
    earlier, in_vain = claim(phone_locks, "phone", ONE), claim(phone_locks, "phone", ONE)
    assert earlier is not None
    assert in_vain is not None
    phone_locks.transfer(TWO, in_vain, to=earlier)
    phone_locks.release(ONE, earlier)
    assert claim(phone_locks, "phone", TWO) is None
    phone_locks.transfer(ONE, in_vain, to=earlier)
    phone_locks.release(ONE, earlier)
    assert claim(phone_locks, "phone", TWO) is not None


def test_dead_prompts_are_forgotten(phone_locks: PhoneLocks) -> None:
    claim(phone_locks, "a", ONE)
    claim(phone_locks, "b", TWO, now=NOW + timedelta(seconds=1))
    assert phone_locks.purge_expired(UNTIL - timedelta(seconds=1)) == 0
    assert phone_locks.purge_expired(UNTIL) == 1
    assert phone_locks.holders(["a", "b"], NOW) == {"b": (TWO, UNTIL + timedelta(seconds=1))}
