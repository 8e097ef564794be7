"""What must always be true of the whole ledger, asked of the tables in one snapshot; reads only.

`check` is for after a fault, and for an operator who wants to know. It streams the log, so that its memory does not
grow with the number of events.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from eventsourcing.domain import OriginatorIDError, OriginatorVersionError
from eventsourcing.persistence import MapperDeserialisationError
from eventsourcing.utils import TopicError
from psycopg import Connection

from ledger import clock
from ledger.application import RECEIPT
from ledger.store import blocks
from ledger.store.database import Database
from ledger.store.positions import read_horizon
from ledger.store.vault import Erased, Vault, WrongKey
from projections import cases, refunds
from projections.follower import position_of
from projections.integrity import session_rules
from projections.integrity.session_rules import Life, Prompt
from projections.metrics import FROM_SESSIONS, READ_ALL, TABLE, Figures, fold

MAX_TOLD = 200
"""After so many violations of a rule nothing more is learnt from one more; they are counted."""

SETTLING = timedelta(hours=1)
"""What is under way has ended by then, or never will."""

END_OF_TIME = datetime.max.replace(tzinfo=UTC)

MIN_PROMPT_SECONDS = 10
_ROWS_AT_ONCE = 2_000

ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
TAKE_YOUR_TIME = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
LOG = """
SELECT session_id, version, topic, state::text AS state, position, recorded_at, previous_hash, hash
FROM payment_events ORDER BY session_id, version
"""
ROWS = "SELECT * FROM payment_sessions ORDER BY session_id"
REFERENCES = "SELECT value, session_id, reserved_at FROM payment_refs WHERE kind = %s"
SHARED_POSITIONS = """
SELECT position FROM payment_events GROUP BY origin, position HAVING count(*) > 1 LIMIT %s
"""
MONEY_OF_ROWS = """
SELECT coalesce(sum(received_cents), 0)::bigint AS received,
       coalesce(sum(total_cents) FILTER (WHERE session_status = 'order_created'), 0)::bigint AS orders,
       coalesce(sum(refunded_cents), 0)::bigint AS refunded,
       coalesce(sum(refund_due_cents), 0)::bigint
     + coalesce(sum(total_cents) FILTER (WHERE session_status = 'paid'), 0)::bigint AS held
FROM payment_sessions
"""
# Sealed values and hashes are long runs of letters and digits, so a number counts only where it stands by itself.
PERSONAL = r"(^|[^0-9A-Za-z_-])\+?(254[17][0-9]{8}|0[17][0-9]{8})($|[^0-9A-Za-z_-])|ws_CO_"
UNWITNESSED = """
SELECT DISTINCT session_id FROM payment_events AS event
WHERE topic IN ('payment_session.paid.v1', 'payment_session.surplus_received.v1') AND state->>'evidence' = 'callback'
  AND NOT EXISTS (SELECT FROM daraja_inbox AS letter
                  WHERE letter.session_id = event.session_id AND letter.channel = 'stk' AND letter.is_proven)
LIMIT %s
"""
MESSAGES_OF_THE_SYSTEM = """
SELECT DISTINCT session_id FROM daraja_inbox AS letter
WHERE session_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM payment_events AS event WHERE event.session_id = letter.session_id)
LIMIT %s
"""
SETTLED_MOVEMENTS = """
SELECT receipt, session_id FROM mpesa_movements
WHERE kind = 'payment' AND verdict IN ('posted', 'credited', 'amount_differs')
"""
OPEN_MOVEMENTS = """
SELECT receipt FROM mpesa_movements
WHERE kind = 'payment' AND verdict = 'unknown' AND closed_at IS NULL AND first_seen_at < %s
"""
IN_THE_CLEAR = """
SELECT count(*) AS rows FROM {table} AS t
WHERE {text} ~ %(pattern)s OR EXISTS (SELECT FROM unnest(%(texts)s::text[]) AS known WHERE strpos({text}, known) > 0)
"""
# Of an event the state alone: a position may happen to have the digits of a phone.
TABLES_WITHOUT_PERSONS = {
    "payment_events": "t.state::text",
    "payment_sessions": "t::text",
    "payment_refunds": "t::text",
    "payment_cases": "t::text",
    "mpesa_movements": "t::text",
    "reconciliations": "t::text",
    "daraja_inbox": "t::text",
    "follower_failures": "t::text",
    "attempt_checks": "t::text",
    "shop_orders": "t::text",
}
EXISTS = "SELECT to_regclass(%s) IS NOT NULL AS there"


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be; `told` says what, without personal data."""

    rule: str
    told: str
    session_id: UUID | None = None

    def __str__(self) -> str:
        return f"{self.rule}: {f'session {self.session_id}: ' if self.session_id else ''}{self.told}"


