"""What must always be true of the whole ledger, asked of the tables in one snapshot; reads only.

`check` is for after a fault, and for an operator who wants to know. It streams the log, so that its memory does not
grow with the number of events. Each file `*_rules.py` beside this one holds the rules of one subject.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from psycopg import Connection

from ledger import clock
from ledger.errors import Unavailable
from ledger.store.blocks import KeptName
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from ledger.store.locks import SHARE_SCHEMA
from ledger.store.positions import read_horizon
from ledger.store.vault import Vault
from projections.cases import TABLE as CASES
from projections.follower import position_of
from projections.integrity import (
    erasure_rules,
    inbox_rules,
    log_rules,
    money_rules,
    personal_data_rules,
    projection_rules,
    prompt_rules,
)
from projections.integrity.money_rules import OrdersOf
from projections.integrity.session_log import SessionLog
from projections.integrity.violations import MAX_PER_RULE, ROWS_AT_ONCE, Violation, Walk
from projections.metrics import TABLE as METRICS

SETTLING = timedelta(hours=1)
"""What is under way has ended by then, or never will."""

END_OF_TIME = datetime.max.replace(tzinfo=UTC)

MIN_PROMPT_SECONDS = 10

SESSIONS_AT_ONCE = 500
"""In memory, so that their customers' keys are read together."""

LOG = f"""
SELECT session_id, version, topic, state::text AS state, metadata::text AS metadata, recorded_at, previous_hash,
       {COLUMNS}
FROM payment_events ORDER BY session_id, version
"""  # noqa: S608 - made of names of our own
ROWS = "SELECT * FROM payment_sessions ORDER BY session_id"


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found: of each rule at most MAX_PER_RULE violations and how many more, over so many events."""

    violations: list[Violation]
    events: int


def check(database: Database, vault: Vault | None = None, **options: Any) -> list[Violation]:
    """Return what is wrong, nothing if all is well; takes the arguments of `examine`."""
    return examine(database, vault, **options).violations


def examine(
    database: Database,
    vault: Vault | None = None,
    *,
    known_texts: Iterable[str] = (),
    orders_of: OrdersOf | None = None,
    is_idle: bool = True,
    with_messages: bool = False,
    prompt_seconds: int = MIN_PROMPT_SECONDS,
    kept_blocks: Iterable[KeptName] = (),
    also: Callable[[Connection[Any]], Iterator[Violation]] = lambda _: iter(()),
) -> Found:
    """Read one snapshot of the whole store and return what is wrong.

    With the `vault`, phones are compared, and events and signed blocks have to be signed by its keys. `known_texts` are
    names and addresses that must not be found in the clear. `orders_of` reads the shop's orders on a connection.
    `is_idle` says that nothing is under way, so that a receipt reserved a moment ago without a payment is a fault too;
    `with_messages`, that all callbacks came by the inbox. `prompt_seconds` is how long a prompt counts as live;
    `kept_blocks` are names that somebody kept elsewhere; `also` asks for what else must be true, in the same snapshot.
    Raises Unavailable.
    """
    settled_before = END_OF_TIME if is_idle else clock.now() - SETTLING
    macs = EventMacs(database, vault.keys) if vault is not None else None
    with database.snapshot() as connection:
        shared = connection.execute(SHARE_SCHEMA).fetchone()
        if shared is None or not shared["shared"]:
            raise Unavailable("The database is being migrated: verify it afterwards.", retry_after_seconds=60)
        origin, _ = read_horizon(connection)
        erased = erasure_rules.erased_before(connection, settled_before)
        walk = Walk(
            vault, macs, prompt_seconds, position_of(connection, METRICS, origin), settled_before, erased
        )
        violations = _limited(
            _sessions(connection, walk),
            log_rules.positions(connection),
            log_rules.signed_blocks(connection, vault, kept_blocks),
            log_rules.audit_entries(connection, vault),
            money_rules.references(connection, walk),
            money_rules.movements(connection, walk),
            money_rules.orders(connection, walk, orders_of),
            money_rules.paid_sessions_end(connection, clock.now(), position_of(connection, CASES, origin)),
            money_rules.sums(connection, walk),
            projection_rules.metrics(connection, walk),
            projection_rules.refunds_and_cases(connection, origin, macs),
            inbox_rules.messages(connection) if with_messages else iter(()),
            inbox_rules.sources(connection) if with_messages else iter(()),
            prompt_rules.one_a_phone(walk),
            erasure_rules.decided(connection, vault),
            erasure_rules.nothing_left(connection, settled_before),
            personal_data_rules.none_in_the_clear(connection, [text for text in known_texts if text]),
            also(connection),
        )
        return Found(violations, walk.events)


def _limited(*rules: Iterator[Violation]) -> list[Violation]:
    found: list[Violation] = []
    counted = Counter[str]()
    for rule in rules:
        for violation in rule:
            counted[violation.rule] += 1
            if counted[violation.rule] <= MAX_PER_RULE:
                found.append(violation)
    more = {rule: count - MAX_PER_RULE for rule, count in counted.items() if count > MAX_PER_RULE}
    return found + [Violation(rule, f"and {count} more of the kind") for rule, count in more.items()]


def _sessions(connection: Connection[Any], walk: Walk) -> Iterator[Violation]:
    for log in _with_keys(_session_logs(connection), walk.vault):
        walk.events += len(log.rows)
        if log.rows:
            yield from _session(log, walk)
        else:
            yield log.violation("rows", "it has a row in payment_sessions and no event")


def _with_keys(logs: Iterator[SessionLog], vault: Vault | None) -> Iterator[SessionLog]:
    """Yield the same logs, with the keys of their customers read some hundreds at a time."""
    while some := list(islice(logs, SESSIONS_AT_ONCE)):
        if vault is not None:
            vault.read_ahead({log.status_row["user_id"] for log in some if log.status_row is not None})
        yield from some


def _session_logs(connection: Connection[Any]) -> Iterator[SessionLog]:
    with connection.cursor(name="log") as events, connection.cursor(name="rows") as status_rows:
        events.itersize = status_rows.itersize = ROWS_AT_ONCE
        by_session = itemgetter("session_id")
        stored = merge(events.execute(LOG), status_rows.execute(ROWS), key=by_session)
        for session_id, group in groupby(stored, key=by_session):
            rows = list(group)
            log = [row for row in rows if "topic" in row]
            yield SessionLog(session_id, log, next((row for row in rows if "topic" not in row), None))


def _session(log: SessionLog, walk: Walk) -> Iterator[Violation]:
    yield from log_rules.hash_chain(log)
    yield from log_rules.genuine(log, walk.macs)
    if not log.rows:
        return
    broken = list(log_rules.versions(log))
    yield from broken
    if broken:
        return
    try:
        yield from log.fold()
    except Exception as error:  # noqa: BLE001 - content that was tampered with may raise anything, and is reported
        yield log.violation("versions", f"its events cannot be read: {type(error).__name__}")
        return
    session = log.session
    assert session is not None
    projection_rules.count(log, walk)
    yield from money_rules.paid_once(log)
    yield from money_rules.balances(log, session)
    yield from projection_rules.status_row_is_fold(log, session)
    prompts = prompt_rules.prompts_of(log, walk.prompt_seconds)
    yield from prompt_rules.one_a_session(log, prompts)
    yield from money_rules.gather(log, session, walk)
    yield from personal_data_rules.decryptable(log, session, prompts, walk)
