"""Finds payments for auditors, by what they know of them: a receipt, a phone, a number, a day, an amount.

A follower copies what is searched by from `payment_sessions` to a table beside it, so that no payment pays for an
index, and keeps a blind index of phones. Both are seconds behind; what is shown is read from `payment_sessions`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from psycopg import Connection

from ledger.clock import start_of_day
from ledger.session.events import (
    Created,
    EvidenceUpgraded,
    Expired,
    Failed,
    OrderCreated,
    Paid,
    PaymentInitiated,
    PaymentRequested,
    PaymentUncertain,
    ReceiptRecorded,
)
from ledger.session.values import Evidence, Status
from ledger.store.customer_keys import KEY_OF, Erased
from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.keyed_digests import keyed_digest
from ledger.store.listing import Key
from ledger.store.vault import CHECKOUT_REFERENCE, PHONE, Vault
from projections.array_texts import array_text
from projections.follower import Recorded
from projections.payment_filters import Filters, FoundPayment
from projections.sessions import STATUS_NOW

TABLE = "payment_search"
PHONE_SEARCH = "phone search"
"""The purpose of the keys of the blind index of phones."""

MAX_WALKED = 5_000
"""So many sessions are looked at for a page at most, where several filters are combined."""

SEARCHED = ("session_id", "created_at", "total_cents", "session_status", "evidence", "order_number")
"""The columns that are copied from `payment_sessions`."""

# Each session is looked up by itself, and the array comes by SELECT, so that one plan is kept. The keys of their owners
# are read along, for the phones of the batch.
COPY = f"""
WITH session AS (
    SELECT held.* FROM unnest((SELECT %s::uuid[])) AS wanted (session_id), LATERAL (
        SELECT {", ".join(SEARCHED)}, user_id FROM payment_sessions WHERE session_id = wanted.session_id OFFSET 0
    ) AS held
),
copied AS (
    INSERT INTO {TABLE} AS known ({", ".join(SEARCHED)})
    SELECT {", ".join(SEARCHED)} FROM session ORDER BY session_id
    ON CONFLICT (session_id) DO UPDATE SET session_status = excluded.session_status, evidence = excluded.evidence,
        order_number = excluded.order_number
    WHERE (known.session_status, known.evidence, known.order_number)
        IS DISTINCT FROM (excluded.session_status, excluded.evidence, excluded.order_number)
)
SELECT session_id, user_id, wrapped_key, wrap_key_id
FROM session LEFT JOIN LATERAL ({KEY_OF} session.user_id OFFSET 0) AS customer ON true
"""  # noqa: S608 - made of names of our own
INDEX_PHONES = "SELECT index_phones(%s::uuid[], %s::bytea[])"

FOUND = f"""
session_id, user_id, {STATUS_NOW} AS session_status, version, total_cents, received_cents, refund_due_cents,
refunded_cents, receipt, evidence, order_id, order_number, failure_code, created_at, paid_at
"""
WALK = """
SELECT * FROM ({source}) AS known WHERE {within} ORDER BY created_at DESC, session_id DESC LIMIT %(walk)s
"""
WITHIN = "created_at >= %(since)s AND created_at < %(until)s AND created_at <= %(as_of)s"
# One row at a time by the primary key, in the order of the walk, until the page is full.
PAGE = """
SELECT session.* FROM ({walk}) AS walked CROSS JOIN LATERAL (
    SELECT {columns} FROM payment_sessions AS held WHERE held.session_id = walked.session_id {wanted} OFFSET 0
) AS session WHERE true {likely} LIMIT %(limit)s
"""
# There if the walk ended because it was long enough, so that more may follow.
LAST_WALKED = "SELECT created_at, session_id FROM ({walk}) AS walked OFFSET %(walk)s - 1"
BEYOND = " AND (created_at, session_id) < (%(key_at)s, %(key_id)s)"

# The topics are spelt out to match their partial indexes.
_OF_CHECKOUT = """
SELECT session_id FROM payment_events
WHERE topic = 'payment_session.payment_initiated.v1' AND state->>'checkout_digest' = %(checkout_digest)s
"""
_OF_TRANSACTION = """
SELECT session_id FROM payment_events
WHERE topic = 'payment_session.payment_requested.v1' AND state->>'transaction_id' = %(transaction_id)s
"""
_OF_RECEIPT = """
SELECT session_id FROM payment_refs WHERE value = ANY(%(receipts)s)
UNION SELECT session_id FROM payment_refunds WHERE reversal_receipt = ANY(%(receipts)s)
"""
_OF_REFERENCE = "SELECT session_id FROM checkouts WHERE reference_digest = %(reference_digest)s"
# So much of each key's digest as may be walked: the sessions of a phone that many share are not read whole.
_OF_PHONES = """
SELECT DISTINCT known.* FROM unnest(%(phone_digests)s::bytea[]) AS phone (digest) CROSS JOIN LATERAL (
    SELECT created_at, session_id FROM payment_phones WHERE phone_digest = phone.digest AND {within}
    ORDER BY created_at DESC, session_id DESC LIMIT %(walk)s
) AS known
"""

# The few are found first, whatever the planner expects of them: OFFSET 0 keeps the order out.
_NAMED = "SELECT created_at, session_id FROM payment_sessions WHERE session_id = ANY(ARRAY({ids})) OFFSET 0"
_SEARCHED = f"SELECT * FROM {TABLE} WHERE {{condition}}"  # noqa: S608 - as above
_ALL = "SELECT created_at, session_id FROM payment_sessions"

SOURCES = {
    "receipts": _NAMED.format(ids=_OF_RECEIPT),
    "checkout_digest": _NAMED.format(ids=_OF_CHECKOUT),
    "transaction_id": _NAMED.format(ids=_OF_TRANSACTION),
    "reference_digest": _NAMED.format(ids=_OF_REFERENCE),
    "order_number": _SEARCHED.format(condition="upper(order_number) = upper(%(order_number)s)"),
    "phone_digests": _OF_PHONES,
    "user_id": f"{_ALL} WHERE user_id = %(user_id)s",
    "amount_cents": _SEARCHED.format(condition="total_cents = %(amount_cents)s"),
    "evidence": _SEARCHED.format(condition="evidence = %(evidence)s"),
    "status": _SEARCHED.format(condition="session_status = %(status)s"),
}
"""Where the sessions of a filter are found in the order of the list; of several filters, the first here is walked."""

CONDITIONS = {
    "receipts": f"AND held.session_id = ANY(ARRAY({_OF_RECEIPT}))",
    "checkout_digest": f"AND held.session_id = ANY(ARRAY({_OF_CHECKOUT}))",
    "transaction_id": f"AND held.session_id = ANY(ARRAY({_OF_TRANSACTION}))",
    "reference_digest": f"AND held.session_id = ANY(ARRAY({_OF_REFERENCE}))",
    "order_number": "AND upper(held.order_number) = upper(%(order_number)s)",
    "phone_digests": """AND (held.created_at, held.session_id) IN (
        SELECT created_at, session_id FROM payment_phones WHERE phone_digest = ANY(%(phone_digests)s))""",
    "user_id": "AND held.user_id = %(user_id)s",
    "amount_cents": "AND held.total_cents = %(amount_cents)s",
    "evidence": "AND held.evidence = %(evidence)s",
    "status": f"AND {STATUS_NOW} = %(status)s",
}

NAMED = f"""
SELECT session_id FROM ({_OF_RECEIPT}) AS of_receipt
UNION SELECT session_id FROM {TABLE} WHERE upper(order_number) = upper(%(order_number)s) LIMIT 10
"""  # noqa: S608 - as above

LIKELY = {
    "amount_cents": "AND walked.total_cents = %(amount_cents)s",
    "evidence": "AND walked.evidence = %(evidence)s",
    "status": "AND walked.session_status = %(status)s",
}
"""What spares a look at a session that payment_search says does not fit, where that is walked."""

CHANGING = ("evidence", "status")
"""What a session was found by at one time and is not at another."""

_START, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_log = structlog.get_logger(__name__)


class PaymentSearch:
    """The follower: copies what is searched by, and indexes phones. It reads rows that may be newer than the event."""

    name = TABLE
    topics = tuple(
        event.TOPIC
        for event in (
            Created,
            PaymentRequested,
            PaymentInitiated,
            PaymentUncertain,
            Paid,
            ReceiptRecorded,
            EvidenceUpgraded,
            OrderCreated,
            Failed,
            Expired,
        )
    )

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Bring the rows of the sessions that the batch is about up to date."""
        ids = array_text(list({event.session_id for event in batch}))
        rows = connection.execute(COPY, (ids,)).fetchall()
        sealed = defaultdict[UUID, list[str]](list)
        for event in batch:
            if (text := event.state.get("phone_sealed")) is not None:
                sealed[event.session_id].append(text)
        if not sealed:
            return
        self._vault.take_keys(rows)
        key = self._vault.keys.current(PHONE_SEARCH)[1]
        digests = [
            (row["session_id"], f"\\x{_digest(key, phone).hex()}")
            for row in rows
            if (texts := sealed.get(row["session_id"]))
            for phone in self._phones(row["session_id"], row["user_id"], texts)
        ]
        if digests:
            connection.execute(INDEX_PHONES, [array_text(column) for column in zip(*digests, strict=True)])

    def _phones(self, session_id: UUID, owner: int, sealed: Iterable[str]) -> set[str]:
        """Return the phones of a session, without those that cannot be read; none where its owner was erased."""
        phones: set[str] = set()
        values = iter([(PHONE, text) for text in sealed])
        while True:
            try:
                phones.update(self._vault.decrypt_each(owner, values, row=session_id))
            except Erased:
                return phones
            except WrongKey:  # Of one value: the next begins where it ended.
                _log.warning("phone_not_indexed", session_id=str(session_id))
            else:
                return phones


