from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import UUID, uuid4

import msgspec
import pytest
import structlog.testing

from ledger.application import RECEIPT, Ledger
from ledger.errors import Conflict, NotFound
from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.store.database import Database
from ledger.store.recorder import VersionConflict
from tests.support.appending import append
from tests.support.checkouts import HALF_PAST_TEN, Checkout, new_session, one_of_every_kind
from tests.support.horizon import until_readable

COUNT = (
    "SELECT (SELECT count(*) FROM payment_events) AS events, (SELECT count(*) FROM payment_sessions) AS rows"
)
VERSIONS = "SELECT version FROM payment_events WHERE session_id = %s ORDER BY version"
POSITIONS = "SELECT origin, position FROM payment_events ORDER BY position"
ROW = "SELECT session_status, version, updated_at FROM payment_sessions WHERE session_id = %s"


def counted(database: Database) -> tuple[int, int]:
    with database.connection() as connection:
        row = connection.execute(COUNT).fetchone()
    assert row is not None
    return row["events"], row["rows"]


def versions(database: Database, session_id: UUID) -> list[int]:
    with database.connection() as connection:
        return [row["version"] for row in connection.execute(VERSIONS, (session_id,))]


def extend(session: PaymentSession) -> None:
    session.extend(minutes=15, max_extensions=100, at=HALF_PAST_TEN)


def test_every_kind_of_session_comes_back_as_it_was_decided(ledger: Ledger) -> None:
    for checkout in one_of_every_kind(ledger):
        session, _ = ledger.decide(checkout.session_id, lambda _: None)
        reloaded = ledger.session(checkout.session_id)
        assert status_row(reloaded) == status_row(session)
        assert vars(reloaded) == vars(session)


def test_a_session_that_is_not_there_or_is_anothers_is_not_found(ledger: Ledger) -> None:
    mine = Checkout(ledger, user_id=7).session_id
    assert ledger.session(mine, user_id=7).user_id == 7
    for session_id, user_id in ((mine, 8), (uuid4(), 7)):
        with pytest.raises(NotFound, match="SESSION_NOT_FOUND"):
            ledger.session(session_id, user_id=user_id)


def test_a_session_is_added_once(ledger: Ledger, database: Database) -> None:
    session_id = uuid4()
    assert ledger.add(new_session(session_id=session_id))
    assert not ledger.add(new_session(session_id=session_id, user_id=8))
    assert counted(database) == (1, 1)
    assert ledger.session(session_id).user_id == 7


def test_of_two_writers_the_second_meets_a_conflict_and_writes_nothing(
    ledger: Ledger, database: Database
) -> None:
    session_id = Checkout(ledger).session_id
    first, second = ledger.session(session_id), ledger.session(session_id)
    for session in (first, second):
        extend(session)
    ledger._append(first)
    with pytest.raises(VersionConflict):
        ledger._append(second)
    assert versions(database, session_id) == [1, 2]


def test_a_version_cannot_be_skipped(ledger: Ledger, database: Database) -> None:
    session = new_session()
    session.collect_events()
    extend(session)
    with pytest.raises(VersionConflict, match="does not exist"):
        ledger._append(session)
    assert counted(database) == (0, 0)


def test_who_meets_a_conflict_reloads_and_decides_again(ledger: Ledger, database: Database) -> None:
    session_id = Checkout(ledger).session_id
    seen: list[int] = []

    def overtaken(session: PaymentSession) -> None:
        seen.append(session.version)
        if len(seen) == 1:
            ledger.decide(session_id, extend)
        extend(session)

    ledger.decide(session_id, overtaken)
    assert seen == [1, 2]
    assert versions(database, session_id) == [1, 2, 3]


def test_a_writer_overtaken_again_and_again_meets_a_conflict(ledger: Ledger) -> None:
    session_id = Checkout(ledger).session_id

    def always_overtaken(session: PaymentSession) -> None:
        ledger.decide(session_id, extend)
        extend(session)

    with pytest.raises(Conflict):
        ledger.decide(session_id, always_overtaken)


