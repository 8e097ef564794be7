"""What must always be true of the whole ledger, asked of the store in one snapshot; reads only.

`check` is for after a fault, and for an operator who wants to know. Sessions are read some hundred at a time, by one
process or several, and what is true of all of them together is asked by SQL, so that memory does not grow with the
store. Each file `*_rules.py` beside this one holds the rules of one subject.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, islice
from typing import Any

from psycopg import Connection

from ledger import clock
from ledger.errors import Unavailable
from ledger.store import blocks
from ledger.store.blocks import Block, KeptName
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.locks import SHARE_SCHEMA
from ledger.store.positions import read_horizon
from ledger.store.vault import Vault
from projections.cases import TABLE as CASES
from projections.figure_sums import TABLE as FIGURE_SUMS
from projections.follower import position_of
from projections.integrity import (
    books_rules,
    erasure_rules,
    inbox_rules,
    log_rules,
    money_rules,
    personal_data_rules,
    projection_rules,
    tree_rules,
)
from projections.integrity.guards import guarded
from projections.integrity.processes import Processes, run_apart, run_here
from projections.integrity.prompt_rules import PhonePrompts
from projections.integrity.session_checks import check_sessions
from projections.integrity.violations import Reader, Tally, Task, Terms, Violation, stream
from projections.journal import TABLE as JOURNAL
from projections.payment_search import TABLE as SEARCH

FOLLOWED = (JOURNAL, SEARCH, FIGURE_SUMS, *(each.name for each in projection_rules.FOLLOWING))
"""The projections whose rows are compared with the log up to where each has followed it."""

SETTLING = timedelta(hours=1)
"""What is under way has ended by then, or never will."""

START_OF_TIME = datetime.min.replace(tzinfo=UTC)
END_OF_TIME = datetime.max.replace(tzinfo=UTC)

MIN_PROMPT_SECONDS = 10

SESSIONS_AT_ONCE = 500
"""In memory of a process, some 4 MB."""

ALL_SESSIONS = """
SELECT session_id FROM payment_events UNION SELECT session_id FROM payment_sessions
UNION SELECT session_id FROM payment_refunds UNION SELECT session_id FROM payment_cases
UNION SELECT session_id FROM checkouts ORDER BY session_id
"""
# Events of another origin came with a dump: those beyond its last block are new every time. No block covers a position
# below the first, which is no append's.
CHANGED_SESSIONS = """
SELECT session_id FROM payment_events WHERE origin = %(origin)s AND (position > %(after)s OR position <= 0)
UNION SELECT session_id FROM payment_events AS event WHERE (origin < %(origin)s OR origin > %(origin)s) AND position > (
    SELECT coalesce(max(until_position), 0) FROM signed_blocks AS block WHERE block.origin = event.origin)
UNION SELECT session_id FROM payment_refunds WHERE state <> 'refunded'
UNION SELECT session_id FROM payment_cases ORDER BY session_id
"""


@dataclass(frozen=True, slots=True)
class Verified:
    """A block up to which a run found nothing wrong, and when that run began."""

    block: KeptName
    at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found: of each rule at most MAX_PER_RULE violations and how many more, over so many events.

    `is_whole` says that every event was read; `last_block` is the last one in the snapshot.
    """

    violations: list[Violation]
    events: int
    is_whole: bool
    last_block: Block | None


@dataclass(frozen=True, slots=True)
class _Span:
    """What of the log is read anew: the events of an origin after a position, 0 for all, and when that was stored.

    `start` names the block at that position, None where all is read. Every event below `horizon` is in the snapshot.
    """

    origin: int
    horizon: int
    after: int
    since: datetime
    start: KeptName | None


def check(database: Database, vault: Vault | None = None, **options: Any) -> list[Violation]:
    """Return what is wrong, nothing if all is well; takes the arguments of `examine`."""
    return examine(database, vault, **options).violations


