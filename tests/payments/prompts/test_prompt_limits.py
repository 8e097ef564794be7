"""Prompts are limited by user and by number, and a number's own user is never shut out by strangers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from freezegun import freeze_time

from ledger.errors import Conflict
from ledger.store.database import Database
from payments.prompts.phone_locks import PhoneLocks, PromptOutcome
from payments.prompts.prompt_limits import PAUSES, PromptLimits, PromptRefusal
from tests.support.phone_locks import lock_phone
from tests.support.prompt_limits import AMPLE

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
VICTIM, STRANGER = 1, 2
LIMITS = PromptLimits(prompts_an_hour=6, numbers_a_day=3, prompts_a_number=4)


class Phones:
    """Prompts phones by a user at a moment, each in a session of its own, and lets them end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, user: int, phone: str, at: datetime, limits: PromptLimits = LIMITS) -> str | None:
        """Prompt and let the owner of the phone decline it at once; return why it was refused."""
        return self._prompt(user, phone, at, PromptOutcome.UNPAID, limits)

    def pay(self, user: int, phone: str, at: datetime) -> str | None:
        """Prompt and let it be paid at once; return why it was refused."""
        return self._prompt(user, phone, at, PromptOutcome.PAID, LIMITS)

    def not_sent(self, user: int, phone: str, at: datetime) -> str | None:
        """Prompt and let M-Pesa refuse it; return why it was refused by us."""
        return self._prompt(user, phone, at, PromptOutcome.NOT_SENT, LIMITS)

    def refusal(self, user: int, phone: str, at: datetime) -> PromptRefusal | None:
        """Return the refusal of a prompt, None if it is sent."""
        found = lock_phone(
            self._database,
            PhoneLocks(self._database, LIMITS),
            phone,
            uuid4(),
            user,
            now=at,
            until=at + 2 * SECOND,
        )
        return found if isinstance(found, PromptRefusal) else None

    def _prompt(
        self, user: int, phone: str, at: datetime, outcome: PromptOutcome, limits: PromptLimits
    ) -> str | None:
        locks, session_id = PhoneLocks(self._database, limits), uuid4()
        found = lock_phone(
            self._database, locks, phone, session_id, user, now=at, until=at + timedelta(minutes=2)
        )
        if isinstance(found, PromptRefusal):
            return found.reason
        with freeze_time(at):
            locks.release(session_id, found, outcome)
        return None


@pytest.fixture
def phones(database: Database) -> Phones:
    return Phones(database)


def test_a_buyer_who_cancels_once_may_try_again_at_once(phones: Phones) -> None:
    assert phones.ask(STRANGER, "a", NOW) is None
    assert phones.ask(STRANGER, "a", NOW + SECOND) is None
    assert phones.ask(STRANGER, "a", NOW + 2 * SECOND) == "unpaid"
    assert phones.ask(STRANGER, "a", NOW + SECOND + PAUSES[0]) is None


def test_a_declined_prompt_is_followed_by_a_pause_if_the_user_prompts_other_numbers_too(
    phones: Phones,
) -> None:
    assert phones.ask(STRANGER, "b", NOW) is None
    assert phones.ask(STRANGER, "a", NOW) is None
    assert phones.ask(STRANGER, "a", NOW + PAUSES[0] - SECOND) == "unpaid"
    assert phones.ask(VICTIM, "a", NOW + SECOND) is None
    assert phones.ask(STRANGER, "a", NOW + PAUSES[0]) is None


def test_pauses_grow_and_a_quiet_day_ends_them(phones: Phones) -> None:
    at = NOW
    phones.ask(STRANGER, "b", at, AMPLE)
    for pause in (*PAUSES, PAUSES[-1]):
        assert phones.ask(STRANGER, "a", at, AMPLE) is None
        assert phones.ask(STRANGER, "a", at + pause - SECOND, AMPLE) == "unpaid"
        at += pause
    assert phones.ask(STRANGER, "a", at + DAY, AMPLE) is None
    assert phones.ask(STRANGER, "a", at + DAY + PAUSES[0], AMPLE) is None


