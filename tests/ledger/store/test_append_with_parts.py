"""The ledger's parts of a statement: a session read as one value, events with a cause each, all or nothing."""

from uuid import uuid4

import psycopg
import pytest

from ledger.application import Append, Ledger
from ledger.errors import NotFound
from ledger.session.session import PaymentSession
from ledger.store.database import Database
from ledger.store.metadata import Cause, caused_by
from ledger.store.parts import Part, run_parts
from ledger.store.recorder import VersionConflict, version_conflicts
from tests.support.checkouts import HALF_PAST_TEN, Checkout, one_of_every_kind

METADATA = "SELECT metadata FROM payment_events WHERE session_id = %s ORDER BY version"


def read(database: Database, ledger: Ledger, checkout: Checkout) -> PaymentSession:
    with database.connection() as connection:
        found = run_parts(connection, {"history": ledger.history_part(checkout.session_id)})
    return ledger.session_of(checkout.session_id, found["history"])


def append_two(ledger: Ledger, session: PaymentSession) -> Append:
    append = Append(ledger, session)
    for source in ("1", "2"):
        session.extend(minutes=15, max_extensions=100, at=HALF_PAST_TEN)
        with caused_by(Cause.EVENT, source=source):
            append.collect()
    return append


def test_every_kind_of_session_is_the_same_read_as_one_value(ledger: Ledger, database: Database) -> None:
    for checkout in one_of_every_kind(ledger):
        assert vars(read(database, ledger, checkout)) == vars(ledger.session(checkout.session_id))


def test_a_session_that_is_not_there_or_is_anothers_has_no_value(ledger: Ledger, database: Database) -> None:
    with pytest.raises(NotFound, match="SESSION_NOT_FOUND"):
        ledger.session_of(uuid4(), None)
    mine = Checkout(ledger, user_id=7).session_id
    with database.connection() as connection:
        found = run_parts(connection, {"history": ledger.history_part(mine)})
    with pytest.raises(NotFound, match="SESSION_NOT_FOUND"):
        ledger.session_of(mine, found["history"], user_id=8)


def test_each_event_keeps_its_own_cause(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger)
    append = append_two(ledger, read(database, ledger, checkout))
    with database.connection() as connection:
        append.written(run_parts(connection, {"position": append.part()})["position"])
        rows = connection.execute(METADATA, (checkout.session_id,)).fetchall()
    assert [row["metadata"].get("source") for row in rows] == [None, "1", "2"]
    assert vars(ledger.session(checkout.session_id)) == vars(read(database, ledger, checkout))


def test_a_second_writer_meets_a_conflict_and_no_other_part_stays(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger)
    late = append_two(ledger, read(database, ledger, checkout))
    checkout.extend()
    claim = Part("reserve_reference('R1', 'test', %s)", (checkout.session_id,))
    with database.connection() as connection:
        with pytest.raises(VersionConflict), version_conflicts():
            run_parts(connection, {"claim": claim, "position": late.part()})
        other = Part("reserve_reference('R1', 'test', %s)", (uuid4(),))
        assert run_parts(connection, {"claim": other})["claim"] == other.values[0]


@pytest.mark.parametrize("metadata", ["[]", '{"actor": "' + "x" * 2000 + '"}'])
def test_an_event_without_metadata_of_its_own_is_refused(
    ledger: Ledger, database: Database, metadata: str
) -> None:
    part = append_two(ledger, read(database, ledger, Checkout(ledger))).part()
    values = (*part.values[:7], metadata, *part.values[8:])
    with database.connection() as connection, pytest.raises(psycopg.Error, match="no metadata") as refusal:
        run_parts(connection, {"position": Part(part.sql, values)})
    assert refusal.value.sqlstate == "DF004"
