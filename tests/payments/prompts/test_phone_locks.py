"""At most one live prompt a phone, whoever asks and however many at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from ledger.store.database import Database
from payments.prompts.phone_locks import LivePrompts

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
UNTIL = NOW + timedelta(minutes=2)
ONE, TWO = UUID(int=1), UUID(int=2)


@pytest.fixture
def prompts(database: Database) -> LivePrompts:
    return LivePrompts(database)


def claim(prompts: LivePrompts, phone: str, session_id: UUID, *, now: datetime = NOW) -> int | None:
    return prompts.claim(phone, session_id, now=now, until=now + timedelta(minutes=2))


def test_a_free_phone_is_lent_and_each_lending_has_a_transaction_of_its_own(prompts: LivePrompts) -> None:
    first, second = claim(prompts, "phone a", ONE), claim(prompts, "phone b", TWO)
    assert first is not None
    assert second is not None
    assert first != second


def test_a_phone_with_a_live_prompt_is_lent_to_nobody_else(prompts: LivePrompts) -> None:
    assert claim(prompts, "phone", ONE) is not None
    assert claim(prompts, "phone", TWO) is None
    assert claim(prompts, "phone", TWO, now=UNTIL - timedelta(seconds=1)) is None
    assert claim(prompts, "phone", TWO, now=UNTIL) is not None
    assert claim(prompts, "phone", ONE, now=UNTIL) is None


def test_its_holder_may_ask_again(prompts: LivePrompts) -> None:
    first = claim(prompts, "phone", ONE)
    again = claim(prompts, "phone", ONE, now=NOW + timedelta(minutes=1))
    assert again is not None
    assert again != first
    assert claim(prompts, "phone", TWO, now=UNTIL) is None


def test_of_many_at_once_one_gets_the_phone(prompts: LivePrompts) -> None:
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda _: claim(prompts, "phone", uuid4()), range(16)))
    assert len([number for number in got if number is not None]) == 1


def test_who_holds_which_phone_is_told_while_it_is_live(prompts: LivePrompts) -> None:
    claim(prompts, "phone a", ONE)
    claim(prompts, "phone b", TWO)
    wanted = ["phone a", "phone c"]
    assert prompts.live_on(wanted, NOW) == {"phone a": (ONE, UNTIL)}
    assert prompts.live_on(wanted, UNTIL) == {}


def test_a_session_gives_up_the_phone_of_one_attempt_and_nobody_elses(prompts: LivePrompts) -> None:
    first, _, other = (claim(prompts, *held) for held in (("a", ONE), ("b", ONE), ("c", TWO)))
    assert first is not None
    assert other is not None
    prompts.release(ONE, first)
    prompts.release(ONE, other)
    assert prompts.live_on(["a", "b", "c"], NOW) == {"b": (ONE, UNTIL), "c": (TWO, UNTIL)}


def test_the_end_of_an_earlier_attempt_does_not_free_the_phone_of_a_later_one(prompts: LivePrompts) -> None:
    earlier, later = claim(prompts, "phone", ONE), claim(prompts, "phone", ONE)
    assert earlier is not None
    assert later is not None
    prompts.release(ONE, earlier)
    assert claim(prompts, "phone", TWO) is None
    prompts.release(ONE, later)
    assert claim(prompts, "phone", TWO) is not None


def test_a_phone_taken_in_vain_is_again_that_of_the_attempt_whose_prompt_is_on_it(
    prompts: LivePrompts,
) -> None:
    earlier, in_vain = claim(prompts, "phone", ONE), claim(prompts, "phone", ONE)
    assert earlier is not None
    assert in_vain is not None
    prompts.hand_over(TWO, in_vain, to=earlier)
    prompts.release(ONE, earlier)
    assert claim(prompts, "phone", TWO) is None
    prompts.hand_over(ONE, in_vain, to=earlier)
    prompts.release(ONE, earlier)
    assert claim(prompts, "phone", TWO) is not None


def test_dead_prompts_are_forgotten(prompts: LivePrompts) -> None:
    claim(prompts, "a", ONE)
    claim(prompts, "b", TWO, now=NOW + timedelta(seconds=1))
    assert prompts.forget_dead(UNTIL - timedelta(seconds=1)) == 0
    assert prompts.forget_dead(UNTIL) == 1
    assert prompts.live_on(["a", "b"], NOW) == {"b": (TWO, UNTIL + timedelta(seconds=1))}