def test_a_user_who_has_paid_from_a_number_is_not_paused(phones: Phones) -> None:
    assert phones.pay(VICTIM, "a", NOW) is None
    for second in range(1, 5):
        assert phones.ask(VICTIM, "a", NOW + second * SECOND) is None


def test_strangers_are_paused_together_on_a_number_that_somebody_pays_from(phones: Phones) -> None:
    phones.pay(VICTIM, "a", NOW)
    assert phones.ask(STRANGER, "a", NOW + SECOND) is None
    assert phones.ask(STRANGER + 1, "a", NOW + 2 * SECOND) == "unpaid"
    assert phones.ask(STRANGER + 2, "a", NOW + SECOND + PAUSES[0]) is None
    assert phones.ask(STRANGER + 3, "a", NOW + SECOND + 2 * PAUSES[0]) == "unpaid"
    assert phones.ask(VICTIM, "a", NOW + SECOND + 2 * PAUSES[0]) is None


def test_a_user_prompts_so_many_strange_numbers_a_day(phones: Phones) -> None:
    assert phones.pay(STRANGER, "own", NOW) is None
    assert [phones.ask(STRANGER, phone, NOW) for phone in "abcd"] == [None, None, None, "numbers_a_day"]
    assert phones.ask(STRANGER, "own", NOW) is None
    assert phones.ask(STRANGER, "d", NOW + DAY) is None


def test_a_user_sends_so_many_prompts_an_hour(phones: Phones) -> None:
    phones.pay(STRANGER, "own", NOW)
    assert [phones.ask(STRANGER, "own", NOW + number * SECOND) for number in range(7)] == [
        *[None] * 6,
        "prompts_an_hour",
    ]
    assert phones.ask(STRANGER, "own", NOW + HOUR + SECOND) is None


def test_paid_prompts_and_those_never_sent_do_not_count(phones: Phones) -> None:
    for second in range(10):
        assert phones.pay(VICTIM, "a", NOW + second * SECOND) is None
        assert phones.not_sent(STRANGER, f"number {second}", NOW + second * SECOND) is None
    assert phones.ask(STRANGER, "number 0", NOW + 10 * SECOND) is None


def test_a_number_is_sent_so_many_prompts_an_hour_and_each_user_may_send_one(phones: Phones) -> None:
    assert [phones.ask(user, "a", NOW + user * SECOND) for user in range(2, 8)] == [None] * 6
    assert phones.ask(2, "a", NOW + PAUSES[0] + 10 * SECOND) == "prompts_a_number"
    assert phones.ask(VICTIM, "a", NOW + PAUSES[0]) is None


def test_one_user_cannot_pass_the_limit_by_asking_at_once(phones: Phones) -> None:
    with ThreadPoolExecutor(8) as threads:
        refused = list(
            threads.map(lambda number: phones.refusal(STRANGER, f"phone {number}", NOW), range(25))
        )
    assert refused.count(None) == 3
    assert {refusal.reason for refusal in refused if refusal} == {"numbers_a_day"}


def test_the_buyer_is_told_how_long_to_wait(phones: Phones) -> None:
    phones.ask(STRANGER, "b", NOW)
    phones.ask(STRANGER, "a", NOW)
    refusal = phones.refusal(STRANGER, "a", NOW + 10 * SECOND)
    assert refusal is not None
    error = refusal.error(NOW + 10 * SECOND)
    assert isinstance(error, Conflict)
    assert (error.code, error.retry_after_seconds) == ("PROMPTS_LIMITED", 20)
    assert "Nothing was sent. Wait 20 seconds, then try again." in error.message
    later = replace(refusal, retry_at=NOW + HOUR).error(NOW)
    assert "Wait 60 minutes" in later.message
