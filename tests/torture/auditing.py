"""Audit what was acknowledged and what M-Pesa knows against the log, independently of `daftari verify`."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.store.database import Database
from tests.torture.acknowledgements import Created, Extended, Ordered, Promise, Promises, Prompted
from tests.torture.mpesa import Payment, Reversal

_FACTS = """
SELECT session_id::text, topic, state FROM payment_events ORDER BY session_id, version
"""
_ORDERS = "SELECT session_id::text, order_id, order_number FROM shop_orders"
_CREDITS = ("paid", "surplus_received", "receipt_recorded")
_TOPIC = "payment_session."
_VERSION = ".v1"

Digest = Callable[[str], str]


@dataclass
class Books:
    """What the store knows, as plain data: the facts of each session by kind, and the shop's orders."""

    facts: dict[str, dict[str, list[dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    orders: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))

    def of(self, session_id: str, kind: str) -> list[dict[str, Any]]:
        """Return the facts of a kind of one session, none where there is no such session."""
        return self.facts[session_id][kind] if session_id in self.facts else []


def read_books(database: Database) -> Books:
    """Read the whole log and the shop's orders."""
    books = Books()
    with database.transaction() as connection:
        for row in connection.execute(_FACTS):
            kind = row["topic"].removeprefix(_TOPIC).removesuffix(_VERSION)
            books.facts[row["session_id"]][kind].append(row["state"])
        for row in connection.execute(_ORDERS):
            books.orders[row["session_id"]].append((row["order_id"], row["order_number"]))
    return books


def broken_promises(books: Books, promises: Promises, digest: Digest) -> Iterator[str]:
    """Yield a sentence for each acknowledgement that the store does not bear out, and each effect a key had twice.

    `digest` makes of a CheckoutRequestID what stands for it in the log.
    """
    for promise in promises.made:
        if not _is_true(books, promise, digest):
            yield f"session {promise.session_id}: {type(promise).__name__} was acknowledged and is not so"
    yield from _done_twice(books, promises)


def _is_true(books: Books, promise: Promise, digest: Digest) -> bool:
    match promise:
        case Created():
            facts = books.of(promise.session_id, "created")
            return [(fact["user_id"], fact["totals"]["total_cents"]) for fact in facts] == [
                (promise.user, promise.total_cents)
            ]
        case Extended():
            until = [fact["expires_at"][:19] for fact in books.of(promise.session_id, "extended")]
            return promise.expires_at[:19] in until
        case Prompted():
            return _is_prompted(books, promise, digest)
        case Ordered():
            order = (promise.order_id, promise.order_number)
            noted = [
                (fact["order_id"], fact["order_number"])
                for fact in books.of(promise.session_id, "order_created")
            ]
            return noted == books.orders[promise.session_id] == [order]


def _is_prompted(books: Books, promise: Prompted, digest: Digest) -> bool:
    """Whether the attempt is there under its id. One whose money was known before M-Pesa's answer has no id."""
    requested = [
        fact["attempt"]
        for fact in books.of(promise.session_id, "payment_requested")
        if fact["transaction_id"] == promise.transaction_id
    ]
    if len(requested) != 1 or promise.checkout_request_id is None:
        return len(requested) == 1
    initiated, paid = (
        [fact for fact in books.of(promise.session_id, kind) if fact["attempt"] == requested[0]]
        for kind in ("payment_initiated", "paid")
    )
    ids = [fact["checkout_digest"] for fact in initiated]
    return ids == [digest(promise.checkout_request_id)] or (not ids and bool(paid))


def _done_twice(books: Books, promises: Promises) -> Iterator[str]:
    owners = Counter(facts["created"][0]["user_id"] for facts in books.facts.values())
    for user, sessions in owners.items():
        if sessions > promises.keys_of_user[user]:
            yield f"user {user} has {sessions} sessions under {promises.keys_of_user[user]} keys"
    for session_id, keys in list(promises.keys_of_session.items()):
        for command, effects in _effects(books, session_id).items():
            if effects > keys[command]:
                yield f"session {session_id}: {command} took effect {effects} times under {keys[command]} keys"


def _effects(books: Books, session_id: str) -> dict[str, int]:
    """Count what commands did to a session. A prompt that M-Pesa refused was not sent: its key was good for another."""
    requested, refused, extended = (
        len(books.of(session_id, kind)) for kind in ("payment_requested", "payment_refused", "extended")
    )
    return {"initiate": requested - refused, "extend": extended}


def money_that_differs(books: Books, truth: Sequence[Payment]) -> Iterator[str]:
    """Yield a sentence for each payment of M-Pesa's books that is not on exactly one session of ours, and for each
    receipt here that M-Pesa does not know.
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
    for session_id, facts in books.facts.items():
        paid_here = len(facts["paid"]) + len(facts["surplus_received"])
        if paid_here != paid_there[session_id]:
            yield f"session {session_id}: paid {paid_here} times here, {paid_there[session_id]} times in M-Pesa's books"


def reversals_that_differ(books: Books, truth: Sequence[Reversal]) -> Iterator[str]:
    """Yield a sentence for each payment that went back more than once, or that went back and is not Refunded here, or
    that is Refunded here and did not go back.
    """
    there = Counter(reversal.of_receipt for reversal in truth)
    here = _refunded_receipts(books)
    for receipt in there.keys() | here.keys():
        if there[receipt] > 1:
            yield f"receipt {receipt} went back {there[receipt]} times"
        if len(here[receipt]) != there[receipt]:
            yield (
                f"session {' '.join(here[receipt])}: receipt {receipt} is refunded {len(here[receipt])} times here, "
                f"and went back {there[receipt]} times"
            )


def _refunded_receipts(books: Books) -> dict[str, list[str]]:
    """Return, by receipt, the sessions that say it went back; in a torture no person gives money back by hand."""
    found: dict[str, list[str]] = defaultdict(list)
    for session_id, facts in books.facts.items():
        found_later = {fact["attempt"]: fact["receipt"] for fact in facts["receipt_recorded"]}
        due = {fact["refund"]: fact for fact in facts["refund_due"]}
        for fact in facts["refunded"]:
            refund = due[fact["refund"]]
            found[refund["receipt"] or found_later[refund["attempt"]]].append(session_id)
    return found


def _credits(books: Books) -> tuple[dict[int, str], dict[str, list[tuple[str, int | None]]]]:
    """Return the session of each transaction, and what each receipt is credited to: session and cents, where told."""
    session_of: dict[int, str] = {}
    credited_to: dict[str, list[tuple[str, int | None]]] = defaultdict(list)
    for session_id, facts in books.facts.items():
        for fact in facts["payment_requested"]:
            session_of[fact["transaction_id"]] = session_id
        for kind in _CREDITS:
            for fact in facts[kind]:
                if fact["receipt"] is not None:
                    credited_to[fact["receipt"]].append((session_id, fact.get("amount_cents")))
    return session_of, credited_to