@dataclass(frozen=True, slots=True)
class ShopOrder:
    """An order as the shop has it; amounts are cents."""

    session_id: UUID
    order_id: int
    total_cents: int


OrdersOf = Callable[[Connection[Any]], Iterable[ShopOrder]]


@dataclass
class _Walk:
    """What is gathered on the way through the log."""

    position: int
    vault: Vault | None
    prompt_seconds: int
    receipts: dict[str, UUID] = field(default_factory=dict)
    orders: dict[UUID, tuple[int, int]] = field(default_factory=dict)
    awaiting_order: dict[UUID, int] = field(default_factory=dict)
    followed: dict[datetime, Figures] = field(default_factory=dict)
    figures: dict[datetime, Figures] = field(default_factory=dict)
    prompts: dict[str, list[Prompt]] = field(default_factory=lambda: defaultdict(list))


def check(
    database: Database,
    vault: Vault | None = None,
    *,
    known_texts: Iterable[str] = (),
    orders_of: OrdersOf | None = None,
    is_idle: bool = True,
    with_messages: bool = False,
    prompt_seconds: int = MIN_PROMPT_SECONDS,
    kept_blocks: Iterable[blocks.KeptName] = (),
) -> list[Violation]:
    """Return what is wrong, of each rule at most MAX_TOLD and how many more; nothing where all is well.

    With the `vault`, phones are compared, and signed blocks have to be signed by its key. `known_texts` are names and
    addresses that must not be found in the clear. `orders_of` reads the shop's orders on the given connection.
    `is_idle` says that nothing is under way, so that a receipt reserved a moment ago without a payment is a fault too;
    `with_letters`, that all callbacks came by the inbox. `prompt_seconds` is how long a prompt counts as live;
    `kept_blocks` are names that somebody kept elsewhere.
    """
    found: list[Violation] = []
    counted = Counter[str]()
    settled_before = END_OF_TIME if is_idle else clock.now() - SETTLING
    with database.transaction() as connection:
        connection.execute(ONE_SNAPSHOT)
        connection.execute(TAKE_YOUR_TIME)
        origin, _ = read_horizon(connection)
        walk = _Walk(position_of(connection, TABLE, origin), vault, prompt_seconds)
        rules: list[Iterator[Violation]] = [
            _sessions(connection, walk),
            _positions(connection),
            _blocks(connection, vault, kept_blocks),
            _references(connection, walk, settled_before),
            _movements(connection, walk, settled_before),
            _orders(connection, walk, orders_of),
            _sums(connection),
            _metrics(connection, walk),
            _refunds(connection, origin),
            _cases(connection, origin),
            _messages(connection) if with_messages else iter(()),
            _phones(walk),
            _personal_data(connection, [text for text in known_texts if text]),
        ]
        for rule in rules:
            for violation in rule:
                counted[violation.rule] += 1
                if counted[violation.rule] <= MAX_TOLD:
                    found.append(violation)
    more = {rule: count - MAX_TOLD for rule, count in counted.items() if count > MAX_TOLD}
    return found + [Violation(rule, f"and {count} more of the kind") for rule, count in more.items()]


def _sessions(connection: Connection[Any], walk: _Walk) -> Iterator[Violation]:
    for life in _lives(connection):
        if not life.facts:
            yield Violation("rows", "it has a row in payment_sessions and no event", life.session_id)
            continue
        for rule, told in _told_of(life, walk):
            yield Violation(rule, told, life.session_id)


def _lives(connection: Connection[Any]) -> Iterator[Life]:
    with connection.cursor(name="log") as log, connection.cursor(name="rows") as rows:
        log.itersize = rows.itersize = _ROWS_AT_ONCE
        by_session = itemgetter("session_id")
        written = merge(log.execute(LOG), rows.execute(ROWS), key=by_session)
        for session_id, group in groupby(written, key=by_session):
            entries = list(group)
            facts = [entry for entry in entries if "topic" in entry]
            yield Life(session_id, facts, next((entry for entry in entries if "topic" not in entry), None))


