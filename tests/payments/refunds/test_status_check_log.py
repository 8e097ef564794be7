"""When M-Pesa is asked about a refund in doubt again: ever more rarely, and not for ever."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ledger.store.database import Database
from payments.refunds.status_check_log import QUERY_SCHEDULE, RefundQueryLog

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SESSION, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def checks(database: Database) -> RefundQueryLog:
    return RefundQueryLog(database)


def notes(database: Database) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(
            "SELECT * FROM refund_checks ORDER BY session_id, refund, sending"
        ).fetchall()


def test_each_question_about_a_refund_waits_longer_than_the_one_before(
    checks: RefundQueryLog, database: Database
) -> None:
    now = NOW
    for tries in range(1, QUERY_SCHEDULE.max_tries + 1):
        checks.note_asked(SESSION, 1, 2, tries=tries, answer="asked", now=now)
        pause = QUERY_SCHEDULE.pause_after(tries)
        assert notes(database) == [
            {
                "session_id": SESSION,
                "refund": 1,
                "sending": 2,
                "asked_at": now,
                "tries": tries,
                "next_check_at": now + pause,
                "last_answer": "asked",
            }
        ]
        now += pause
    pauses = QUERY_SCHEDULE.pauses
    assert list(pauses) == sorted(pauses)


def test_sendings_are_asked_about_apart(checks: RefundQueryLog, database: Database) -> None:
    for session_id, refund, sending in ((SESSION, 1, 1), (SESSION, 1, 2), (SESSION, 2, 1), (OTHER, 1, 1)):
        checks.note_asked(session_id, refund, sending, tries=1, answer="asked", now=NOW)
    checks.note_answer(SESSION, 1, 2, "reversed")
    assert [(note["session_id"], note["last_answer"]) for note in notes(database)] == [
        (SESSION, "asked"),
        (SESSION, "reversed"),
        (SESSION, "asked"),
        (OTHER, "asked"),
    ]


def test_whether_a_question_had_such_an_answer_since_a_moment(checks: RefundQueryLog) -> None:
    checks.note_asked(SESSION, 1, 1, tries=1, answer="wrong_credential", now=NOW)
    assert checks.was_answered_since(NOW - SECOND, "operator_locked", "wrong_credential")
    assert not checks.was_answered_since(NOW, "wrong_credential")
    assert not checks.was_answered_since(NOW - SECOND, "operator_locked")


def test_old_notes_are_forgotten(checks: RefundQueryLog, database: Database) -> None:
    checks.note_asked(SESSION, 1, 1, tries=1, answer="asked", now=NOW)
    checks.note_asked(OTHER, 1, 1, tries=1, answer="asked", now=NOW + SECOND)
    assert checks.forget_before(NOW - SECOND) == 0
    assert checks.forget_before(NOW) == 1
    assert [note["session_id"] for note in notes(database)] == [OTHER]
