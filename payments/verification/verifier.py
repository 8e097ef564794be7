"""Verification runs: the invariants of ledger, read side, inbox and shop, each run stored for auditors."""

import gc
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from itertools import islice
from typing import Any
from uuid import uuid4

import structlog
from psycopg import Connection

from ledger import clock
from ledger.store.blocks import KeptName
from ledger.store.database import Database
from ledger.store.vault import Vault
from projections.integrity import verification_runs
from projections.integrity.guards import guarded
from projections.integrity.invariants import Found, Verified, examine
from projections.integrity.processes import Processes
from projections.integrity.verification_runs import Form, VerificationRun
from projections.integrity.violations import Violation, plain, stream
from shop import invariants as shop_invariants

MAX_EVENTS_TO_DOUBLE = 100_000
"""After a run over more events time alone decides: to count them each minute would cost too much."""

GARBAGE_AFTER = 100_000
"""Objects that are made before a search for cycles: what is read is large and has few of them."""

MIN_EVENTS_TO_SHARE = 20_000
"""A smaller log is read before another process has started."""

INCREMENTAL_EVERY = timedelta(hours=1)
SHARE_OF_TIME = 20
"""An incremental run takes at most this part of the time, however large the log is."""

# What the rows of sessions say is compared with their events.
MISMADE_ORDERS = """
SELECT session_id, made.order_id,
       CASE WHEN made.order_id IS NULL THEN 'its order is not in the shop'
            WHEN session.session_status = 'order_created'
                THEN format('order %s is not what its events say', made.order_id)
            ELSE format('order %s was made without its money', made.order_id) END AS detail
FROM shop_orders AS made FULL JOIN (
    SELECT session_id, session_status, order_id, total_cents FROM payment_sessions
    WHERE shop = 'builtin' AND session_status IN ('paid', 'order_created')) AS session USING (session_id)
WHERE (made.order_id IS NULL AND session.session_status = 'order_created')
   OR (made.order_id IS NOT NULL AND made.total_cents IS DISTINCT FROM session.total_cents)
   OR (session.session_status = 'order_created' AND made.order_id IS DISTINCT FROM session.order_id)
ORDER BY session_id
"""


@dataclass(frozen=True, slots=True)
class Invariant:
    """One thing that must always be true, and the rules that ask the store for it; none where the store cannot tell."""

    number: int
    statement: str
    rules: tuple[str, ...]


INVARIANTS = (
    Invariant(1, "Each M-Pesa success is recorded on exactly one session, once.", ("receipts",)),
    Invariant(
        2,
        "A session with money has exactly one of: an order, a refund, or an open case.",
        ("money", "cases", "refunds"),
    ),
    Invariant(3, "There is no order without its money.", ("orders",)),
    Invariant(4, "Received = orders + refunded + held, to the cent.", ("sums",)),
    Invariant(5, "Versions run 1 to n, and every transition is legal.", ("versions", "transitions")),
    Invariant(
        6,
        "What was acknowledged survives a kill. (Shown by killing: the store does not know what it lost.)",
        (),
    ),
    Invariant(
        7,
        "Each acknowledged callback is in the inbox once, and each payment names what proves it.",
        ("letters", "sources", "movements"),
    ),
    Invariant(
        8,
        "Projections equal a fold of the log, row for row.",
        ("rows", "metrics", "refunds", "cases", "search", "books", "daily sums"),
    ),
    Invariant(
        9,
        "Hash chains and signed blocks verify, and each event carries our MAC.",
        ("hash chain", "event macs", "blocks"),
    ),
    Invariant(
        10,
        "One idempotency key has one effect. (Held by a primary key, and shown by repeating requests.)",
        (),
    ),
    Invariant(11, "There is at most one live prompt a session and a phone.", ("prompts",)),
    Invariant(
        12,
        "No personal data are in the clear, and none of a customer who was erased can be read.",
        ("personal data", "erasures"),
    ),
    Invariant(13, "Stock is never negative, and is what was stocked minus what was sold.", ("shop",)),
    Invariant(14, "Each checkout is the session of the key that opened it.", ("checkouts",)),
)


