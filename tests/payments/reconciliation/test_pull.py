"""M-Pesa's list is pulled every hour, in windows that overlap; a long stop leaves a gap."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from daraja import DarajaClient, PulledTransaction, PulledWindow, Retryable
from ledger import clock
from ledger.application import Ledger
from ledger.session.values import Evidence
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.inbox.inbox import Inbox
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.pull import (
    EVERY,
    MAX_WINDOW,
    OVERLAP,
    TRY_AGAIN_AFTER,
    USUAL_WINDOW,
    TransactionPoller,
)
from payments.reconciliation.pull_progress import PullProgressStore
from tests.support.checkouts import Checkout
from tests.support.keys import MASTER_KEY

NOTHING = PulledWindow((), (), pages=1, complete=True)

Asks = Callable[[], int]


class _List:
    """M-Pesa's list: what it gives, or raises, and the windows that it was asked for."""

    def __init__(self) -> None:
        self.gives: PulledWindow | Exception = NOTHING
        self.asked: list[tuple[datetime, datetime]] = []

    def pull_all(self, *, start: datetime, end: datetime) -> PulledWindow:
        self.asked.append((start, end))
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives


@pytest.fixture
def time(ledger: Ledger) -> Iterator[FrozenDateTimeFactory]:  # noqa: ARG001 - reads its types by the real clock
    with freeze_time("2026-11-16T07:30:00Z") as frozen:
        assert isinstance(frozen, FrozenDateTimeFactory)
        yield frozen


@pytest.fixture
def listed() -> _List:
    return _List()


@pytest.fixture
def transaction_poller(
    time: FrozenDateTimeFactory,  # noqa: ARG001 - stops the clock first
    listed: _List,
    database: Database,
    matcher: Matcher,
    pull_progress: PullProgressStore,
) -> TransactionPoller:
    inbox = Inbox(database, Vault(database, MASTER_KEY))
    return TransactionPoller("174379", cast("DarajaClient", listed), inbox, matcher, pull_progress)


def _transaction(checkout: Checkout, **changed: Any) -> PulledTransaction:
    number = checkout.session.attempts[1].transaction_id
    found = PulledTransaction(
        "UKG7Q2X9LM", 350_00, "2026-11-16 10:31:00", clock.now(), "c2b-pay-bill-debit", f"D{number}", None
    )
    return replace(found, **changed)


def test_every_window_reaches_back_further_than_the_last_one_ended(
    transaction_poller: TransactionPoller, listed: _List, time: FrozenDateTimeFactory
) -> None:
    for _ in range(3):
        assert transaction_poller.pull_if_due() == 0
        assert transaction_poller.pull_if_due() == 0
        time.tick(EVERY)
    assert [end - start for start, end in listed.asked] == [USUAL_WINDOW] * 3
    assert [end for _, end in listed.asked] == [clock.now() - EVERY * hours for hours in (3, 2, 1)]


def test_a_stop_longer_than_the_list_leaves_a_gap(
    transaction_poller: TransactionPoller,
    listed: _List,
    pull_progress: PullProgressStore,
    time: FrozenDateTimeFactory,
) -> None:
    transaction_poller.pull_if_due()
    stopped_at = clock.now()
    time.tick(timedelta(hours=30))
    transaction_poller.pull_if_due()
    assert (listed.asked[-1][0], pull_progress.gaps()) == (stopped_at - OVERLAP, [])
    stopped_at = clock.now()
    time.tick(timedelta(hours=60))
    transaction_poller.pull_if_due()
    earliest = clock.now() - MAX_WINDOW
    assert listed.asked[-1][0] == earliest
    assert [(gap.since, gap.until) for gap in pull_progress.gaps()] == [(stopped_at - OVERLAP, earliest)]


def test_a_refused_pull_is_retried_soon_from_the_same_moment(
    transaction_poller: TransactionPoller,
    listed: _List,
    pull_progress: PullProgressStore,
    time: FrozenDateTimeFactory,
) -> None:
    transaction_poller.pull_if_due()
    until = pull_progress.progress("174379").pulled_until
    time.tick(EVERY)
    listed.gives = Retryable("DARAJA_UNREACHABLE", "It is away.")
    transaction_poller.pull_if_due()
    time.tick(TRY_AGAIN_AFTER)
    listed.gives = replace(NOTHING, complete=False)
    transaction_poller.pull_if_due()
    assert len(listed.asked) == 3
    assert pull_progress.progress("174379").pulled_until == until


def test_a_payment_that_only_the_pull_lists_is_recorded_once(
    transaction_poller: TransactionPoller,
    listed: _List,
    ledger: Ledger,
    database: Database,
    time: FrozenDateTimeFactory,
) -> None:
    checkout = Checkout(ledger, at=clock.now()).request().lose_push_answer()
    failed = Checkout(ledger, at=clock.now()).prompt().cancel()
    unreadable = _transaction(failed, receipt="UKG7Q2X9NB", amount_cents=None)
    rows = (_transaction(checkout), _transaction(failed, receipt="UKG7Q2X9NC"), unreadable)
    listed.gives = PulledWindow(rows, ('{"amount": "5"}',), pages=1, complete=True)
    for _ in range(2):
        assert transaction_poller.pull_if_due() == 2
        time.tick(EVERY)
    assert checkout.session.credits["UKG7Q2X9LM"].evidence == Evidence.C2B
    assert [found.about for found in failed.session.discrepancies.values()] == ["outcome"]
    with database.connection() as connection:
        kept = connection.execute("SELECT state, reason FROM daraja_inbox").fetchall()
    assert [tuple(row.values()) for row in kept] == [("set_aside", "unreadable_row")] * 2
