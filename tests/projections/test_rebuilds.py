"""Rebuilds beside a live system: what differs is mended, what goes on meanwhile wins, and an ended one goes on."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count
from threading import Event
from typing import Any
from uuid import UUID

import msgspec
import pytest
from freezegun import freeze_time
from psycopg.types.json import Jsonb

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.status_row import status_row
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.key_ring import KeyRing, WrongKey
from ledger.store.locks import ActiveLock, LockConnection
from ledger.store.vault import Vault
from projections import rebuilds, session_walk
from projections.cases import PaymentCases
from projections.figure_sums import PaymentFigures
from projections.follower import Follower
from projections.integrity.invariants import check
from projections.journal import Journal
from projections.mended_rows import MEND
from projections.metrics import PaymentMetrics
from projections.payment_search import PaymentSearch
from projections.rebuild_runs import MAX_KEYS, RESUMED_WITHIN, Run, built_versions
from projections.rebuilds import REBUILDABLE, outdated, rebuild
from projections.refunds import PaymentRefunds
from projections.sessions import status_of
from tests.projections.integrity.test_invariants import tamper
from tests.support.appending import append
from tests.support.checkouts import Checkout, new_session, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs
from tests.support.suites import others_in_system

# What somebody may write: columns of each table that a reader would be led astray by.
TAMPERED = {
    "payment_sessions": "UPDATE payment_sessions SET session_status = 'order_created' WHERE session_status = 'failed'",
    "payment_search": "UPDATE payment_search SET total_cents = 1 WHERE session_status = 'order_created'",
    "payment_metrics": "UPDATE payment_metrics SET paid = paid + 1",
    "payment_figures": "UPDATE payment_figures SET paid = paid + 1 WHERE grain = 'late'",
    "payment_refunds": "UPDATE payment_refunds SET state = 'refunded' WHERE state = 'due'",
    "payment_cases": "DELETE FROM payment_cases WHERE subject = 'refund'",
    "journal_entries": "UPDATE journal_entries SET credit_account = 'surplus' WHERE what = 'OrderCreated'",
}


def follow(database: Database) -> None:
    until_readable(database)
    vault = Vault(database, MASTER_KEY)
    for projection in (
        PaymentMetrics(),
        PaymentFigures(),
        PaymentRefunds(),
        PaymentCases(),
        Journal(vault.keys),
        PaymentSearch(vault),
    ):
        Follower(database, event_macs(database), projection).catch_up()


def table(database: Database, name: str) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(f"SELECT * FROM {name} AS row ORDER BY row".encode()).fetchall()


def followed(database: Database, name: str) -> int:
    """Return how many events the projection is made of."""
    topics = {"payment_refunds": PaymentRefunds.topics, "payment_cases": PaymentCases.topics}.get(name)
    return sum(topics is None or row["topic"] in topics for row in table(database, "payment_events"))


def kept(database: Database, name: str) -> dict[str, Any]:
    [row] = (row for row in table(database, "projection_rebuilds") if row["name"] == name)
    return row


@pytest.fixture
def of_every_kind(ledger: Ledger, database: Database) -> list[Checkout]:
    checkouts = one_of_every_kind(ledger)
    follow(database)
    return checkouts


@pytest.mark.usefixtures("of_every_kind")
@pytest.mark.parametrize("name", REBUILDABLE)
def test_what_was_tampered_with_is_found_mended_and_kept(database: Database, name: str) -> None:
    before, macs = table(database, name), event_macs(database)
    rebuilt = rebuild(database, macs, name, at_once=3)
    events = followed(database, name)
    assert (rebuilt.events, rebuilt.wrong_rows, rebuilt.differing_keys) == (events, 0, ())
    tamper(database, TAMPERED[name])
    changed = table(database, name)
    assert changed != before
    dry = rebuild(database, macs, name, dry_run=True)
    assert 0 < len(dry.differing_keys) == min(dry.wrong_rows, MAX_KEYS)
    assert (table(database, name), kept(database, name)["wrong_rows"]) == (changed, 0)
    rebuilt = rebuild(database, macs, name)
    assert (rebuilt, table(database, name)) == (dry, before)
    row = kept(database, name)
    assert (row["wrong_rows"], row["differing_keys"]) == (dry.wrong_rows, list(dry.differing_keys))
    assert rebuild(database, macs, name).wrong_rows == 0
    assert check(database) == []


@pytest.mark.usefixtures("of_every_kind")
@pytest.mark.parametrize("name", ["payment_sessions", "payment_search", "payment_refunds", "payment_cases"])
@pytest.mark.parametrize("session_id", [UUID(int=0), UUID(int=2**128 - 1)])
def test_a_row_of_a_session_that_the_log_does_not_know_goes(
    database: Database, name: str, session_id: UUID
) -> None:
    before = table(database, name)
    forgery = f"INSERT INTO {name} SELECT (jsonb_populate_record(row, %s)).* FROM {name} AS row LIMIT 1"
    tamper(database, forgery, Jsonb({"session_id": str(session_id)}))
    assert rebuild(database, event_macs(database), name).wrong_rows == 1
    assert table(database, name) == before


@pytest.mark.usefixtures("of_every_kind")
@pytest.mark.parametrize("value", ["", "NULL", """{"1", '2'}\\ %s é"""])
def test_with_a_key_of_several_columns_rows_before_the_first_that_differs_stay(
    database: Database, value: str
) -> None:
    days = "SELECT xmin::text, * FROM payment_figures WHERE grain = 'day' ORDER BY dimension, start, value"
    with database.connection() as connection:
        stay = connection.execute(days.encode()).fetchall()
    before = table(database, "payment_figures")
    forged = Jsonb({"grain": "hour", "dimension": "all", "start": clock.now().isoformat(), "value": value})
    forgery = (
        "SELECT (jsonb_populate_record(row, %s)).* FROM payment_figures AS row WHERE grain = 'day' LIMIT 1"
    )
    tamper(database, f"INSERT INTO payment_figures {forgery}", forged)
    [key] = rebuild(database, event_macs(database), "payment_figures").differing_keys
    with database.connection() as connection:
        [fields] = connection.execute("SELECT %s::text[] AS fields", (key,)).fetchall()
        assert connection.execute(days.encode()).fetchall() == stay
    assert (fields["fields"][:2], fields["fields"][3:]) == (["hour", "all"], [value, "0"])
    assert table(database, "payment_figures") == before


@pytest.mark.parametrize(
    "statement", ["DELETE FROM payment_sessions", "UPDATE payment_sessions SET user_id = 66"]
)
def test_rows_of_sessions_that_are_gone_or_of_another_are_made_anew(
    of_every_kind: list[Checkout], database: Database, statement: str
) -> None:
    before = table(database, "payment_sessions")
    tamper(database, statement)
    rebuilt = rebuild(database, event_macs(database), "payment_sessions")
    assert (rebuilt.wrong_rows, table(database, "payment_sessions")) == (len(of_every_kind), before)


def test_a_forged_event_moves_nothing(ledger: Ledger, database: Database) -> None:
    paid = Checkout(ledger).prompt().pay()
    before = {name: table(database, name) for name in ("payment_sessions", "payment_refunds")}
    forged, new = ledger.session(paid.session_id), new_session(user_id=8)
    forged.refuse_order(code="OUT_OF_STOCK", text="Sold out.", at=paid.at)
    with database.connection() as connection:
        append(connection, ledger, forged, macs=[bytes(32)] * 2)
        append(connection, ledger, new, macs=[bytes(32)])
    assert len(table(database, "payment_sessions")) == 2
    rebuilt = rebuild(database, event_macs(database), "payment_sessions")
    assert set(rebuilt.differing_keys) == {str(paid.session_id), str(new.id)}
    follow(database)
    for name in REBUILDABLE:
        rebuild(database, event_macs(database), name)
    assert {name: table(database, name) for name in before} == before
    assert [row["session_id"] for row in table(database, "payment_search")] == [paid.session_id]


def test_a_session_that_went_on_since_it_was_folded_is_left_to_its_append(
    ledger: Ledger, database: Database
) -> None:
    checkout = Checkout(ledger).prompt()
    stale, before = msgspec.json.encode(status_row(checkout.session)).decode(), checkout.session.version
    checkout.pay("NLJ7RT61SV")
    paid = table(database, "payment_sessions")
    with database.connection() as connection:
        values = [checkout.session_id], [before], [stale]
        assert connection.execute(MEND, values).fetchall() == []
    assert table(database, "payment_sessions") == paid


def test_commands_and_reads_go_on_while_rows_are_mended(ledger: Ledger, database: Database) -> None:
    checkouts = [Checkout(ledger) for _ in range(30)]
    follow(database)
    ended, reads = Event(), []

    def receipt_of(checkout: Checkout) -> str:
        return f"R{checkout.session_id.hex[:9].upper()}"  # With a letter: ten digits may be a phone.

    def read() -> None:
        while not ended.is_set():
            for checkout in checkouts:
                row = status_of(database, checkout.session_id, None, checkout.at)
                reads.append(row is not None and row.session_status)

    with ThreadPoolExecutor(3) as pool:
        reading = pool.submit(read)
        paying = [
            pool.submit(lambda some: [each.prompt().pay(receipt_of(each)) for each in some], checkouts[n::2])
            for n in (0, 1)
        ]
        rounds = 0
        while not (all(each.done() for each in paying) and rounds > 1):
            tamper(database, "UPDATE payment_sessions SET user_id = 66, total_cents = 1")
            tamper(database, "UPDATE payment_search SET total_cents = 1")
            for name in ("payment_sessions", "payment_search"):
                rebuild(database, event_macs(database), name, at_once=7)
            rounds += 1
        ended.set()
        reading.result()
        for each in paying:
            each.result()
    assert set(reads) <= {"pending", "payment_initiated", "paid"}
    assert len(reads) > len(checkouts)
    follow(database)
    assert check(database) == []


@pytest.mark.parametrize("name", others_in_system(REBUILDABLE, "payment_sessions", "journal_entries"))
@pytest.mark.usefixtures("of_every_kind")
def test_one_that_was_ended_goes_on_where_it_was(
    database: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tamper(database, TAMPERED[name])
    macs, steps = event_macs(database), count()
    reach = Run.reach

    def killed_at_the_third(run: Run, *found: Any) -> None:
        reach(run, *found)
        if next(steps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "reach", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        rebuild(database, macs, name, at_once=3)
    monkeypatch.undo()
    [under_way] = table(database, "projection_rebuilds_under_way")
    assert 0 < under_way["events"] < followed(database, name)
    rebuilt = rebuild(database, macs, name, at_once=3)
    assert (rebuilt.resumed, rebuilt.events) == (True, followed(database, name))
    assert rebuilt.wrong_rows > 0
    assert table(database, "projection_rebuilds_under_way") == []
    assert check(database) == []


@pytest.mark.parametrize("aside", ["a day later", "a dry run"])
def test_one_that_was_ended_long_ago_or_only_compared_is_begun_anew(
    ledger: Ledger, database: Database, aside: str
) -> None:
    Checkout(ledger)
    run = Run(database, "payment_sessions", 1, dry_run=aside == "a dry run")
    assert run.begin() is None
    run.reach(str(session_walk.LAST), 99)
    later = clock.now() + (RESUMED_WITHIN if aside == "a day later" else timedelta(0))
    with freeze_time(later):
        rebuilt = rebuild(database, event_macs(database), "payment_sessions")
    assert (rebuilt.resumed, rebuilt.events) == (False, 1)


def test_two_at_once_are_refused(database: Database) -> None:
    other = ActiveLock(LockConnection(database.url), "rebuild payment_metrics")
    assert other.try_acquire()
    with pytest.raises(Unavailable, match="payment_metrics is being rebuilt by another process"):
        rebuild(database, event_macs(database), "payment_metrics")
    other.release()
    assert rebuild(database, event_macs(database), "payment_metrics").wrong_rows == 0


@pytest.mark.usefixtures("of_every_kind")
def test_with_another_master_key_nothing_counts_as_forged(database: Database) -> None:
    before = table(database, "payment_sessions")
    with pytest.raises(WrongKey):
        rebuild(database, EventMacs(database, KeyRing(database, bytes(32))), "payment_sessions")
    assert table(database, "payment_sessions") == before


@pytest.mark.usefixtures("of_every_kind")
@pytest.mark.parametrize("name", ["payment_metrics", "payment_figures", "payment_refunds"])
def test_the_follower_stands_still_no_longer_than_it_takes_to_mend(
    database: Database, ledger: Ledger, name: str
) -> None:
    tamper(database, TAMPERED[name])
    Checkout(ledger).prompt().pay().refuse_order()
    rebuild(database, event_macs(database), name)
    follow(database)
    assert check(database) == []


@pytest.mark.usefixtures("of_every_kind")
def test_a_projection_of_another_version_is_outdated_until_it_is_rebuilt(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outdated(database) == []
    later = replace(REBUILDABLE["payment_cases"], version=2)
    monkeypatch.setitem(rebuilds.REBUILDABLE, "payment_cases", later)
    assert outdated(database) == ["payment_cases"]
    rebuild(database, event_macs(database), "payment_cases", dry_run=True)
    assert outdated(database) == ["payment_cases"]
    rebuild(database, event_macs(database), "payment_cases")
    assert (outdated(database), built_versions(database)) == ([], {"payment_cases": 2, "payment_figures": 2})
    monkeypatch.undo()
    assert outdated(database) == []  # A worker of the release before does not turn it back.
