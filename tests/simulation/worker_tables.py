"""In-memory tables of the inbox, idempotency keys, followers' positions, failures, and metrics."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from payments.erasure import reencryption
from payments.fulfilment import order_failures
from payments.idempotency import idempotency_store, keyed_request
from payments.inbox import inbox
from payments.worker import event_processor, left_over
from projections import figure_sums, follower, metrics, rebuild_runs, stored_positions
from tests.simulation.ledger_tables import Handler, LedgerTables, Row
from tests.simulation.parts import Effects, PartDouble, putting_back

Undoable = tuple[list[Row], Callable[[], None]]
_MESSAGE = (
    "inbox_id",
    "received_at",
    "channel",
    "is_proven",
    "session_id",
    "attempt",
    "refund",
    "sending",
    "key_owner",
    "sealed_body",
    "body_bytes",
    "body_sha256",
    "next_try_at",
)
_SETTLED_MESSAGE = (
    "inbox_id",
    "received_at",
    "channel",
    "session_id",
    "attempt",
    "key_owner",
    "sealed_body",
    "body_bytes",
    "body_sha256",
    "reason",
    "settled_at",
)


class KeyIsTaken(psycopg.Error):
    """What `claim_idempotency_key` raises for a key that another holds."""

    sqlstate = keyed_request.KEY_TAKEN


class WorkerTables:
    """The tables. `on_message`, told if the message is authenticated, and `on_failure` get the time of the next try."""

    def __init__(self, ledger: LedgerTables) -> None:
        self.messages: dict[UUID, Row] = {}
        self.new_messages: dict[UUID, datetime] = {}
        self.keys: dict[tuple[int, str], Row] = {}
        self.positions: dict[tuple[str, int], int] = {}
        self.failures: dict[tuple[str, UUID, int], Row] = {}
        self.order_failures: dict[UUID, Row] = {}
        self.figures: dict[datetime, Counter[str]] = {}
        self.on_message: Callable[[datetime, bool], None] = lambda _, __: None
        self.on_failure: Callable[[str, datetime | None], None] = lambda _, __: None
        self._ledger = ledger

    def handlers(self) -> dict[Any, Handler]:
        """Return the handler of each statement."""
        return {
            rebuild_runs.VERSIONS: lambda _: [
                {"name": figure_sums.TABLE, "projection_version": figure_sums.VERSION}
            ],
            inbox._STORE: self.keep,
            inbox._SETTLE: self.settle,
            inbox._MARK_OF_ERASED: lambda _: [],
            reencryption._END: lambda _: [{"is_done": True}],
            inbox._POSTPONE: self.postpone,
            inbox._WAIT: self.wait,
            inbox._HOLDS: self.holds,
            inbox._PURGE_UNAUTHENTICATED: self.purge_unauthenticated,
            inbox._DUE: self.due_messages,
            inbox._ONE: self.message,
            idempotency_store._RELEASE: self.release,
            follower.TRY_TO_BE_ACTIVE: lambda _: [{"active": True}],
            follower.READ_POSITION: self.read_position,
            stored_positions.STORE_POSITIONS: self.store_positions,
            stored_positions.STORE_FREE_POSITIONS: self.pass_positions,
            stored_positions.MOVE_ON: self.move_positions,
            order_failures._COUNT: self.count_order_failure,
            left_over.PAID_WITHOUT_ORDER.encode(): self.paid_without_order,
            left_over.REFUND_NOT_DECIDED.encode(): self.refund_not_decided,
            event_processor.KEEP_FAILURE: self.keep_failure,
            event_processor.DUE: self.due_failures,
            event_processor.FORGET_FAILURE: self.forget_failure,
            event_processor.COUNT_FAILURE: self.count_failure,
            metrics.ADD.format(table=metrics.TABLE).encode(): self.add_figures,
        }

    def part_doubles(self) -> dict[str, PartDouble]:
        """Return the double of each part of a statement."""
        return {
            inbox._STORE_SETTLED: self.keep_settled,
            keyed_request._READ: self.read_key,
            keyed_request._CLAIM: self.claim,
            keyed_request._ANSWER: self.answer,
        }

    def keep_settled(self, values: Any, effects: Effects) -> bool:
        """Store a message that the same statement acts on."""
        inbox_id = values[0]
        if inbox_id in self.messages:
            return False
        known = dict(zip(_SETTLED_MESSAGE, values, strict=True))
        settled = {
            "is_from_before": False,
            "is_proven": True,
            "state": "acted_on",
            "tries": 0,
            "next_try_at": None,
        }
        self.messages[inbox_id] = dict.fromkeys(_MESSAGE) | known | settled
        effects.undone_by(lambda: self.messages.pop(inbox_id))
        return True

    def keep(self, values: Any) -> int:
        """Store an inbound message."""
        *stored, _, _ = values
        message = dict(zip(_MESSAGE, stored, strict=True))
        if message["inbox_id"] in self.messages:
            return 0
        message |= {"is_from_before": False, "state": "new", "reason": None, "tries": 0, "settled_at": None}
        self.messages[message["inbox_id"]] = message
        self._is_due(message["inbox_id"], message["next_try_at"])
        return 1

    def count_order_failure(self, values: Any) -> list[Row]:
        """Count one more failure of an order."""
        first = {"failures": 0, "first_failed_at": values["now"]}
        known = self.order_failures.setdefault(values["session_id"], first)
        known |= {"failures": known["failures"] + 1, "last_failed_at": values["now"]}
        return [known]

    def forget_order_failures(self, values: Any) -> int:
        """Delete old counts."""
        old = [key for key, row in self.order_failures.items() if row["last_failed_at"] < values[0]]
        for key in old:
            del self.order_failures[key]
        return len(old)

    def settle(self, values: Any) -> int:
        """Settle a message."""
        state, reason, settled_at, inbox_id = values
        self.messages[inbox_id] |= {
            "state": state,
            "reason": reason,
            "next_try_at": None,
            "settled_at": settled_at,
        }
        self.new_messages.pop(inbox_id, None)
        return 1

    def postpone(self, values: Any) -> int:
        """Postpone a message."""
        reason, until, inbox_id = values
        message = self.messages[inbox_id]
        message |= {"reason": reason, "tries": message["tries"] + 1, "next_try_at": until}
        if message["state"] == "new":
            self._is_due(inbox_id, until)
        return 1

    def wait(self, values: Any) -> int:
        """Postpone a message without counting an attempt."""
        until, inbox_id = values
        self.messages[inbox_id]["next_try_at"] = until
        if self.messages[inbox_id]["state"] == "new":
            self._is_due(inbox_id, until)
        return 1

    def holds(self, values: Any) -> list[Row]:
        """Return a row if the same body was pulled before."""
        same = (
            message
            for message in self.messages.values()
            if (message["channel"], message["body_sha256"]) == ("pull", *values)
        )
        return [{}] if next(same, None) else []

    def purge_unauthenticated(self, values: Any) -> int:
        """Delete the oldest unauthenticated messages beyond a number."""
        unauthenticated = [message for message in self.messages.values() if _is_unauthenticated(message)]
        unauthenticated.sort(key=lambda message: message["received_at"], reverse=True)
        for message in unauthenticated[values[0] :]:
            del self.messages[message["inbox_id"]]
            self.new_messages.pop(message["inbox_id"], None)
        return len(unauthenticated[values[0] :])

    def due_messages(self, values: Any) -> list[Row]:
        """Return the messages that are due."""
        is_authenticated, now, limit = values
        due = sorted(
            (at, number)
            for number, at in self.new_messages.items()
            if at <= now and self.messages[number]["is_proven"] == is_authenticated
        )
        return [self.messages[inbox_id] for _, inbox_id in due[:limit]]

    def message(self, values: Any) -> list[Row]:
        """Return one message."""
        message = self.messages.get(values[0])
        return [] if message is None else [message]

    def read_key(self, values: Any, _: Effects) -> str | None:
        """Return what is known of an idempotency key."""
        now, *key = values
        row = self.keys.get(tuple(key))
        if row is None:
            return None
        is_running = None if row["claimed_until"] is None else row["claimed_until"] > now
        known = [row["fingerprint"], is_running, row["status"], row["sealed_body"]]
        return msgspec.json.encode(known).decode()

    def claim(self, values: Any, effects: Effects) -> bool:
        """Claim an idempotency key, as `claim_idempotency_key` does."""
        user_id, key, fingerprint, now, until, status, sealed_body = values
        held = self.keys.get((user_id, key))
        if held is not None and (
            held["status"] is not None or held["claimed_until"] > now or held["fingerprint"] != fingerprint
        ):
            raise KeyIsTaken
        effects.undone_by(putting_back(self.keys, (user_id, key)))
        self.keys[user_id, key] = {
            "fingerprint": fingerprint,
            "claimed_until": until,
            "status": status,
            "sealed_body": sealed_body,
            "created_at": now if held is None else held["created_at"],
        }
        return True

    def answer(self, values: Any, effects: Effects) -> bool:
        """Store the answer of a claimed key."""
        user_id, key, until, status, sealed_body = values
        row = self.keys.get((user_id, key))
        if row is None or row["claimed_until"] != until:
            return False
        effects.undone_by(putting_back(self.keys, (user_id, key)))
        self.keys[user_id, key] = row | {"status": status, "sealed_body": sealed_body, "claimed_until": None}
        return True

    def release(self, values: Any) -> int:
        """Release a key without an answer."""
        *key, until = values
        row = self.keys.get(tuple(key))
        if row is None or row["claimed_until"] != until:
            return 0
        del self.keys[tuple(key)]
        return 1

    def purge_keys(self, values: Any) -> int:
        """Delete old keys."""
        old = [key for key, row in self.keys.items() if row["created_at"] <= values[0]]
        for key in old:
            del self.keys[key]
        return len(old)

    def read_position(self, values: Any) -> list[Row]:
        """Return the position of a follower."""
        position = self.positions.get(tuple(values))
        return [] if position is None else [{"position": position}]

    def store_positions(self, values: Any) -> Undoable:
        """Store the positions of followers; none goes back."""
        origin, names, reached = values
        before = {(name, origin): self.positions.get((name, origin), 0) for name in names}
        for key, position in zip(before, reached, strict=True):
            self.positions[key] = max(before[key], position)
        return [], lambda: self.positions.update(before)

    def pass_positions(self, values: Any) -> Undoable:
        """Do the same for followers that found nothing; nobody else holds their positions here."""
        _, undo = self.store_positions(values)
        return [{"name": name} for name in sorted(values[1])], undo

    def move_positions(self, values: Any) -> Undoable:
        """Move the positions of views that are where they were left, and return the names of those."""
        names, read_until, last, origin = values
        ends = zip(names, read_until, last, strict=True)
        moved = {name: to for name, end, to in ends if self.positions.get((name, origin), end + 1) <= end}
        return self.pass_positions((origin, list(moved), list(moved.values())))

    def paid_without_order(self, values: Any) -> list[Row]:
        """Return the payments without an order that the order process does not come to by the log."""
        return self._left_over(
            values,
            lambda row, event: (
                row["session_status"] == "paid"
                and not values["followed"] < event["position"] < values["horizon"]
            ),
        )

    def refund_not_decided(self, values: Any) -> list[Row]:
        """Return what the refund policy cannot read yet about refunds that are due."""
        return self._left_over(
            values,
            lambda row, event: (
                row["refund_due_cents"] > 0
                and event["position"] >= values["horizon"]
                and not self._is_decided(event)
            ),
        )

    def _left_over(self, values: Any, is_wanted: Callable[[Row, Row], bool]) -> list[Row]:
        found = [
            event
            for session_id, row in self._ledger.rows.items()
            if datetime.fromisoformat(row["updated_at"]) <= values["before"]
            for event in self._ledger.events[session_id]
            if event["topic"] in values["topics"]
            and event["position"] > values["after"]
            and (values["name"], session_id, event["version"]) not in self.failures
            and is_wanted(row, event)
        ]
        return sorted(found, key=lambda event: event["position"])[: values["limit"]]

    def _is_decided(self, event: Row) -> bool:
        refund = msgspec.json.decode(event["state"]).get("refund")
        later = self._ledger.events[event["session_id"]][event["version"] :]
        return refund is not None and any(
            msgspec.json.decode(each["state"]).get("refund") == refund for each in later
        )

    def keep_failure(self, values: Any) -> int:
        """Store the first failure of an event."""
        key = values["name"], values["session_id"], values["version"]
        if key in self.failures:
            return 0
        self.failures[key] = {"tries": 1, "next_try_at": values["next_try_at"], "state": values["state"]}
        self.on_failure(values["name"], values["next_try_at"])
        return 1

    def _is_due(self, inbox_id: UUID, at: datetime) -> None:
        self.new_messages[inbox_id] = at
        self.on_message(at, self.messages[inbox_id]["is_proven"])

    def next_messages(self, *, is_authenticated: bool) -> list[datetime]:
        """Return when the messages that wait are due: the authenticated ones, or the others."""
        waiting = self.new_messages.items()
        return [at for number, at in waiting if self.messages[number]["is_proven"] == is_authenticated]

    def due_failures(self, values: Any) -> list[Row]:
        """Return the failed events that are due for a retry."""
        name, now, limit = values
        due = sorted(
            (row["next_try_at"], session_id, version)
            for (of, session_id, version), row in self.failures.items()
            if of == name and row["state"] == "retrying" and row["next_try_at"] <= now
        )
        return [
            self._ledger.events[session_id][version - 1]
            | {"tries": self.failures[name, session_id, version]["tries"]}
            for _, session_id, version in due[:limit]
        ]

    def forget_failure(self, values: Any) -> int:
        """Delete a failure after a successful retry."""
        return int(self.failures.pop(tuple(values), None) is not None)

    def count_failure(self, values: Any) -> int:
        """Count one more failure of an event."""
        row = self.failures.get((values["name"], values["session_id"], values["version"]))
        if row is None:
            return 0
        row |= {name: values[name] for name in ("tries", "next_try_at", "state")}
        return 1

    def add_figures(self, values: Any) -> Undoable:
        """Add to the metrics of some hours."""
        changes = [
            (datetime.fromisoformat(row["hour"]), Counter({name: row[name] for name in metrics.FIGURES}))
            for row in msgspec.json.decode(values[0])
        ]
        for hour, change in changes:
            self.figures.setdefault(hour, Counter()).update(change)

        def undo() -> None:
            for hour, change in changes:
                self.figures[hour].subtract(change)

        return [], undo


def _is_unauthenticated(message: Row) -> bool:
    return message["state"] != "closed" and message["session_id"] is None and not message["is_proven"]
