"""When M-Pesa is asked about a refund in doubt again: ever more rarely, and for a time."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ledger.store.database import Database
from payments.refunds.refund_attempt import RefundAttempt
from payments.refunds.status_check_log import QUERY_SCHEDULE, RefundQueryLog

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SESSION, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def query_log(database: Database) -> RefundQueryLog:
    return RefundQueryLog(database)


def notes(database: Database) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(
            "SELECT * FROM refund_checks ORDER BY session_id, refund, sending"
        ).fetchall()


def test_each_check_of_a_refund_is_due_after_a_longer_pause(
    query_log: RefundQueryLog, database: Database
) -> None:
    now = NOW
    for tries in range(1, QUERY_SCHEDULE.max_tries + 1):
        query_log.note_asked(RefundAttempt(SESSION, 1, 2), tries=tries, answer="asked", now=now)
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


def test_each_refund_attempt_has_its_own_checks(query_log: RefundQueryLog, database: Database) -> None:
    for session_id, refund, sending in ((SESSION, 1, 1), (SESSION, 1, 2), (SESSION, 2, 1), (OTHER, 1, 1)):
        query_log.note_asked(RefundAttempt(session_id, refund, sending), tries=1, answer="asked", now=NOW)
    query_log.note_answer(RefundAttempt(SESSION, 1, 2), "reversed")
    assert [(note["session_id"], note["last_answer"]) for note in notes(database)] == [
        (SESSION, "asked"),
        (SESSION, "reversed"),
        (SESSION, "asked"),
        (OTHER, "asked"),
    ]
