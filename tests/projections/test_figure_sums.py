"""What verification adds up of sessions at once is what the follower adds event by event."""

from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from ledger.application import Ledger
from ledger.store.database import Database
from projections.figure_sums import LateRows, PaymentFigures, Sums, add_up
from projections.follower import recorded
from projections.session_figures import TOPICS, SessionFigures
from tests.support.checkouts import Checkout, one_of_every_kind

LOG = """
SELECT session_id, version, topic, state::text AS state, position, recorded_at FROM payment_events
ORDER BY session_id, version
"""
LATE = "SELECT * FROM payment_figures WHERE grain = 'late' AND dimension = 'all' ORDER BY position"


def test_what_a_session_adds_in_the_end_is_the_sum_of_what_its_events_changed(
    ledger: Ledger, database: Database
) -> None:
    one_of_every_kind(ledger)
    with database.connection() as connection:
        events = [recorded(row) for row in connection.execute(LOG)]
    for _, group in groupby(events, key=attrgetter("session_id")):
        of_session = list(group)
        for last in of_session:
            in_the_end, one_by_one = Sums("day"), Sums("day")
            in_the_end.follow(of_session, last.position)
            followed = [e for e in of_session if e.position <= last.position and e.topic in TOPICS]
            sessions: dict[int, SessionFigures] = {}
            for event in followed:
                add_up(sessions, [event], one_by_one, LateRows())
            assert _added_up(in_the_end) == _added_up(one_by_one) != {}


def test_late_events_of_another_log_at_the_same_positions_are_added_to_what_is_there(
    ledger: Ledger, database: Database
) -> None:
    Checkout(ledger).prompt().pay("RCPTLATE01")
    with database.connection() as connection:
        events = [recorded(row) for row in connection.execute(LOG)]
        others = [event._replace(session_id=UUID(int=1)) for event in events if event.topic in TOPICS]
        PaymentFigures().apply(connection, others[:1])
        PaymentFigures().apply(connection, [event for event in events if event.topic in TOPICS])
        found = connection.execute(LATE).fetchall()
    assert [(row["version"], row["sessions_created"], row["paid"]) for row in found] == [
        (1, 2, 0),
        (3, 0, 0),
        (4, 0, 1),
    ]


def _added_up(sums: Sums) -> dict[Any, Any]:
    return {(grain, place): (total.figures(), total.intervals()) for grain, place, total in sums.by_grain()}
