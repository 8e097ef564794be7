"""Audit what was acknowledged and what M-Pesa knows against the log, independently of `daftari verify`."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.store.database import Database
from tests.torture.acknowledgements import (
    Acknowledgement,
    Acknowledgements,
    Created,
    Extended,
    Ordered,
    Prompted,
)
from tests.torture.simulator_control import Payment, Reversal

_EVENTS = """
SELECT session_id::text, topic, state FROM payment_events ORDER BY session_id, version
"""
_ORDERS = "SELECT session_id::text, order_id, order_number FROM shop_orders"
_CREDITS = ("paid", "surplus_received", "receipt_recorded")
_TOPIC = "payment_session."
_VERSION = ".v1"

Digest = Callable[[str], str]


@dataclass
class Books:
    """Our books as plain data: the events of each session by kind, and the shop's orders."""

    events: dict[str, dict[str, list[dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    orders: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))

    def of(self, session_id: str, kind: str) -> list[dict[str, Any]]:
        """Return the events of a kind of one session, none if there is no such session."""
        return self.events[session_id][kind] if session_id in self.events else []


def read_books(database: Database) -> Books:
    """Read the whole log and the shop's orders."""
    books = Books()
    with database.transaction() as connection:
        for row in connection.execute(_EVENTS):
            kind = row["topic"].removeprefix(_TOPIC).removesuffix(_VERSION)
            books.events[row["session_id"]][kind].append(row["state"])
        for row in connection.execute(_ORDERS):
            books.orders[row["session_id"]].append((row["order_id"], row["order_number"]))
    return books


def broken_acknowledgements(books: Books, acknowledged: Acknowledgements, digest: Digest) -> Iterator[str]:
    """Yield a sentence for each acknowledgement that does not hold, and each key that took effect twice.

    `digest` computes the blind index of a CheckoutRequestID.
    """
    for record in acknowledged.records:
        if not _is_true(books, record, digest):
            kind = type(record).__name__
            yield f"session {record.session_id}: {kind} was acknowledged and does not hold"
    yield from _done_twice(books, acknowledged)


def _is_true(books: Books, record: Acknowledgement, digest: Digest) -> bool:
    match record:
        case Created():
            events = books.of(record.session_id, "created")
            return [(event["user_id"], event["totals"]["total_cents"]) for event in events] == [
                (record.user, record.total_cents)
            ]
        case Extended():
            until = [event["expires_at"][:19] for event in books.of(record.session_id, "extended")]
            return record.expires_at[:19] in until
        case Prompted():
            return _is_prompted(books, record, digest)
        case Ordered():
            order = (record.order_id, record.order_number)
            noted = [
                (event["order_id"], event["order_number"])
                for event in books.of(record.session_id, "order_created")
            ]
            return noted == books.orders[record.session_id] == [order]


def _is_prompted(books: Books, record: Prompted, digest: Digest) -> bool:
    """Whether the attempt has its id. One that was paid before M-Pesa's answer came has none."""
    requested = [
        event["attempt"]
        for event in books.of(record.session_id, "payment_requested")
        if event["transaction_id"] == record.transaction_id
    ]
    if len(requested) != 1 or record.checkout_request_id is None:
        return len(requested) == 1
    initiated, paid = (
        [event for event in books.of(record.session_id, kind) if event["attempt"] == requested[0]]
        for kind in ("payment_initiated", "paid")
    )
    ids = [event["checkout_digest"] for event in initiated]
    return ids == [digest(record.checkout_request_id)] or (not ids and bool(paid))


def _done_twice(books: Books, acknowledged: Acknowledgements) -> Iterator[str]:
    owners = Counter(events["created"][0]["user_id"] for events in books.events.values())
    for user, sessions in owners.items():
        if sessions > acknowledged.keys_of_user[user]:
            yield f"user {user} has {sessions} sessions under {acknowledged.keys_of_user[user]} keys"
    for session_id, keys in list(acknowledged.keys_of_session.items()):
        for command, effects in _effects(books, session_id).items():
            if effects > keys[command]:
                yield f"session {session_id}: {command} took effect {effects} times under {keys[command]} keys"


def _effects(books: Books, session_id: str) -> dict[str, int]:
    """Count the effects of commands. A prompt that M-Pesa refused was not sent: its key is good for another."""
    requested, refused, extended = (
        len(books.of(session_id, kind)) for kind in ("payment_requested", "payment_refused", "extended")
    )
    return {"initiate": requested - refused, "extend": extended}


def payment_differences(books: Books, truth: Sequence[Payment]) -> Iterator[str]:
    """Yield a sentence for each payment in M-Pesa's books that is not credited to exactly its session, and each
    receipt of ours that M-Pesa does not know.
    """
    session_of, credited_to = _credits(books)
    for payment in truth:
        credited = credited_to.pop(payment.receipt, [])
        session_id = session_of.get(payment.transaction_id)
        if [session for session, _ in credited] != [session_id]:
            yield (
                f"session {session_id}: receipt {payment.receipt} is on {len(credited)} sessions "
                f"{' '.join(session for session, _ in credited)}"
            )
        elif credited[0][1] not in (None, payment.amount_cents):
            yield f"session {session_id}: receipt {payment.receipt} has another amount here"
    for receipt, credited in credited_to.items():
        yield f"session {credited[0][0]}: receipt {receipt} is not in M-Pesa's books"
    paid_there = Counter[str | None](session_of.get(payment.transaction_id) for payment in truth)
    for session_id, events in books.events.items():
        paid_here = len(events["paid"]) + len(events["surplus_received"])
        if paid_here != paid_there[session_id]:
            yield f"session {session_id}: paid {paid_here} times here, {paid_there[session_id]} times in M-Pesa's books"


def reversal_differences(books: Books, truth: Sequence[Reversal]) -> Iterator[str]:
    """Yield a sentence for each payment that was reversed more than once, and each refund without its reversal or
    reversal without its refund.
    """
    there = Counter(reversal.of_receipt for reversal in truth)
    here = _refunded_receipts(books)
    for receipt in there.keys() | here.keys():
        if there[receipt] > 1:
            yield f"receipt {receipt} was reversed {there[receipt]} times"
        if len(here[receipt]) != there[receipt]:
            yield (
                f"session {' '.join(here[receipt])}: receipt {receipt} is refunded {len(here[receipt])} times here, "
                f"and was reversed {there[receipt]} times"
            )


def _refunded_receipts(books: Books) -> dict[str, list[str]]:
    """Return the sessions that refunded each receipt; there are no refunds by hand in a run."""
    found: dict[str, list[str]] = defaultdict(list)
    for session_id, events in books.events.items():
        recorded_later = {event["attempt"]: event["receipt"] for event in events["receipt_recorded"]}
        due = {event["refund"]: event for event in events["refund_due"]}
        for event in events["refunded"]:
            refund = due[event["refund"]]
            found[refund["receipt"] or recorded_later[refund["attempt"]]].append(session_id)
    return found


def _credits(books: Books) -> tuple[dict[int, str], dict[str, list[tuple[str, int | None]]]]:
    """Return the session of each transaction id, and the credits of each receipt: session, and cents if known."""
    session_of: dict[int, str] = {}
    credited_to: dict[str, list[tuple[str, int | None]]] = defaultdict(list)
    for session_id, events in books.events.items():
        for event in events["payment_requested"]:
            session_of[event["transaction_id"]] = session_id
        for kind in _CREDITS:
            for event in events[kind]:
                if event["receipt"] is not None:
                    credited_to[event["receipt"]].append((session_id, event.get("amount_cents")))
    return session_of, credited_to