def find_payments(
    database: Database, vault: Vault, filters: Filters, *, after: Key | None, limit: int, now: datetime
) -> tuple[list[FoundPayment], Key | None]:
    """Return at most `limit` payments, the newest first, and the key of the next page, None at the end.

    They are what `payment_sessions` says, which only the log proves. A page may be short, or empty, before the end: no
    more than MAX_WALKED sessions are looked at for it. Raises Unavailable, and WrongKey.
    """
    rows, end = _page(database, _values(filters, vault), FOUND, _span(filters, after, limit, now))
    return [FoundPayment(**row) for row in rows], end


def find_keys(
    database: Database, vault: Vault, filters: Filters, *, after: Key | None, limit: int, until: datetime
) -> tuple[list[UUID], Key | None]:
    """Return sessions created until a moment, whatever their status and evidence are, as `find_payments` does.

    Who knows what they were at another moment leaves out those that do not fit.
    """
    values = {name: value for name, value in _values(filters, vault).items() if name not in CHANGING}
    rows, end = _page(database, values, "created_at, session_id", _span(filters, after, limit, until))
    return [row["session_id"] for row in rows], end


def spellings(text: str) -> list[str]:
    """Return a receipt as it may be stored: M-Pesa's are in capitals."""
    return [text, text.upper()]


