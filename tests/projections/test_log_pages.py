"""The whole log in pages: nothing is missed and nothing comes twice, whatever the filters and the origins are."""

from datetime import timedelta

import psycopg
import pytest

from ledger.application import Ledger
from ledger.errors import InvalidValue
from ledger.session.events import Paid
from ledger.store.database import Database
from projections import log_pages
from projections.history import Entry
from projections.log_pages import LogFilters, Positions, read_log
from tests.support.appending import append
from tests.support.checkouts import Checkout, new_session, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs

ALL = LogFilters()


OF_USER_3 = "session_id IN (SELECT session_id FROM payment_sessions WHERE user_id = 3)"


@pytest.fixture
def checkouts(ledger: Ledger, database: Database) -> list[Checkout]:
    made = one_of_every_kind(ledger)
    until_readable(database)
    return made


def pages(database: Database, filters: LogFilters = ALL, limit: int = 3) -> list[Entry]:
    positions: Positions = {}
    found: list[Entry] = []
    for _ in range(1_000):
        page = read_log(database, event_macs(database), filters, positions, limit)
        assert len(page.entries) <= limit
        found, positions = found + page.entries, page.positions
        if not page.has_more:
            return found
    raise AssertionError("The log does not end.")


def stored(database: Database, condition: str = "true") -> list[tuple[str, int]]:
    statement = f"SELECT session_id, version FROM payment_events WHERE {condition} ORDER BY origin, position"
    with database.connection() as connection:
        return [(str(row["session_id"]), row["version"]) for row in connection.execute(statement.encode())]


def names(entries: list[Entry]) -> list[tuple[str, int]]:
    return [(str(entry.session_id), entry.version) for entry in entries]


@pytest.mark.usefixtures("checkouts")
@pytest.mark.parametrize("limit", [1, 3, 1_000])
def test_the_pages_hold_every_event_once_in_the_order_of_positions(database: Database, limit: int) -> None:
    assert names(pages(database, limit=limit)) == stored(database)


@pytest.mark.parametrize("walked", [2, 7, 10_000])
def test_filters_leave_nothing_out_however_few_events_a_page_looks_at(
    checkouts: list[Checkout], database: Database, monkeypatch: pytest.MonkeyPatch, walked: int
) -> None:
    monkeypatch.setattr(log_pages, "MAX_WALKED", walked)
    paid = f"topic = '{Paid.TOPIC}'"
    assert names(pages(database, LogFilters(topics=[Paid.TOPIC]))) == stored(database, paid)
    mine = f"session_id = '{checkouts[0].session_id}'"
    [receipt, *_] = checkouts[0].ledger.session(checkouts[0].session_id).receipts or ["NONE"]
    with database.connection() as connection:
        connection.execute(
            "SELECT reserve_reference(%s, 'mpesa_receipt', %s)", (receipt, checkouts[0].session_id)
        )
    assert names(pages(database, LogFilters(receipt=receipt))) == stored(database, mine)
    assert names(pages(database, LogFilters(user_id=3))) == stored(database, OF_USER_3)
    assert (
        pages(database, LogFilters(user_id=999))
        == pages(database, LogFilters(actor="user:42' OR true --"))
        == []
    )
    monkeypatch.setattr(log_pages, "MAX_SESSIONS", 1)
    assert names(pages(database, LogFilters(user_id=3))) == stored(database, OF_USER_3)


@pytest.mark.usefixtures("checkouts")
def test_a_time_begins_and_ends_the_log(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pages, "TAKES_AT_MOST", timedelta(0))
    with database.connection() as connection:
        row = connection.execute(
            "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY recorded_at) AS at FROM payment_events"
        ).fetchone()
    assert row is not None
    since, until = f"recorded_at >= '{row['at']}'", f"recorded_at < '{row['at']}'"
    assert names(pages(database, LogFilters(since=row["at"]))) == stored(database, since)
    assert names(pages(database, LogFilters(until=row["at"]))) == stored(database, until)
    page = read_log(database, event_macs(database), LogFilters(until=row["at"]), {}, 1_000)
    assert page.is_over
    assert not read_log(database, event_macs(database), ALL, {}, 1_000).is_over


def test_what_is_written_later_comes_on_the_next_page(ledger: Ledger, database: Database) -> None:
    Checkout(ledger)
    until_readable(database)
    page = read_log(database, event_macs(database), ALL, {}, 10)
    assert not page.has_more
    later = Checkout(ledger)
    until_readable(database)
    again = read_log(database, event_macs(database), ALL, page.positions, 10)
    assert [entry.session_id for entry in again.entries] == [later.session_id]


def test_nothing_above_the_horizon_is_shown_and_nothing_below_it_is_missed(
    ledger: Ledger, database: Database
) -> None:
    slow, quick = new_session(), new_session()
    until_readable(database)
    with psycopg.connect(database.url, row_factory=psycopg.rows.dict_row) as held:
        append(held, ledger, slow)
        ledger.add(quick)
        page = read_log(database, event_macs(database), ALL, {}, 10)
        assert page.entries == []
        held.commit()
    until_readable(database)
    found = read_log(database, event_macs(database), ALL, page.positions, 10).entries
    assert [entry.session_id for entry in found] == [slow.id, quick.id]


@pytest.mark.usefixtures("checkouts")
def test_a_log_with_two_origins_is_read_to_its_end_and_goes_on(
    ledger: Ledger, database: Database, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("UPDATE ledger_node SET origin = 2")
    later = Checkout(ledger)
    until_readable(database)
    entries = pages(database)
    assert names(entries[:-1]) == stored(database, "origin = 1")
    assert entries[-1].session_id == later.session_id
    page = read_log(database, event_macs(database), ALL, {}, 1_000)
    assert page.positions.keys() == {1, 2}
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("UPDATE ledger_node SET origin = 1")
    back = Checkout(ledger)
    until_readable(database)
    found = read_log(database, event_macs(database), ALL, page.positions, 10).entries
    assert [entry.session_id for entry in found] == [back.session_id]


def test_a_position_that_the_log_has_not_reached_is_refused(ledger: Ledger, database: Database) -> None:
    Checkout(ledger)
    with pytest.raises(InvalidValue):
        read_log(database, event_macs(database), ALL, {1: 2**62}, 10)
    assert read_log(database, event_macs(database), ALL, {77: 1}, 10).positions[77] == 1


@pytest.mark.parametrize("state", ["[" * 5_000 + "]" * 5_000, '{"timestamp": 1e999}', "null"])
def test_a_forged_event_is_shown_as_one_and_stops_nothing(
    ledger: Ledger, database: Database, database_url: str, state: str
) -> None:
    forged = Checkout(ledger).request()
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE payment_events DISABLE TRIGGER ALL")
        owner.execute(
            "UPDATE payment_events SET state = %s, metadata = %s, mac = %s WHERE session_id = %s AND version = 2",
            (state, state, bytes(32), forged.session_id),
        )
    until_readable(database)
    found = pages(database)
    assert [entry.name for entry in found] == ["Created", "Forged"]
