"""In-memory tables of the ledger and checkout: events, status rows, receipts, query log, keys, tokens."""

from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from ledger import application, clock
from ledger.session import events
from ledger.session.values import OPEN_STATES
from ledger.store import audit_log, block_signer, blocks, positions, recorder
from ledger.store.canonical import GENESIS
from payments.confirmation import query_log
from projections import follower, sessions
from tests.simulation.key_tables import KeyTables
from tests.simulation.parts import Effects, PartDouble
from tests.simulation.prompt_tables import PromptTables

Row = dict[str, Any]
Handler = Callable[[Any], Any]
MAX_AT_ONCE = 12
"""No command writes more events."""

FIRST_TRANSACTION_ID = 1_000_001
_BLOCK = tuple(column.name for column in fields(blocks.Block))
FIRST_QUERY_AFTER = timedelta(seconds=12)
"""`daftari_check_after_seconds` of every run."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_INDEXED = (events.PaymentInitiated.TOPIC, events.PaymentRequested.TOPIC)
_OPEN_STATES = frozenset(map(str, OPEN_STATES))


class VersionTaken(psycopg.DatabaseError):
    """What `append_events` raises on a version conflict."""

    sqlstate = recorder.VERSION_CONFLICT


class ReferenceTaken(psycopg.DatabaseError):
    """What `claim_reference` raises where it is another session's."""

    sqlstate = "DF007"


