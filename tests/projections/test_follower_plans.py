"""What followers look up of sessions is found by keys, also in a store that PostgreSQL has not counted yet."""

from ledger.application import Ledger
from ledger.store.database import Database
from projections.figure_sums import PaymentFigures
from projections.follower import Follower
from projections.journal import Journal
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import event_macs, key_ring
from tests.support.plans import explained

SESSIONS = 20
"""So many that a join would read the log whole."""


def test_earlier_events_of_a_batch_are_looked_up_and_not_searched_for(
    ledger: Ledger, database: Database, database_url: str
) -> None:
    checkouts = [Checkout(ledger).prompt() for _ in range(SESSIONS)]
    until_readable(database)
    with explained(database_url) as plans:
        macs, keys = event_macs(database), key_ring(database)
        for projection in (PaymentFigures(), Journal(keys)):
            Follower(plans.database, macs, projection).catch_up()
        for number, checkout in enumerate(checkouts):
            checkout.pay(f"R{number:09}").order(number + 1)
        until_readable(database)
        plans.seen.clear()
        for projection in (PaymentFigures(), Journal(keys)):
            Follower(plans.database, macs, projection).catch_up()
    earlier = [plan for plan in plans.seen if "wanted.before" in plan.statement]
    assert len(earlier) == 2
    assert not any(plan.whole_tables for plan in earlier), "\n".join(map(str, earlier))