def sessions_of_receipt(connection: Connection[Any], receipt: str) -> set[UUID]:
    """Return the sessions that M-Pesa's receipt was credited to, or money of which went back by it."""
    rows = connection.execute(_OF_RECEIPT, {"receipts": spellings(receipt)}).fetchall()
    return {row["session_id"] for row in rows}


def sessions_named(database: Database, text: str) -> list[UUID]:
    """Return the sessions, ten at most, of an M-Pesa receipt or an order number, in any letter case.

    An order is found seconds after it.
    """
    with database.connection() as connection:
        rows = connection.execute(NAMED, {"receipts": spellings(text), "order_number": text}).fetchall()
    return [row["session_id"] for row in rows]


def _page(
    database: Database, values: dict[str, Any], columns: str, span: dict[str, Any]
) -> tuple[list[dict[str, Any]], Key | None]:
    used, limit = [name for name in SOURCES if name in values], span["limit"]
    # Most payments are known by callback: any status but that of most payments has fewer.
    driver = "status" if used == ["evidence", "status"] and _is_common(values) else next(iter(used), None)
    within = WITHIN + (BEYOND if span["key_id"] else "")
    walk = WALK.format(source=(SOURCES[driver] if driver else _ALL).format(within=within), within=within)
    likely = [LIKELY[name] for name in LIKELY if driver in LIKELY and name in used]
    wanted = " ".join(CONDITIONS[name] for name in used)
    page = PAGE.format(walk=walk, columns=columns, wanted=wanted, likely=" ".join(likely))
    values = values | span | {"walk": limit + 1 if len(used) <= 1 else MAX_WALKED, "limit": limit + 1}
    with database.connection() as connection:
        rows = connection.execute(page.encode(), values).fetchall()
        if len(rows) > limit:
            return rows[:limit], _key(rows[limit - 1])
        last = connection.execute(LAST_WALKED.format(walk=walk).encode(), values).fetchone()
    return rows, _key(last) if last else None


def _is_common(values: Mapping[str, Any]) -> bool:
    return bool(values["evidence"] == Evidence.CALLBACK and values["status"] != Status.ORDER_CREATED)


def _span(filters: Filters, after: Key | None, limit: int, as_of: datetime) -> dict[str, Any]:
    since, until = _START, _END
    if filters.day is not None:
        since = start_of_day(filters.day)
        until = since + timedelta(days=1)
    key_at, key_id = after or (None, None)
    return {
        "since": since,
        "until": until,
        "as_of": as_of,
        "now": as_of,
        "key_at": key_at,
        "key_id": key_id,
        "limit": limit,
    }


def _values(filters: Filters, vault: Vault) -> dict[str, Any]:
    phone, checkout, number = filters.phone, filters.checkout_id, filters.transaction_id
    reference = filters.checkout_reference
    given = {
        "receipts": filters.receipt and spellings(filters.receipt),
        "checkout_digest": checkout and vault.digest("checkout", checkout),
        "transaction_id": None if number is None else str(number),
        "reference_digest": reference and vault.digest(CHECKOUT_REFERENCE, reference),
        "order_number": filters.order_number,
        "phone_digests": phone and [_digest(key.key, phone) for key in vault.keys.keys(PHONE_SEARCH)],
        "user_id": filters.user_id,
        "amount_cents": filters.amount_cents,
        "evidence": filters.evidence and str(filters.evidence),
        "status": filters.status and str(filters.status),
    }
    return {name: value for name, value in given.items() if value is not None}


def _key(row: Mapping[str, Any]) -> Key:
    return row["created_at"], row["session_id"]


def _digest(key: bytes, phone: str) -> bytes:
    return keyed_digest(key, phone.encode())
