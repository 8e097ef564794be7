import pytest

from ledger.application import Ledger
from ledger.session.events import Created, Paid
from ledger.store.database import Database
from projections.follower import BE_ACTIVE, Follower, LogReader, read_end
from projections.lags import Lag, lags
from tests.projections.recording import Clumsy, Notebook, log_of
from tests.support.appending import append
from tests.support.checkouts import Checkout, new_session, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs


def test_events_come_once_and_in_the_order_of_a_session(
    ledger: Ledger, database: Database, notebook: Notebook
) -> None:
    one_of_every_kind(ledger)
    until_readable(database)
    Follower(database, event_macs(database), notebook, batch_size=7).catch_up()
    seen = notebook.seen(database)
    assert len(seen) == len(set(seen))
    assert set(seen) == log_of(database)
    for session_id in {session_id for session_id, _ in seen}:
        versions = [version for seen_id, version in seen if seen_id == session_id]
        assert versions == sorted(versions)


def test_a_follower_goes_on_where_it_stopped(ledger: Ledger, database: Database, notebook: Notebook) -> None:
    Checkout(ledger).prompt()
    until_readable(database)
    assert Follower(database, event_macs(database), notebook, batch_size=2).run_once() == 2
    assert Follower(database, event_macs(database), notebook).run_once() == 1
    assert Follower(database, event_macs(database), notebook).run_once() == 0
    assert [version for _, version in notebook.seen(database)] == [1, 2, 3]


def test_a_batch_that_falls_over_leaves_no_trace_and_comes_again(
    ledger: Ledger, database: Database, notebook: Notebook
) -> None:
    Checkout(ledger).prompt()
    until_readable(database)
    clumsy = Clumsy()
    with pytest.raises(ArithmeticError):
        Follower(database, event_macs(database), clumsy).run_once()
    assert notebook.seen(database) == []
    clumsy.falls = False
    Follower(database, event_macs(database), clumsy).run_once()
    assert [version for _, version in notebook.seen(database)] == [1, 2, 3]


def test_only_the_topics_that_were_asked_for_come_and_the_rest_is_passed_over(
    ledger: Ledger, database: Database, notebook: Notebook
) -> None:
    Checkout(ledger).prompt().pay()
    until_readable(database)
    notebook.topics = (Created.TOPIC, Paid.TOPIC)
    follower = Follower(database, event_macs(database), notebook)
    assert follower.catch_up() == 4
    assert [version for _, version in notebook.seen(database)] == [1, 4]
    assert follower.run_once() == 0


def test_one_follower_of_a_name_is_active_and_the_others_stand_by(
    ledger: Ledger, database: Database, notebook: Notebook
) -> None:
    Checkout(ledger)
    until_readable(database)
    standing_by = Follower(database, event_macs(database), notebook)
    other = Notebook("other")
    with database.transaction() as active:
        active.execute(BE_ACTIVE, (notebook.name,))
        assert standing_by.run_once() == 0
        assert Follower(database, event_macs(database), other).run_once() == 1
    assert standing_by.run_once() == 1


def test_a_follower_that_caught_up_does_not_read_again_until_the_horizon_moves(
    ledger: Ledger, database: Database, notebook: Notebook
) -> None:
    follower = Follower(database, event_macs(database), notebook)
    with database.transaction() as stalled:
        append(stalled, ledger, new_session())
        assert follower.run_once() == 0
        assert follower.run_once() == 0
    until_readable(database)
    assert follower.run_once() == 1


def test_what_is_committed_above_a_running_transaction_waits_for_it(
    ledger: Ledger, database: Database, notebook: Notebook
) -> None:
    follower = Follower(database, event_macs(database), notebook)
    with database.transaction() as stalled:
        append(stalled, ledger, new_session())
        Checkout(ledger)
        assert follower.run_once() == 0
        assert lag_of(database, notebook) == (0, 1)
    until_readable(database)
    assert follower.run_once() == 2
    assert set(notebook.seen(database)) == log_of(database)


def test_a_reader_that_minds_no_horizon_does_miss_an_event(ledger: Ledger, database: Database) -> None:
    """Why the horizon is there: the stalled event stays below the position that the reader went on to."""
    newest = "SELECT coalesce(max(position), 0) AS position FROM payment_events"
    later = "SELECT count(*) AS events FROM payment_events WHERE position > %s"
    with database.transaction() as stalled:
        append(stalled, ledger, new_session())
        Checkout(ledger)
        with database.connection() as reader:
            position = reader.execute(newest).fetchone()
    assert position is not None
    with database.connection() as reader:
        missed = reader.execute(later, (position["position"],)).fetchone()
    assert missed == {"events": 0}
    assert len(log_of(database)) == 2


def lag_of(database: Database, notebook: Notebook) -> tuple[int, int]:
    """Return how many events a follower has not read, below the horizon and above it."""
    behind = lags(database, [notebook.name])[notebook.name]
    return behind.below, behind.held


def test_lag_counts_what_waits_and_how_long_the_oldest_has(
    ledger: Ledger, database: Database, notebook: Notebook
) -> None:
    assert lags(database, [notebook.name]) == {notebook.name: Lag(0, 0, 0.0)}
    Checkout(ledger).prompt()
    until_readable(database)
    assert lag_of(database, notebook) == (3, 0)
    assert 0 < lags(database, [notebook.name])[notebook.name].seconds < 60
    Follower(database, event_macs(database), notebook).catch_up()
    assert lag_of(database, notebook) == (0, 0)


def test_an_event_is_read_back_as_an_object_of_its_class(ledger: Ledger, database: Database) -> None:
    Checkout(ledger).prompt().pay("NLJ7RT61SV")
    until_readable(database)
    with database.connection() as connection:
        end = read_end(connection)
        log = LogReader(database, event_macs(database))
        (paid,) = log.read(connection, end._replace(position=0), end, (Paid.TOPIC,), limit=10).wanted
    assert isinstance(paid.event, Paid)
    assert (paid.event.receipt, paid.event.amount_cents, paid.event.originator_version) == (
        "NLJ7RT61SV",
        350_00,
        4,
    )
