"""The evidence pack of one payment: all that is known of it, its proofs to a signed head, and what checks them.

A pack is one ZIP file. The same payment under the same head gives the same bytes, but for what was erased since. An
event that is not ours stands in it as it is stored; what the payment comes to is told by the events before the first.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.application import no_such_session
from ledger.session import events
from ledger.session.events import PUBLIC_NAMES
from ledger.session.session import PaymentSession
from ledger.session.values import Refund
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.key_ring import SIGNED_BLOCKS, WrongKey
from ledger.store.message_bodies import OPENED, open_body
from ledger.store.movement_macs import COLUMNS, genuine
from ledger.store.proofs import Proofs
from ledger.store.vault import CHECKOUT_ID, PHONE, Vault
from payments.evidence import pack_verifier
from payments.evidence.evidence_account import account
from payments.evidence.pack_verifier import (
    EVENTS,
    FORMAT,
    MANIFEST,
    MESSAGES,
    PROOFS,
    SIGNATURE,
    signed_text,
    zip_of,
)
from projections.history import Entry, entries_of, rows_of_events
from projections.history_steps import folded
from shop.port import Order

MAX_MESSAGES, MAX_MESSAGE_BYTES = 500, 8 * 1024 * 1024
"""Of a pack: what M-Pesa posted beyond that is listed by its hash alone."""
MAX_FORGED_CHARACTERS = 65_536
"""Of the state or the metadata of an event that is not ours: what is longer is told by its length and hash alone."""

ERASED_TEXT = "erased"
GONE, TOO_LARGE = "left out: it was erased", "left out: the pack would be too large"
NOT_OURS = "cannot be opened: it was not stored by Daftari as it stands, or was altered since"
HOLDS = "The pack holds personal data: {what}. Names and addresses are in events.json encrypted, as they are stored."
HOLDS_PHONE = "the buyer's phone number in requests.json"
HOLDS_MESSAGES = "what M-Pesa's messages say of the payer"
HOLDS_SEALED = "The pack holds personal data only in events.json, encrypted, as they are stored."
HOLDS_NONE = (
    "The buyer's personal data were erased: phone number and messages are not in the pack, nor readable."
)
HOLDS_FORGED = "What stands in events that are not genuine is somebody else's, and may be personal data too."

_MESSAGES = f"""
SELECT {OPENED}, received_at, body_bytes, body_sha256 FROM daraja_inbox
WHERE (session_id = %(session)s AND received_at <= %(until)s) OR inbox_id = ANY(%(sources)s)
ORDER BY received_at, inbox_id
"""  # noqa: S608 - made of names of our own
# Not the figures: a better source replaces them, and a pack is the same under one head for ever.
_MOVEMENTS = f"""
SELECT first_seen_at, {COLUMNS} FROM mpesa_movements
WHERE (receipt = ANY(%(receipts)s) OR linked_receipt = ANY(%(receipts)s)) AND first_seen_at <= %(until)s
ORDER BY first_seen_at, movement_key
"""  # noqa: S608 - made of names of our own
_SHOWN_OF_MOVEMENT = ("receipt", "kind", "money_in", "first_seen_at")

OrderOf = Callable[[PaymentSession], Order | None]
"""Of a user and the id of their order."""


@dataclass(frozen=True, slots=True)
class _Payment:
    """What the log says of a payment up to a head, and its proofs. `head` is the head as a proof shows it.

    `session` is what the events before the first forged one come to, None if that is the first of all.
    """

    session: PaymentSession | None
    rows: list[dict[str, Any]]
    entries: list[Entry]
    head: dict[str, Any]
    inclusion: list[dict[str, Any]]

    @property
    def forged(self) -> list[int]:
        """The versions of the events that are not ours as they stand."""
        return [entry.version for entry in self.entries if entry.event is None]

    @property
    def until(self) -> datetime:
        return datetime.fromisoformat(self.head["signed_at"])


@dataclass(frozen=True, slots=True)
class EvidencePack:
    """A ZIP file, and the versions of the events in it that are not genuine."""

    content: bytes
    forged: list[int]


class EvidencePacks:
    """Makes evidence packs. `order_of` reads a session's order as its shop keeps it."""

    def __init__(self, database: Database, vault: Vault, order_of: OrderOf) -> None:
        self._database, self._vault, self._order_of = database, vault, order_of
        self._macs = EventMacs(database, vault.keys)
        self._proofs = Proofs(database, lambda: vault.block_keys)

    def pack(self, session_id: UUID, head: int | None = None) -> EvidencePack:
        """Return the pack of a session under the head of a number; by default the last, which must cover all of it.

        Raises NotFound for a session or head that is not there, or events that no head covers yet; Conflict where the
        log is not what was signed; and Unavailable.
        """
        payment = self._payment(session_id, head)
        files = dict(self._messages(payment))
        requests = list(self._requests(payment))
        holds = self._holds(payment, requests, files)
        files |= {
            EVENTS: _json([_event(*each) for each in zip(payment.entries, payment.rows, strict=True)]),
            PROOFS: _json({"head": payment.head, "inclusion": payment.inclusion}),
            "requests.json": _json(requests),
            "order.json": _json(self._order(payment.session)),
            "refunds.json": _json([asdict(refund) for refund in _refunds(payment.session)]),
            "movements.json": _json(self._movements(payment)),
            "account.html": account(
                session_id, payment.session, payment.entries, payment.head["name"]
            ).encode(),
            "verify.py": Path(pack_verifier.__file__).read_bytes(),
        }
        manifest = _json(
            {
                "format": FORMAT,
                "session_id": str(session_id),
                "head": payment.head["name"],
                "public_key": payment.head["public_key"],
                "personal_data": holds,
                "files": {
                    name: {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
                    for name, content in sorted(files.items())
                },
            }
        )
        signature = self._signing_key(payment.head["public_key"]).sign(signed_text(manifest))
        return EvidencePack(zip_of(files | {MANIFEST: manifest, SIGNATURE: signature}), payment.forged)

    def _payment(self, session_id: UUID, number: int | None) -> _Payment:
        rows = rows_of_events(self._database, session_id)
        if not rows:
            raise no_such_session()
        proofs = (
            self._proofs.of_session(session_id)
            if number is None
            else self._proofs.under_head(session_id, number)
        )[: len(rows)]
        rows = rows[: len(proofs)]
        entries = entries_of(self._macs, session_id, rows)
        inclusion = [{name: proof[name] for name in ("leaf_index", "audit_path")} for proof in proofs]
        return _Payment(folded(entries), rows, entries, proofs[0]["head"], inclusion)

    def _signing_key(self, public_key: str) -> Ed25519PrivateKey:
        """Return the key that signed the head, so that one key to believe is enough, and packs stay the same."""
        keys = (
            Ed25519PrivateKey.from_private_bytes(each.key) for each in self._vault.keys.keys(SIGNED_BLOCKS)
        )
        return next(key for key in keys if key.public_key().public_bytes_raw().hex() == public_key)

    def _requests(self, payment: _Payment) -> Iterator[dict[str, Any]]:
        """Yield what is kept of the requests to M-Pesa: facts of events. Passwords and tokens never are."""
        if payment.session is None:
            return
        owner, session_id = payment.session.user_id, payment.session.id
        for entry in takewhile(lambda each: each.event, payment.entries):
            about = {"event": entry.version, "at": entry.state["timestamp"]}
            match entry.event:
                case events.PaymentRequested() as sent:
                    yield about | {
                        "sent": "STK push",
                        "attempt": sent.attempt,
                        "account_reference": f"D{sent.transaction_id}",
                        "amount_cents": sent.amount_cents,
                        "phone": self._decrypted(owner, sent.phone_sealed, PHONE, session_id),
                    }
                case events.PaymentInitiated() as answer:
                    yield about | {
                        "answer": "accepted",
                        "attempt": answer.attempt,
                        "merchant_request_id": answer.merchant_request_id,
                        "checkout_request_id": self._decrypted(
                            owner, answer.checkout_sealed, CHECKOUT_ID, session_id
                        ),
                    }
                case events.PaymentRefused() | events.PaymentUncertain() | events.RefundAccepted() as answer:
                    yield about | {"answer": PUBLIC_NAMES[type(answer)], **_without(entry.state)}
                case events.RefundRequested() | events.RefundUncertain() as sent:
                    yield about | {"sent": PUBLIC_NAMES[type(sent)], **_without(entry.state)}

    def _holds(self, payment: _Payment, requests: list[dict[str, Any]], files: dict[str, bytes]) -> str:
        """Return the sentences about the personal data that really are in the pack."""
        holds = self._holds_of_ours(payment.session, requests, files)
        return f"{holds} {HOLDS_FORGED}" if payment.forged else holds

    def _holds_of_ours(
        self, session: PaymentSession | None, requests: list[dict[str, Any]], files: dict[str, bytes]
    ) -> str:
        phones = {request["phone"] for request in requests if "phone" in request} - {ERASED_TEXT}
        parts = [HOLDS_PHONE] if phones else []
        if any(name != MESSAGES for name in files):
            parts.append(HOLDS_MESSAGES)
        if parts:
            return HOLDS.format(what=", and ".join(parts))
        return HOLDS_NONE if self._is_erased(session) else HOLDS_SEALED

    def _is_erased(self, session: PaymentSession | None) -> bool:
        if session is None or session.phone_sealed is None:
            return False
        return self._decrypted(session.user_id, session.phone_sealed, PHONE, session.id) == ERASED_TEXT

    def _decrypted(self, owner: int, value: str, purpose: str, row: UUID) -> str:
        try:
            return self._vault.decrypt(owner, value, purpose=purpose, row=row)
        except Erased:
            return ERASED_TEXT

    def _messages(self, payment: _Payment) -> Iterator[tuple[str, bytes]]:
        """Yield the bodies that M-Pesa posted, each as it came, and a file that lists them."""
        # A forged event may name a message about somebody else.
        sources = {entry.metadata.get("source", "") for entry in payment.entries if entry.event}
        session_id = payment.entries[0].session_id
        values = {"session": session_id, "sources": list(_uuids(sources)), "until": payment.until}
        with self._database.connection() as connection:
            rows = connection.execute(_MESSAGES, values).fetchall()
        listed: list[dict[str, Any]] = []
        left = MAX_MESSAGE_BYTES
        for row in rows:
            body, salt, why = self._body(row)
            # Who has a login of the database can add what is not ours: that must not change a pack.
            if why == NOT_OURS and str(row["inbox_id"]) not in sources:
                continue
            if body is not None and (len(listed) >= MAX_MESSAGES or len(body) > left):
                why = TOO_LARGE
            about = _told(row, body, why)
            if body is not None and not why:
                left -= len(body)
                name = f"messages/{len(listed) + 1:03d}-{row['channel']}.json"
                about |= {"file": name, "salt": salt and salt.hex()}
                yield name, body
            listed.append(about)
        yield MESSAGES, _json(listed)

    def _body(self, row: dict[str, Any]) -> tuple[bytes | None, bytes | None, str]:
        """Return a body and its salt, or neither, and why."""
        try:
            body = open_body(self._vault, row)
            return body, self._vault.salt(row["key_owner"], row["sealed_body"]), ""
        except Erased:
            return None, None, GONE
        except WrongKey:
            return None, None, NOT_OURS

    def _order(self, session: PaymentSession | None) -> dict[str, Any] | None:
        """Return the order as its shop keeps it, without where it goes; its number alone if the shop shows no more."""
        if session is None or session.order is None:
            return None
        order_id, number = session.order
        order = self._order_of(session)
        kept = asdict(order) if order is not None else {}
        return {"order_number": number, "order_id": order_id} | {
            name: value for name, value in kept.items() if name != "delivery_details"
        }

    def _movements(self, payment: _Payment) -> list[dict[str, Any]]:
        if payment.session is None:
            return []
        receipts = [*payment.session.credits, *_reversal_receipts(payment.session)]
        with self._database.connection() as connection:
            values = {"receipts": receipts, "until": payment.until}
            rows = connection.execute(_MOVEMENTS.encode(), values).fetchall()
        return [{name: row[name] for name in _SHOWN_OF_MOVEMENT} for row in genuine(self._vault.keys, rows)]


def _event(entry: Entry, row: dict[str, Any]) -> dict[str, Any]:
    """Return an event as it is stored, which its hash can be computed from, if it is genuine."""
    content = (
        {"state": entry.state, "metadata": None if row["metadata"] is None else entry.metadata}
        if entry.event
        else {f"{name}_text": _stored_text(row[name]) for name in ("state", "metadata")}
    )
    return content | {
        "session_id": str(entry.session_id),
        "version": entry.version,
        "event": entry.name,
        "is_genuine": entry.event is not None,
        "topic": entry.topic,
        "recorded_at": entry.recorded_at,
        "position": entry.position,
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
    }


def _stored_text(text: str | None) -> str | None:
    """Return JSON by somebody else as PostgreSQL shows it: it may hold what no reader of JSON agrees upon."""
    if text is None or len(text) <= MAX_FORGED_CHARACTERS:
        return text
    return f"left out: {len(text)} characters, SHA-256 {sha256(text.encode()).hexdigest()}"


def _refunds(session: PaymentSession | None) -> Iterable[Refund]:
    return session.refunds.values() if session else ()


def _told(row: dict[str, Any], body: bytes | None, why: str) -> dict[str, Any]:
    """Return what messages.json tells of a message; whether it was authenticated, only its body proves."""
    return {
        "inbox_id": str(row["inbox_id"]),
        "received_at": row["received_at"],
        "channel": row["channel"],
        "is_authenticated": row["is_proven"] if body is not None else False if why == NOT_OURS else None,
        "attempt": row["attempt"],
        "refund": row["refund"],
        "refund_attempt": row["sending"],
        "body_bytes": row["body_bytes"],
        "body_sha256": row["body_sha256"] if body is None else sha256(body).hexdigest(),
        "salt": None,
        "file": why,
    }


def _reversal_receipts(session: PaymentSession) -> Iterator[str]:
    return (refund.reversal_receipt for refund in session.refunds.values() if refund.reversal_receipt)


def _uuids(texts: set[str]) -> Iterator[UUID]:
    for text in sorted(texts):
        try:
            yield UUID(text)
        except ValueError:
            continue


def _without(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != "timestamp"}


def _json(value: Any) -> bytes:
    """Return JSON that people can read, the same bytes each time."""
    return json.dumps(value, default=_text, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


def _text(value: datetime | UUID) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