def _told_of(life: Life, walk: _Walk) -> Iterator[tuple[str, str]]:
    yield from (("hash chain", told) for told in session_rules.hash_chain(life))
    broken = list(session_rules.versions(life))
    yield from (("versions", told) for told in broken)
    if broken:
        return
    try:
        yield from (("transitions", told) for told in life.fold())
    except (MapperDeserialisationError, TopicError, OriginatorIDError, OriginatorVersionError) as error:
        yield "versions", f"its events cannot be read: {type(error).__name__}"
        return
    session = life.session
    assert session is not None
    yield from (("receipts", told) for told in session_rules.paid_once(life))
    yield from (("money", told) for told in session_rules.money(life, session))
    yield from (("rows", told) for told in session_rules.row_is_fold(life, session))
    prompts = life.prompts(walk.prompt_seconds)
    yield from (("prompts", told) for told in session_rules.one_prompt_at_a_time(prompts))
    yield from (("receipts", told) for told in _gather(walk, life))
    yield from (("personal data", told) for told in _decrypt_fields(walk, life, prompts))


def _gather(walk: _Walk, life: Life) -> Iterator[str]:
    session = life.session
    assert session is not None
    for receipt in life.receipts:
        if walk.receipts.setdefault(receipt, life.session_id) != life.session_id:
            yield f"receipt {receipt} is credited to another session too"
    if session.order is not None:
        walk.orders[life.session_id] = session.order[0], session.totals.total_cents
    elif session.status == "paid":
        walk.awaiting_order[life.session_id] = session.totals.total_cents
    fold(life.facts, walk.figures)
    fold((fact for fact in life.facts if fact.position <= walk.position), walk.followed)


def _decrypt_fields(walk: _Walk, life: Life, prompts: list[Prompt]) -> Iterator[str]:
    session = life.session
    if walk.vault is None or session is None:
        return
    try:
        walk.vault.decrypt(session.user_id, session.delivery_sealed)
        for prompt in prompts:
            phone = walk.vault.decrypt(session.user_id, prompt.phone_sealed)
            walk.prompts[walk.vault.digest("one prompt a phone", phone)].append(prompt)
    except Erased:
        return
    except (WrongKey, ValueError):  # What is cut short is no sealed value at all.
        yield "a sealed value of it does not open"


def _stream(
    connection: Connection[Any], name: str, statement: str, *values: object
) -> Iterator[dict[str, Any]]:
    """Read rows without keeping them all in memory."""
    with connection.cursor(name=name) as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        yield from cursor.execute(statement.encode(), values)


def _positions(connection: Connection[Any]) -> Iterator[Violation]:
    for row in connection.execute(SHARED_POSITIONS, (MAX_TOLD,)):
        yield Violation("versions", f"position {row['position']} is not of one event only")


def _blocks(
    connection: Connection[Any], vault: Vault | None, kept: Iterable[blocks.KeptName]
) -> Iterator[Violation]:
    own_key = vault.block_key.public_key() if vault is not None else None
    for told in blocks.faults(connection, own_key):
        yield Violation("blocks", told)
    for name in kept:
        if not blocks.is_kept(connection, name):
            told = f"block {name.origin}-{name.number} is not there as it was when its name was kept"
            yield Violation("blocks", told)


def _references(connection: Connection[Any], walk: _Walk, settled_before: datetime) -> Iterator[Violation]:
    unreserved = set(walk.receipts)
    for row in _stream(connection, "references", REFERENCES, RECEIPT):
        holder = walk.receipts.get(row["value"])
        if holder == row["session_id"]:
            unreserved.discard(row["value"])
        elif holder is None and row["reserved_at"] < settled_before:
            told = f"receipt {row['value']} is reserved, and no event speaks of it"
            yield Violation("receipts", told, row["session_id"])
    for receipt in sorted(unreserved):
        told = f"receipt {receipt} is credited without being reserved"
        yield Violation("receipts", told, walk.receipts[receipt])