def test_writers_at_once_leave_versions_without_a_gap(ledger: Ledger, database: Database) -> None:
    session_id, gate = Checkout(ledger).session_id, Barrier(4)

    def once() -> None:
        gate.wait(timeout=10)
        ledger.decide(session_id, extend)

    with ThreadPoolExecutor(4) as threads:
        for writer in [threads.submit(once) for _ in range(4)]:
            writer.result()
    assert versions(database, session_id) == [1, 2, 3, 4, 5]


def test_a_decision_that_changes_nothing_writes_nothing(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay("NLJ7RT61SV")
    before = counted(database)
    checkout.pay("NLJ7RT61SV").pay(None)
    assert counted(database) == before


def test_events_and_status_row_come_in_one_commit_or_not_at_all(ledger: Ledger, database: Database) -> None:
    session = new_session()
    broken = msgspec.json.encode(status_row(session) | {"session_status": None}).decode()
    with pytest.raises(Exception, match="session_status"), database.connection() as connection:
        append(connection, ledger, session, row=broken)
    assert counted(database) == (0, 0)


def test_the_status_row_moves_with_its_event(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt()
    with database.connection() as connection:
        row = connection.execute(ROW, (checkout.session_id,)).fetchone()
    assert row == {
        "session_status": "payment_initiated",
        "version": 3,
        "updated_at": HALF_PAST_TEN + timedelta(seconds=10),
    }


def test_calls_in_one_transaction_get_positions_of_their_own(ledger: Ledger, database: Database) -> None:
    with database.transaction() as connection:
        for _ in range(3):
            session = new_session()
            extend(session)
            append(connection, ledger, session)
    with database.connection() as connection:
        positions = [row["position"] for row in connection.execute(POSITIONS)]
    assert [position - positions[0] for position in positions] == [0, 1, 2, 3, 4, 5]


def test_positions_go_on_after_a_rollback_inside_a_transaction(ledger: Ledger, database: Database) -> None:
    with database.transaction() as connection:
        append(connection, ledger, new_session())
        with connection.transaction(force_rollback=True):
            append(connection, ledger, new_session())
        append(connection, ledger, new_session())
    with database.connection() as connection:
        positions = [row["position"] for row in connection.execute(POSITIONS)]
    assert len(positions) == len(set(positions)) == 2


def test_a_receipt_is_one_sessions_in_the_whole_system(ledger: Ledger) -> None:
    first, second = Checkout(ledger).session_id, Checkout(ledger).session_id
    assert ledger.reserve_receipt("NLJ7RT61SV", first)
    assert not ledger.reserve_receipt("NLJ7RT61SV", second)
    assert ledger.reserve_receipt("NLJ7RT61SV", first)
    assert ledger.reserve_receipt("NLJ7RT61SW", second)


def test_of_claims_at_once_for_one_receipt_one_wins(ledger: Ledger, database: Database) -> None:
    claimants, gate = [uuid4() for _ in range(6)], Barrier(6)

    def claim(session_id: UUID) -> bool:
        gate.wait(timeout=10)
        return ledger.reserve_receipt("NLJ7RT61SV", session_id)

    with ThreadPoolExecutor(6) as threads:
        won = list(threads.map(claim, claimants))
    assert won.count(True) == 1
    with database.connection() as connection:
        kept = connection.execute("SELECT session_id, kind FROM payment_refs").fetchall()
    assert kept == [{"session_id": claimants[won.index(True)], "kind": RECEIPT}]


def test_appended_events_are_logged_with_their_position(ledger: Ledger, database: Database) -> None:
    with structlog.testing.capture_logs() as said:
        checkout = Checkout(ledger).request()
    until_readable(database)
    last = ledger.recorder.max_notification_id()
    assert said[-1] == {
        "event": "appended",
        "log_level": "info",
        "session_id": str(checkout.session_id),
        "version": 2,
        "position": str(last),
        "events": ["PaymentRequested"],
    }


def test_a_decision_is_refused_to_users_who_do_not_own_the_session(ledger: Ledger) -> None:
    checkout = Checkout(ledger, user_id=7)
    for stranger in (8, 0):
        with pytest.raises(NotFound) as refusal:
            ledger.decide(checkout.session_id, lambda session: session.user_id, user_id=stranger)
        assert str(refusal.value) == "SESSION_NOT_FOUND: There is no such payment session."
    assert ledger.decide(checkout.session_id, lambda session: session.user_id, user_id=7)[1] == 7