class Verifier:
    """Verifies the store. Reads only, except for the record of the run, and may run beside a working system."""

    def __init__(self, database: Database, vault: Vault, *, prompt_seconds: int, every: timedelta) -> None:
        self._database = database
        self._vault = vault
        self._prompt_seconds = prompt_seconds
        self._every = every

    def run(
        self,
        kept_blocks: Iterable[KeptName] = (),
        *,
        form: Form = Form.WHOLE,
        published: Iterable[bytes] = (),
        processes: Processes | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> VerificationRun:
        """Check every invariant, store the run, and return it. Raises Unavailable.

        `kept_blocks` are names of signed blocks that were kept elsewhere, `published` lines of heads: they must still
        be there. An incremental run
        without an earlier one to start from reads everything. `processes` share a log of more than MIN_EVENTS_TO_SHARE.
        """
        started_at = clock.now()
        if processes is not None and not self._has_events(MIN_EVENTS_TO_SHARE):
            processes = None
        found = examine_all(
            self._database,
            self._vault,
            is_idle=False,
            with_messages=True,
            prompt_seconds=self._prompt_seconds,
            kept_blocks=kept_blocks,
            published=published,
            verified=self._verified() if form is Form.INCREMENTAL else None,
            processes=processes,
            on_progress=on_progress,
        )
        run = VerificationRun(
            uuid4(),
            started_at,
            clock.now(),
            found.events,
            version("daftari"),
            [plain(violation) for violation in found.violations],
            Form.WHOLE if found.is_whole else Form.INCREMENTAL,
            found.last_block.name if found.last_block and not found.violations else None,
        )
        verification_runs.keep(self._database, self._vault.keys, run)
        return run

    def due(self) -> Form | None:
        """Return the form of the run that is due, None if none is.

        A whole one if the last whole one is long enough ago, or the log has doubled since; between them an incremental
        one each INCREMENTAL_EVERY, and after a long run later. Runs without our MAC count for nothing.
        """
        whole = next(self._genuine(Form.WHOLE), None)
        if whole is None:
            return Form.WHOLE if self._has_events(1) else None
        if clock.now() - whole.started_at >= self._every or self._has_doubled(whole):
            return Form.WHOLE
        last = max([whole, *islice(self._genuine(Form.INCREMENTAL), 1)], key=lambda run: run.started_at)
        pause = max(INCREMENTAL_EVERY, SHARE_OF_TIME * (last.finished_at - last.started_at))
        return Form.INCREMENTAL if clock.now() - last.started_at >= pause else None

    def last(self) -> VerificationRun | None:
        """Return the last run of ours, None before the first; the last whole one if that found something."""
        return run_that_counts(*self.latest())

    def latest(self) -> tuple[VerificationRun | None, VerificationRun | None]:
        """Return the last whole run of ours and the last incremental one, each None before the first."""
        return next(self._genuine(Form.WHOLE), None), next(self._genuine(Form.INCREMENTAL), None)

    def _verified(self) -> Verified | None:
        """Return up to where a run of ours, whole or not, found nothing wrong."""
        found = [run for form in Form for run in self._genuine(form) if run.verified_block is not None]
        if not found:
            return None
        run = max(found, key=lambda each: each.started_at)
        return Verified(KeptName.parse(run.verified_block or ""), run.started_at)

    def _genuine(self, form: Form) -> Iterator[VerificationRun]:
        return verification_runs.genuine(self._database, self._vault.keys, form)

    def _has_doubled(self, last: VerificationRun) -> bool:
        return last.events <= MAX_EVENTS_TO_DOUBLE and self._has_events(max(1, 2 * last.events))

    def _has_events(self, number: int) -> bool:
        return verification_runs.count_events(self._database, at_most=number) == number


def run_that_counts(
    whole: VerificationRun | None, incremental: VerificationRun | None
) -> VerificationRun | None:
    """Return the later one of two runs, but a whole one that found something: only another whole run refutes it."""
    if whole is None or whole.violations or incremental is None:
        return whole or incremental
    return max(whole, incremental, key=lambda run: run.finished_at)


def be_silent() -> None:
    """Log nothing in this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def open_store(
    database_url: str, role: str, master_key: bytes, configure_logging: Callable[[], object] = be_silent
) -> tuple[Database, Vault]:
    """Open the store in a process that only verifies, and prints nothing but its log."""
    gc.set_threshold(GARBAGE_AFTER)
    configure_logging()
    database = Database(database_url, max_connections=2, name="daftari verification", role=role)
    return database, Vault(database, master_key)


def violations(database: Database, vault: Vault | None = None, **options: Any) -> list[Violation]:
    """Return every violation in ledger, read side and shop; takes the arguments of `examine`."""
    return examine_all(database, vault, **options).violations


def examine_all(database: Database, vault: Vault | None = None, **options: Any) -> Found:
    """Return what is wrong in ledger, read side and shop; takes the arguments of `examine`."""
    return examine(database, vault, also=_of_shop, **options)


def _of_shop(connection: Connection[Any]) -> Iterator[Violation]:
    yield from guarded(connection, "orders", _mismade_orders(connection))
    yield from guarded(connection, "shop", _broken_in_shop(connection))


def _mismade_orders(connection: Connection[Any]) -> Iterator[Violation]:
    for row in stream(connection, "orders", MISMADE_ORDERS):
        yield Violation("orders", row["detail"], row["session_id"])


def _broken_in_shop(connection: Connection[Any]) -> Iterator[Violation]:
    for detail in shop_invariants.check(connection):
        yield Violation("shop", detail)