def _movements(connection: Connection[Any], walk: _Walk, settled_before: datetime) -> Iterator[Violation]:
    """Money that M-Pesa told of is booked where it says, or is an open case: one of the two."""
    for row in _stream(connection, "movements", SETTLED_MOVEMENTS):
        if walk.receipts.get(row["receipt"]) != row["session_id"]:
            told = (
                f"M-Pesa told of receipt {row['receipt']}, which was booked on it, and it has no such money"
            )
            yield Violation("receipts", told, row["session_id"])
    for row in _stream(connection, "open_movements", OPEN_MOVEMENTS, settled_before):
        if row["receipt"] in walk.receipts:
            told = f"receipt {row['receipt']} is credited to it, and waits as money of nobody as well"
            yield Violation("money", told, walk.receipts[row["receipt"]])


def _orders(connection: Connection[Any], walk: _Walk, orders_of: OrdersOf | None) -> Iterator[Violation]:
    if orders_of is None:
        return
    made = {order.session_id: order for order in orders_of(connection)}
    for session_id, order in made.items():
        known = walk.orders.get(session_id)
        if known is None and walk.awaiting_order.get(session_id) != order.total_cents:
            yield Violation("orders", f"order {order.order_id} was made without its money", session_id)
        elif known is not None and known != (order.order_id, order.total_cents):
            yield Violation("orders", f"order {order.order_id} is not what its events say", session_id)
    for session_id in walk.orders.keys() - made.keys():
        yield Violation("orders", "its order is not in the shop", session_id)


def _sums(connection: Connection[Any]) -> Iterator[Violation]:
    row = connection.execute(MONEY_OF_ROWS).fetchone()
    assert row is not None
    if row["received"] != row["orders"] + row["refunded"] + row["held"]:
        told = ", ".join(f"{name} {cents}" for name, cents in row.items())
        yield Violation("sums", f"received is not orders + refunded + held, in cents: {told}")


def _metrics(connection: Connection[Any], walk: _Walk) -> Iterator[Violation]:
    for told, statement, figures in (
        ("payment_metrics is not what the events come to", READ_ALL, walk.followed),
        (
            "the rows of payment_sessions do not count up to what the events come to",
            FROM_SESSIONS,
            walk.figures,
        ),
    ):
        stored = {row.pop("hour"): row for row in connection.execute(statement.encode()).fetchall()}
        for hour in sorted(stored.keys() | figures.keys()):
            expected = figures.get(hour, Figures())
            if hour not in stored or any(expected.get(name, 0) != n for name, n in stored[hour].items()):
                yield Violation("metrics", f"{told} in the hour of {hour.isoformat()}")


def _refunds(connection: Connection[Any], origin: int) -> Iterator[Violation]:
    followed_until = position_of(connection, refunds.TABLE, origin)
    for session_id, told in refunds.differences(connection, followed_until):
        yield Violation("refunds", told, session_id)


def _cases(connection: Connection[Any], origin: int) -> Iterator[Violation]:
    followed_until = position_of(connection, cases.TABLE, origin)
    for session_id, told in cases.differences(connection, followed_until):
        yield Violation("cases", told, session_id)


def _messages(connection: Connection[Any]) -> Iterator[Violation]:
    for row in connection.execute(UNWITNESSED, (MAX_TOLD,)):
        told = "its payment is known by a callback, and none is in the inbox"
        yield Violation("letters", told, row["session_id"])
    for row in connection.execute(MESSAGES_OF_THE_SYSTEM, (MAX_TOLD,)):
        yield Violation("letters", "the inbox has a letter about it, and it has no event", row["session_id"])


def _phones(walk: _Walk) -> Iterator[Violation]:
    for prompts in walk.prompts.values():
        for told in session_rules.one_prompt_at_a_time(prompts):
            yield Violation("prompts", f"on one phone, {told}")


def _personal_data(connection: Connection[Any], texts: list[str]) -> Iterator[Violation]:
    for table, text in TABLES_WITHOUT_PERSONS.items():
        there = connection.execute(EXISTS, (table,)).fetchone()
        if there is None or not there["there"]:
            continue
        statement = IN_THE_CLEAR.format(table=table, text=text).encode()
        row = connection.execute(statement, {"pattern": PERSONAL, "texts": texts}).fetchone()
        if row is not None and row["rows"]:
            yield Violation("personal data", f"{row['rows']} rows of {table} hold personal data in the clear")
