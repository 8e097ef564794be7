"""When an attempt is queried again: ever more rarely, for as long as it is open."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ledger.store.database import Database
from payments.confirmation.query_log import QUERY_SCHEDULE, QueryLog

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SESSION, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def query_log(database: Database) -> QueryLog:
    return QueryLog(database)


def notes(database: Database) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute("SELECT * FROM attempt_checks ORDER BY session_id, attempt").fetchall()


def test_each_query_of_an_attempt_is_due_after_a_longer_pause(
    query_log: QueryLog, database: Database
) -> None:
    now = NOW
    pauses = QUERY_SCHEDULE.pauses
    for tries, pause in enumerate((*pauses, pauses[-1], pauses[-1]), 1):
        query_log.note_asked(SESSION, 1, answer="pending", now=now)
        (note,) = notes(database)
        assert note == {
            "session_id": SESSION,
            "attempt": 1,
            "asked_at": now,
            "tries": tries,
            "next_check_at": now + pause,
            "last_answer": "pending",
        }
        now = note["next_check_at"]
    assert list(pauses) == sorted(pauses)


def test_each_attempt_has_its_own_count(query_log: QueryLog, database: Database) -> None:
    query_log.note_asked(SESSION, 1, answer="pending", now=NOW)
    query_log.note_asked(SESSION, 1, answer="pending", now=NOW)
    query_log.note_asked(SESSION, 2, answer="no_handle", now=NOW)
    query_log.note_asked(OTHER, 1, answer="pending", now=NOW)
    assert [(note["attempt"], note["tries"]) for note in notes(database)] == [(1, 2), (2, 1), (1, 1)]


def test_a_query_in_between_leaves_the_schedule_as_it_was(query_log: QueryLog, database: Database) -> None:
    query_log.note_asked(SESSION, 1, answer="pending", now=NOW)
    query_log.note_in_between(SESSION, 1, answer="no_answer", now=NOW + SECOND)
    (note,) = notes(database)
    assert (note["tries"], note["asked_at"], note["last_answer"]) == (1, NOW + SECOND, "no_answer")
    assert note["next_check_at"] == NOW + QUERY_SCHEDULE.pauses[0]


def test_a_query_in_between_does_not_postpone_the_first_one(query_log: QueryLog, database: Database) -> None:
    query_log.note_in_between(SESSION, 1, answer="pending", now=NOW)
    (note,) = notes(database)
    assert (note["tries"], note["asked_at"], note["next_check_at"], note["last_answer"]) == (
        0,
        NOW,
        NOW,
        "pending",
    )


def test_whether_it_was_asked_since_a_moment(query_log: QueryLog) -> None:
    query_log.note_asked(SESSION, 1, answer="pending", now=NOW)
    assert query_log.was_asked_since(SESSION, 1, NOW - SECOND)
    assert not query_log.was_asked_since(SESSION, 1, NOW)
    assert not query_log.was_asked_since(SESSION, 2, NOW - SECOND)
    assert not query_log.was_asked_since(OTHER, 1, NOW - SECOND)
