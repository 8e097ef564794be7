"""A session whose history the invariants hold for, until somebody breaks it."""

import pytest

from ledger.application import Ledger
from ledger.store.database import Database
from projections.figure_sums import PaymentFigures
from projections.follower import Follower
from projections.metrics import PaymentMetrics
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import event_macs


@pytest.fixture
def checkout(ledger: Ledger, database: Database) -> Checkout:
    """One session that was paid and became order 789, with the metrics caught up."""
    checkout = Checkout(ledger, county_id=1, subcounty_id=5).prompt().pay("NLJ7RT61SV").order(789)
    until_readable(database)
    for projection in (PaymentMetrics(), PaymentFigures()):
        Follower(database, event_macs(database), projection).catch_up()
    return checkout