def examine(
    database: Database,
    vault: Vault | None = None,
    *,
    known_texts: Iterable[str] = (),
    is_idle: bool = True,
    with_messages: bool = False,
    prompt_seconds: int = MIN_PROMPT_SECONDS,
    kept_blocks: Iterable[KeptName] = (),
    published: Iterable[bytes] = (),
    verified: Verified | None = None,
    processes: Processes | None = None,
    also: Callable[[Connection[Any]], Iterator[Violation]] = lambda _: iter(()),
    on_progress: Callable[[int], None] = lambda _: None,
) -> Found:
    """Read one snapshot of the store and return what is wrong.

    With the `vault`, phones are compared, and events and signed blocks have to be signed by its keys. `known_texts` are
    names and addresses that must not be found in the clear. `is_idle` says that nothing is under way, so that a receipt
    reserved a moment ago without a payment is a fault too; `with_messages`, that all callbacks came by the inbox.
    `prompt_seconds` is how long a prompt counts as live; `kept_blocks` are names that somebody kept elsewhere, and
    `published` the lines of heads that were published; `also` asks for what else must be true, in the same snapshot.
    Without `verified` everything is read; with it, if its block
    is there, only sessions with events since, see docs/adr/0020. `processes` share the walk; `on_progress` is told how
    many events were read. Raises Unavailable.
    """
    texts = tuple(text for text in known_texts if text)
    settled_before = END_OF_TIME if is_idle else clock.now() - SETTLING
    macs = EventMacs(database, vault.keys) if vault is not None else None
    if vault is not None:
        vault.keys.is_stored()  # With another master key nothing can be checked, and no rule is broken.
    with database.snapshot() as connection:
        shared = connection.execute(SHARE_SCHEMA).fetchone()
        if shared is None or not shared["shared"]:
            raise Unavailable("The database is being migrated: verify it afterwards.", retry_after_seconds=60)
        span = _span(connection, verified)
        followed = {name: position_of(connection, name, span.origin) for name in FOLLOWED}
        reader = Reader(connection, vault, macs, Terms(prompt_seconds, settled_before, followed, texts))
        whole = tree_rules.tasks(connection) if not span.after else ()
        tasks = chain(_session_tasks(connection, span), log_rules.digest_tasks(connection), whole)
        tallies = (
            run_here(reader, tasks)
            if processes is None
            else run_apart(processes, connection, reader.terms, tasks)
        )
        total, is_whole = _added_up(tallies, on_progress), not span.after
        findings = total.findings
        signed = log_rules.signed_blocks(connection, vault, kept_blocks, span.start, published)
        findings.add(guarded(connection, "blocks", signed))
        for rule, found in _of_tables(reader, span, total):
            findings.add(guarded(connection, rule, found))
        if with_messages:
            messages = inbox_rules.messages(connection, span.origin, span.after)
            findings.add(guarded(connection, "letters", messages))
            sources = inbox_rules.sources(connection, span.origin, span.after)
            findings.add(guarded(connection, "sources", sources))
        if is_whole:
            findings.add(guarded(connection, "tree", tree_rules.nodes(connection)))
            in_the_clear = personal_data_rules.none_in_the_clear(connection, list(texts))
            findings.add(guarded(connection, "personal data", in_the_clear))
        findings.add(also(connection))
        return Found(findings.all(), total.events, is_whole, blocks.newest(connection, span.origin))


def _span(connection: Connection[Any], verified: Verified | None) -> _Span:
    origin, horizon = read_horizon(connection)
    block = blocks.find(connection, verified.block) if verified is not None else None
    if verified is None or block is None or block.origin != origin:
        return _Span(origin, horizon, 0, START_OF_TIME, None)
    return _Span(origin, horizon, block.until_position, verified.at - 2 * SETTLING, verified.block)


def _session_tasks(connection: Connection[Any], span: _Span) -> Iterator[Task]:
    values = {"origin": span.origin, "after": span.after}
    rows = stream(connection, "sessions", CHANGED_SESSIONS if span.after else ALL_SESSIONS, values)
    while some := [row["session_id"] for row in islice(rows, SESSIONS_AT_ONCE)]:
        yield partial(check_sessions, some)


def _added_up(tallies: Iterator[Tally], on_progress: Callable[[int], None]) -> Tally:
    total = Tally()
    with closing(PhonePrompts()) as prompts:
        for tally in tallies:
            prompts.add(tally.prompts)
            tally.prompts.clear()
            total.add(tally)
            on_progress(total.events)
        total.findings.add(prompts.violations())
    return total


def _of_tables(reader: Reader, span: _Span, total: Tally) -> Iterator[tuple[str, Iterator[Violation]]]:
    """Yield what SQL finds over all sessions together, each check with its rule."""
    connection, vault, settled_before = reader.connection, reader.vault, reader.terms.settled_before
    moves = None if span.after else total.moves
    yield "versions", log_rules.positions(connection, span.origin, span.after)
    yield "keys", log_rules.keys(connection, vault)
    yield "api keys", log_rules.api_keys(connection, vault)
    yield "webhook endpoints", log_rules.webhook_endpoints(connection, vault)
    yield "audit log", log_rules.audit_entries(connection, vault)
    yield "receipts", money_rules.references(connection, span.since, settled_before)
    yield "money", money_rules.movements(connection, settled_before)
    yield "movements", money_rules.genuine_movements(connection, vault)
    yield "messages", inbox_rules.genuine(connection, vault, span.since)
    yield "orders", money_rules.paid_sessions_end(connection, clock.now(), reader.terms.followed[CASES])
    yield "sums", money_rules.sums(connection)
    yield "metrics", projection_rules.metrics(connection, span.origin, reader.macs, moves)
    if moves is not None:
        yield "metrics", projection_rules.figures(connection, total.sums)
    yield "books", books_rules.movements(connection, vault, is_whole=not span.after)
    journal = reader.terms.followed[JOURNAL]
    yield "books", books_rules.posted_in_time(connection, span.origin, span.horizon, journal, clock.now())
    yield "erasures", erasure_rules.decided(connection, vault)
    yield "erasures", erasure_rules.nothing_left(connection, settled_before)
    yield "personal data", personal_data_rules.none_in_events(total.in_the_clear)
