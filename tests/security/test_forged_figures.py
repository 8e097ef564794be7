"""A payment that a login of the database appends without the master key moves no figure, now or as reported."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from ledger import clock
from ledger.application import Ledger
from ledger.session.events import Paid
from ledger.store.database import Database
from projections.figure_sums import PaymentFigures
from projections.figures import FiguresQuery, figures, restatements
from projections.follower import Follower
from tests.security.test_forged_events import forge
from tests.support.checkouts import HALF_PAST_TEN, Checkout
from tests.support.horizon import until_readable
from tests.support.keys import event_macs

HOUR = timedelta(hours=1)


@pytest.fixture
def attacker(login_url: str) -> Iterator[Connection[Any]]:
    """A connection of the application's login, in the hands of somebody without the master key."""
    with psycopg.connect(login_url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        yield connection


def paid_and_waiting(database: Database, query: FiguresQuery) -> tuple[int, int]:
    [whole] = figures(database, query, event_macs(database))
    return whole.counts["payments_received"], whole.counts["payment_initiated"]


def test_a_forged_payment_moves_no_figure_and_restates_nothing(
    attacker: Connection[Any], ledger: Ledger, database: Database
) -> None:
    forge(attacker, Checkout(ledger).prompt())
    until_readable(database)
    Follower(database, event_macs(database), PaymentFigures()).catch_up()
    query = FiguresQuery(HALF_PAST_TEN, HALF_PAST_TEN + HOUR)
    assert paid_and_waiting(database, query) == (0, 1)
    assert Paid.TOPIC not in {each.topic for each in restatements(database, 10)}


def test_a_forged_payment_of_the_last_hours_is_not_in_what_was_reported(
    attacker: Connection[Any], ledger: Ledger, database: Database
) -> None:
    """These hours are folded anew from the log, without a follower."""
    at = clock.now()
    forge(attacker, Checkout(ledger, at=at).prompt())
    query = FiguresQuery(at, at + HOUR, as_reported_at=clock.now())
    assert paid_and_waiting(database, query) == (0, 1)
