"""Every projection that can be rebuilt, by name: its version, and how it is compared with the log and mended."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ledger.errors import Unavailable
from ledger.session import status_row
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.locks import ActiveLock, LockConnection
from projections import cases, figure_sums, journal, metrics, payment_search, refunds
from projections.mended_rows import SEARCH_VERSION, MendedSearch, MendedSessions
from projections.rebuild_runs import Rebuilt, Run, built_versions
from projections.session_walk import SESSIONS_AT_ONCE, walk

FIRST_VERSION = 1
"""The version of a projection that no rebuild has made: its follower has, from the first event."""

SEARCHED_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Rebuildable:
    """A projection: `version` counts up where other rows follow from the same events; `rebuild` makes them so."""

    version: int
    rebuild: Callable[..., Rebuilt]


def _rebuild_sessions(run: Run, macs: EventMacs, batch_size: int = SESSIONS_AT_ONCE) -> Rebuilt:
    return walk(run, MendedSessions(macs), batch_size)


def _rebuild_search(run: Run, _macs: EventMacs, batch_size: int = SEARCHED_AT_ONCE) -> Rebuilt:
    return walk(run, MendedSearch(), batch_size)


# The first is what the second is copied from.
REBUILDABLE: dict[str, Rebuildable] = {
    "payment_sessions": Rebuildable(status_row.VERSION, _rebuild_sessions),
    payment_search.TABLE: Rebuildable(SEARCH_VERSION, _rebuild_search),
    metrics.TABLE: Rebuildable(metrics.VERSION, metrics.rebuild),
    figure_sums.TABLE: Rebuildable(figure_sums.VERSION, figure_sums.rebuild),
    refunds.TABLE: Rebuildable(refunds.PaymentRefunds.version, refunds.PaymentRefunds.rebuild),
    cases.TABLE: Rebuildable(cases.PaymentCases.version, cases.PaymentCases.rebuild),
    journal.TABLE: Rebuildable(journal.VERSION, journal.rebuild),
}


def rebuild(
    database: Database,
    macs: EventMacs,
    name: str,
    *,
    dry_run: bool = False,
    on_progress: Callable[[float], None] = lambda _: None,
    at_once: int | None = None,
) -> Rebuilt:
    """Compare a projection with the log from the first event on, and mend what differs; with `dry_run` only compare.

    Payments, reads and followers go on meanwhile. One that was ended goes on where it was. `at_once` is the size of a
    batch. Raises Unavailable, also where another process rebuilds this projection, and WrongKey.
    """
    macs.keys.is_stored()  # With another master key every event would count as forged.
    projection = REBUILDABLE[name]
    lock = ActiveLock(LockConnection(database.url), f"rebuild {name}")
    try:
        if not lock.try_acquire():
            detail = f"{name} is being rebuilt by another process. Wait until that has ended."
            raise Unavailable(detail, retry_after_seconds=60)
        run = Run(database, name, projection.version, dry_run=dry_run, on_progress=on_progress)
        work = projection.rebuild if at_once is None else partial(projection.rebuild, batch_size=at_once)
        return work(run, macs)
    finally:
        lock.release()


def outdated(database: Database) -> list[str]:
    """Return the projections that an older version of the code has made. Raises Unavailable."""
    built = built_versions(database)
    return [name for name, each in REBUILDABLE.items() if built.get(name, FIRST_VERSION) < each.version]