class LedgerTables:
    """The tables; `on_append(session_id, events)` sees every append."""

    def __init__(self) -> None:
        self.log: list[Row] = []
        self.log_positions: list[int] = []
        self.events: dict[UUID, list[Row]] = {}
        self.rows: dict[UUID, Row] = {}
        self.payouts: dict[str, tuple[UUID, datetime]] = {}
        self.receipts: dict[str, tuple[UUID, datetime]] = {}
        self.prompts = PromptTables(self.next_transaction_id)
        self.query_log: dict[UUID, dict[int, Row]] = {}
        self.keys = KeyTables()
        self.blocks: list[Row] = []
        self.on_append: Callable[[UUID, list[Row]], None] = lambda _, __: None
        self.next_query_at: dict[UUID, datetime] = {}
        self.may_expire: dict[UUID, datetime] = {}
        self.attempt_of_transaction: dict[str, tuple[UUID, int]] = {}
        self._session_of_checkout: dict[str, UUID] = {}
        self.held_at: int | None = None
        self._transactions = 0
        self._transaction_ids = FIRST_TRANSACTION_ID - 1

    def handlers(self) -> dict[Any, Handler]:
        """Return the handler of each statement."""
        return {
            recorder._POSITIONS_OF_HASHES: self.positions_of_hashes,
            application._RESERVE: self.reserve,
            positions._HORIZON: self.horizon,
            follower.LOOK: lambda values: [row | {"server": None} for row in self.horizon(values)],
            **self.prompts.handlers(),
            query_log._ASKED_SINCE: self.asked_since,
            query_log._TRIES: self.tries,
            query_log._WAITING: self.waiting,
            query_log._NOTE: self.log_query,
            query_log._NOTE_IN_BETWEEN: self.log_urgent_query,
            audit_log._ALL: lambda _: [],
            **self.keys.handlers(),
            blocks._LAST: lambda _: self.blocks[-1:],
            blocks._LATEST_WITH_TREE: self.blocks_with_tree,
            blocks._NEXT: self.next_block,
            block_signer._ADD: self.add_block,
            sessions.OWNER: self.owner,
            sessions.BY_CHECKOUT: self.by_checkout,
            sessions.TO_EXPIRE: self.to_expire,
            sessions.ATTEMPTS_DUE: self.attempts_due,
            follower.READ_BATCH: self.read_batch,
        }

    def part_doubles(self) -> dict[str, PartDouble]:
        """Return the double of each part of a statement."""
        return {
            **{recorder._append(count): self.append for count in range(1, 1 + MAX_AT_ONCE)},
            recorder._HISTORY_PART: self.history,
            sessions.OPEN_PART: self.open_of_user,
            **self.keys.part_doubles(),
            **self.prompts.part_doubles(),
            application._CLAIM: self.claim,
        }

    def claim(self, values: Any, effects: Effects) -> UUID:
        """Reserve a reference for a session, or raise ReferenceTaken."""
        value, kind, session_id = values
        of_kind = self.receipts if kind == application.RECEIPT else self.payouts
        is_new = value not in of_kind
        if self.reserve(values)[0]["session_id"] != session_id:
            raise ReferenceTaken(f"{kind} of session {session_id}")
        if is_new:
            effects.undone_by(lambda: of_kind.pop(value))
        return session_id  # type: ignore[no-any-return]

    def append(self, values: Any, effects: Effects) -> int:
        """Append events with the status row, or raise VersionTaken; return the last position."""
        session_id, first_version, *columns, row = values
        count = (len(columns) - 1) // 5
        topics, states, metadata, hashes = (
            columns[start * count : (start + 1) * count] for start in range(4)
        )
        key_id, *macs = columns[4 * count :]
        known = self.events.setdefault(session_id, [])
        if len(known) != first_version - 1:
            raise VersionTaken(f"version {first_version} of session {session_id}")
        self._transactions += 1
        position, previous = self._transactions << 20, known[-1]["hash"] if known else GENESIS
        now, batch = clock.now(), []
        for number, (topic, state, cause, hash_, mac) in enumerate(
            zip(topics, states, metadata, hashes, macs, strict=True)
        ):
            event = {
                "session_id": session_id,
                "version": first_version + number,
                "topic": topic,
                "state": state,
                "position": position + number,
                "recorded_at": now,
                "previous_hash": previous,
                "hash": hash_,
                "metadata": cause,
                "key_id": key_id,
                "mac": mac,
                "origin": 1,
            }
            previous = event["hash"]
            batch.append(event)
            if topic in _INDEXED:
                self._index(session_id, topic, msgspec.json.decode(state), effects)
        known += batch
        self.log += batch
        self.log_positions += [event["position"] for event in batch]
        effects.undone_by(lambda: self._take_back(session_id, count))
        self._move_row(session_id, msgspec.json.decode(row), effects)
        effects.then(lambda: self.on_append(session_id, batch))
        return self.log_positions[-1]

    def _take_back(self, session_id: UUID, count: int) -> None:
        del self.events[session_id][-count:], self.log[-count:], self.log_positions[-count:]

    def history(self, values: Any, _: Effects) -> str | None:
        """Return a session's events as one value, None if it has none."""
        events_of_session = self.events.get(values[0])
        if not events_of_session:
            return None
        rows = [
            [
                *(event[name] for name in ("version", "topic", "state", "metadata", "origin", "position")),
                event["hash"].hex(),
                event["key_id"],
                event["mac"].hex(),
            ]
            for event in events_of_session
        ]
        return msgspec.json.encode(rows).decode()

    def positions_of_hashes(self, values: Any) -> list[Row]:
        """Return hashes and positions of a session's events between two versions."""
        session_id, first, last = values
        return [event for event in self.events.get(session_id, []) if first <= event["version"] <= last]

    def reserve(self, values: Any) -> list[Row]:
        """Reserve a receipt for a session; return its holder."""
        receipt, kind, session_id = values
        of_kind = self.receipts if kind == application.RECEIPT else self.payouts
        holder, _ = of_kind.setdefault(receipt, (session_id, clock.now()))
        return [{"session_id": holder}]

    def horizon(self, _: Any) -> list[Row]:
        """Return the horizon: each append is atomic, so all is below it that was there, or was when it was held."""
        last = self._transactions if self.held_at is None else self.held_at
        return [{"origin": 1, "horizon": (last + 1) << 20}]

    def hold_horizon(self) -> None:
        """Hold the horizon where it is, as an open transaction with an id does."""
        self.held_at = self._transactions

    def read_batch(self, values: Any) -> list[Row]:
        """Return the events of wanted topics among the next ones of the log, and the last of these."""
        start, stop = self._between(values["after"], values["end"] + 1)
        found, topics = self.log[start : min(start + values["limit"], stop)], values["topics"]
        return [
            event | {"number": number, "state": event["state"] if is_wanted else None}
            for number, event in enumerate(found, 1)
            if (is_wanted := topics is None or event["topic"] in topics) or number == len(found)
        ]

    def sessions_beyond(self, position: int, topics: Collection[str]) -> set[UUID]:
        """Return the sessions with events of some topics beyond a position."""
        start, _ = self._between(position, 0)
        return {event["session_id"] for event in self.log[start:] if event["topic"] in topics}

    def next_transaction_id(self) -> int:
        """Return the next value of the sequence of transaction ids."""
        self._transaction_ids += 1
        return self._transaction_ids

    def open_of_user(self, values: Any, _: Effects) -> str:
        """Count the sessions of a user that can be paid."""
        user, since, now = values
        rows = [
            row
            for row in self.rows.values()
            if row["user_id"] == user and row["session_status"] in ("pending", "payment_initiated")
        ]
        created = [row for row in rows if datetime.fromisoformat(row["created_at"]) > since]
        ends = [end for row in created if (end := datetime.fromisoformat(row["expires_at"])) > now]
        return msgspec.json.encode([len(ends), min(ends, default=None)]).decode()

    def asked_since(self, values: Any) -> list[Row]:
        """Return a row if the attempt was queried after a moment."""
        session_id, attempt, moment = values
        entry = self.query_log.get(session_id, {}).get(attempt)
        return [{}] if entry is not None and entry["asked_at"] > moment else []

    def tries(self, values: Any) -> list[Row]:
        """Return how many scheduled queries an attempt had."""
        entry = self.query_log.get(values[0], {}).get(values[1])
        return [] if entry is None else [{"tries": entry["tries"]}]

    def waiting(self, values: Any) -> list[Row]:
        """Return the attempts of a session whose next query is not due yet."""
        session_id, now = values
        entries = self.query_log.get(session_id, {})
        return [{"attempt": attempt} for attempt, entry in entries.items() if entry["next_check_at"] > now]

    def log_query(self, values: Any) -> int:
        """Log a scheduled query of an attempt."""
        session_id, attempt, asked_at, tries, next_check_at, _ = values
        entry = {"asked_at": asked_at, "tries": tries, "next_check_at": next_check_at}
        self.query_log.setdefault(session_id, {})[attempt] = entry
        self._reschedule_query(session_id)
        return 1

    def log_urgent_query(self, values: Any) -> int:
        """Log an urgent query, which leaves the schedule as it is."""
        session_id, attempt, asked_at, next_check_at, _ = values
        entries = self.query_log.setdefault(session_id, {})
        known = entries.get(attempt, {"tries": 0, "next_check_at": next_check_at})
        entries[attempt] = known | {"asked_at": asked_at}
        self._reschedule_query(session_id)
        return 1

    def purge_query_log(self, values: Any) -> int:
        """Delete entries whose next query is long past."""
        old = [
            (s, a)
            for s, notes in self.query_log.items()
            for a, n in notes.items()
            if n["next_check_at"] <= values[0]
        ]
        for session_id, attempt in old:
            del self.query_log[session_id][attempt]
            self._reschedule_query(session_id)
        return len(old)

    def next_block(self, values: Any) -> list[Row]:
        """Return the extent and leaves of the next block."""
        start, stop = self._between(values["after"], values["horizon"])
        stop = min(stop, start + values["most"])
        until = self.log_positions[stop - 1] if stop > start else None
        leaves = self.leaves(values["after"], until or 0)
        return [{"until_position": until, "events": max(0, stop - start), "leaves": leaves or None}]

    def leaves(self, after: int, until: int) -> bytes:
        """Return the leaves of the tree over the events between two positions."""
        start, stop = self._between(after, until + 1)
        return b"".join(event["position"].to_bytes(8) + event["hash"] for event in self.log[start:stop])

    def blocks_with_tree(self, values: Any) -> list[Row]:
        """Return the latest blocks; no release without a tree takes part."""
        return self.blocks[-values[1] :][::-1]

    def add_block(self, values: Any) -> int:
        """Store a signed block, if its number is free."""
        block = dict(zip(_BLOCK, values, strict=False))
        if block["number"] != len(self.blocks) + 1:
            return 0
        self.blocks.append(block)
        return 1

    def _between(self, after: int, horizon: int) -> tuple[int, int]:
        return bisect_right(self.log_positions, after), bisect_right(self.log_positions, horizon - 1)

    def owner(self, values: Any) -> list[Row]:
        """Return the owner of a session."""
        row = self.rows.get(values[0])
        return [] if row is None else [{"user_id": row["user_id"]}]

    def by_checkout(self, values: Any) -> list[Row]:
        """Return the session of a CheckoutRequestID."""
        session_id = self._session_of_checkout.get(values[0])
        return [] if session_id is None else [{"session_id": session_id}]

    def to_expire(self, values: Any) -> list[Row]:
        """Return pending sessions that have expired."""
        now, limit = values
        found = sorted((at, session_id) for session_id, at in self.may_expire.items() if at <= now)
        return [{"session_id": session_id} for _, session_id in found[:limit]]

    def attempts_due(self, values: Any) -> list[Row]:
        """Return sessions with an open attempt that is due for a status query."""
        now = values["now"]
        due = [
            (self._due_since(session_id, now), session_id)
            for session_id, at in self.next_query_at.items()
            if at <= now
        ]
        return [
            {
                "session_id": session_id,
                "attempts": self.rows[session_id]["attempts"],
                "open_attempts": self.rows[session_id]["open_attempts"],
            }
            for _, session_id in sorted(due)[: values["limit"]]
        ]

    def _due_since(self, session_id: UUID, now: datetime) -> datetime:
        over = [entry["next_check_at"] for entry in self.query_log.get(session_id, {}).values()]
        return max((at for at in over if at <= now), default=self._first_query_at(session_id))

    def _first_query_at(self, session_id: UUID) -> datetime:
        return datetime.fromisoformat(self.rows[session_id]["last_requested_at"]) + FIRST_QUERY_AFTER

    def _reschedule_query(self, session_id: UUID) -> None:
        """Compute from when ATTEMPTS_DUE finds a session, by the query log of its attempts."""
        row = self.rows[session_id]
        if not row["open_attempts"]:
            self.next_query_at.pop(session_id, None)
            return
        entries = self.query_log.get(session_id, {})
        at = sorted((entry["next_check_at"] for entry in entries.values()), reverse=True)
        moments = [at[row["open_attempts"] - 1] if len(at) >= row["open_attempts"] else _LONG_AGO]
        if row["last_attempt_state"] in _OPEN_STATES:
            latest = entries.get(row["attempts"])
            moments.append(latest["next_check_at"] if latest else _LONG_AGO)
        self.next_query_at[session_id] = max(self._first_query_at(session_id), min(moments))

    def states(self, session_id: UUID, *topics: str) -> list[dict[str, Any]]:
        """Return the states of a session's events of some topics, in order."""
        history = self.events.get(session_id, [])
        return [msgspec.json.decode(event["state"]) for event in history if event["topic"] in topics]

    def _index(self, session_id: UUID, topic: str, state: dict[str, Any], effects: Effects) -> None:
        index: dict[str, Any]
        if topic == events.PaymentInitiated.TOPIC:
            index, key = self._session_of_checkout, state["checkout_digest"]
            found: Any = session_id
        else:
            index, key = self.attempt_of_transaction, str(state["transaction_id"])
            found = session_id, state["attempt"]
        if key not in index:
            index[key] = found
            effects.undone_by(lambda: index.pop(key))

    def _move_row(self, session_id: UUID, row: Row, effects: Effects) -> None:
        before = self.rows.get(session_id)
        effects.undone_by(lambda: self._put_row(session_id, before))
        self._put_row(session_id, row)

    def _put_row(self, session_id: UUID, row: Row | None) -> None:
        if row is None:
            for table in (self.rows, self.next_query_at, self.may_expire):
                table.pop(session_id, None)
            return
        self.rows[session_id] = row
        self._reschedule_query(session_id)
        if row["session_status"] == "pending" and not row["open_attempts"]:
            self.may_expire[session_id] = datetime.fromisoformat(row["expires_at"])
        else:
            self.may_expire.pop(session_id, None)
