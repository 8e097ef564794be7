"""The statements of a verification run on the in-memory tables."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from ledger.application import RECEIPT
from ledger.session.values import Evidence
from ledger.store import api_key_macs, audit_log, block_faults, blocks
from ledger.store.locks import SHARE_SCHEMA
from projections import figure_sums, metrics
from projections.integrity import (
    checkout_rules,
    erasure_rules,
    inbox_rules,
    invariants,
    log_rules,
    money_rules,
    personal_data_rules,
    projection_rules,
    session_checks,
    tree_rules,
)
from tests.simulation.ledger_tables import Handler, Row
from tests.simulation.memory_database import Tables

_MOVED = ("payment_session.paid.v1", "payment_session.surplus_received.v1")
_REVERSED = "payment_session.payment_reversed.v1"
_REFUND_DUE = "payment_session.refund_due.v1"
MOMENTS = (
    "created_at",
    "expires_at",
    "last_requested_at",
    "initiated_at",
    "paid_at",
    "order_created_at",
    "ended_at",
    "updated_at",
)
"""The columns of `payment_sessions` that are moments."""
_NAME_A_SOURCE = (
    *_MOVED,
    "payment_session.receipt_recorded.v1",
    "payment_session.evidence_upgraded.v1",
    _REVERSED,
)
_CHANNELS = {"callback": "stk", "query": "status_query"}
_NOT_SETTLED = ("new", "unknown", "known_elsewhere")


class VerificationTables:
    """Handles the statements of `projections.integrity.invariants.check`."""

    def __init__(self, tables: Tables, *, with_texts: bool) -> None:
        self._with_texts = with_texts
        self._tables = tables
        self._ledger = tables.ledger

    def handlers(self) -> dict[Any, Handler]:
        """Return the handler of each statement."""
        found: dict[Any, Handler] = {
            SHARE_SCHEMA: lambda _: [{"shared": True}],
            api_key_macs._ALL: lambda _: [],
            audit_log._ALL: lambda _: [],
            audit_log.OF_KIND: lambda _: [],
            checkout_rules.ROWS: lambda _: [],
            erasure_rules.ERASURES: lambda _: [],
            erasure_rules.ERASED_BEFORE: lambda _: [],
            tree_rules.PARTS: lambda _: [],
            tree_rules.UNLED: lambda _: [],
            tree_rules.MISSING: lambda _: [],
            invariants.ALL_SESSIONS.encode(): lambda _: self._session_ids(),
            session_checks.LOG: self._log_of,
            session_checks.ROWS: self._rows_of,
            projection_rules.SEARCHED_OTHERWISE.encode(): self._rows_unsearched,
            erasure_rules.LEFT_OF_ERASED: lambda _: [],
            log_rules.WEBHOOK_ENDPOINTS: lambda _: [],
            log_rules.SHARED_POSITIONS: lambda _: self._shared_positions(),
            money_rules.HOLDERS: self._holders,
            money_rules.RESERVED_ONLY.encode(): self._reserved_only,
            money_rules.MONEY_OF_ROWS: lambda _: [self._money()],
            audit_log._ALL: lambda _: [],
            blocks._IN_ORDER: lambda _: list(self._ledger.blocks),
            blocks._LAST_NUMBERS: lambda _: self._last_numbers(),
            blocks._ONE: self._block,
            block_faults._SIGNED_AND_FOUND: self._signed_and_found,
            money_rules.MOVEMENTS.encode(): lambda _: list(self._tables.reconciliation.movements.values()),
            money_rules.MISBOOKED.encode(): lambda _: self._misbooked(),
            money_rules.CREDITED_AND_UNMATCHED.encode(): self._credited_and_unmatched,
            money_rules.REVERSED_UNTOLD.encode(): self._reversed_untold,
            money_rules.PAID_WITHOUT_END.encode(): self._paid_without_end,
            inbox_rules.STORED.encode(): self._stored_messages,
            inbox_rules.MESSAGES_WITHOUT_SESSION: lambda _: self._messages_without_session(),
            inbox_rules.EVENTS_WITHOUT_SOURCE: lambda _: self._events_without_source(),
            inbox_rules.PAYMENTS_WITHOUT_MESSAGE: lambda _: self._payments_without_message(),
            personal_data_rules.EXISTS: lambda values: [
                {"there": self._with_texts and values[0] in self._texts()}
            ],
            projection_rules.METRICS_AHEAD.encode(): self._metrics_ahead,
            metrics.READ_ALL.encode(): lambda _: self._figures(),
            metrics.FROM_SESSIONS.encode(): lambda _: self._figures_of_rows(),
            # No follower of it runs here: it is empty, and its position the beginning of the log.
            projection_rules.BUILT: lambda _: [{"version": figure_sums.VERSION}],
            figure_sums.READ_HOURS.encode(): lambda _: [],
            figure_sums.READ_SUMS.encode(): lambda _: [],
            figure_sums.DAYS_UNLIKE_HOURS.encode(): lambda _: [],
        }
        for table in personal_data_rules.TABLES_WITHOUT_PERSONS:
            statement = personal_data_rules.TEXTS.format(table=table).encode()
            found[statement] = partial(self._texts_of, table)
        return found

    def _session_ids(self) -> list[Row]:
        return [
            {"session_id": each} for each in sorted(self._ledger.events.keys() | self._ledger.rows.keys())
        ]

    def _log_of(self, values: Any) -> list[Row]:
        return [event for each in values[0] for event in self._ledger.events.get(each, ())]

    def _rows_of(self, values: Any) -> list[Row]:
        return [self._row(self._ledger.rows[each]) for each in values[0] if each in self._ledger.rows]

    def _rows_unsearched(self, values: Any) -> list[Row]:
        """Return all: no follower of the simulation fills the table of the search."""
        return [{"session_id": each} for each in values[0] if each in self._ledger.rows]

    def _row(self, row: Row) -> Row:
        moments = {name: row[name] and datetime.fromisoformat(row[name]) for name in MOMENTS}
        return row | moments | {"session_id": UUID(row["session_id"])}

    def _shared_positions(self) -> list[Row]:
        counted = Counter(self._ledger.log_positions)
        return [{"position": position} for position, count in counted.items() if count > 1]

    def _holders(self, values: Any) -> list[Row]:
        kind, receipts = values
        assert kind == RECEIPT
        held = self._ledger.receipts
        return [{"value": each, "session_id": held[each][0]} for each in receipts if each in held]

    def _reserved_only(self, values: Any) -> list[Row]:
        return [
            {"value": value, "session_id": holder}
            for value, (holder, at) in self._ledger.receipts.items()
            if values["since"] <= at < values["until"]
            and all(state["receipt"] != value for state in self._ledger.states(holder, *values["credits"]))
        ]

    def _money(self) -> Row:
        rows = self._ledger.rows.values()
        ordered = sum(row["total_cents"] for row in rows if row["session_status"] == "order_created")
        return {
            "received": sum(row["received_cents"] for row in rows),
            "orders": ordered - sum(map(self._gone_of_order, rows)),
            "refunded": sum(row["refunded_cents"] for row in rows),
            "held": sum(row["refund_due_cents"] for row in rows)
            + sum(row["total_cents"] for row in rows if row["session_status"] == "paid"),
        }

    def _gone_of_order(self, row: Row) -> int:
        if row["session_status"] not in ("paid", "order_created"):
            return 0
        session_id = UUID(row["session_id"])
        due = [state for state in self._ledger.states(session_id, _REFUND_DUE) if state.get("of_order")]
        return sum(state["amount_cents"] for state in due + list(self._ledger.states(session_id, _REVERSED)))

    def _last_numbers(self) -> list[Row]:
        return [{"origin": block["origin"], "number": block["number"]} for block in self._ledger.blocks[-1:]]

    def _signed_and_found(self, values: Any) -> list[Row]:
        _, first, last = values
        found = []
        for block in self._ledger.blocks[first - 1 : last]:
            leaves = self._ledger.leaves(block["after_position"], block["until_position"])
            found.append(block | {"leaves": leaves, "found": leaves})
        return found

    def _block(self, values: Any) -> list[Row]:
        return [block for block in self._ledger.blocks if block["number"] == values[1]]

    def _holder(self, receipt: str) -> UUID | None:
        return self._ledger.receipts.get(receipt, (None, None))[0]

    def _misbooked(self) -> list[Row]:
        movements = self._tables.reconciliation.movements.values()
        settled = [m for m in movements if m["kind"] == "payment" and m["verdict"] not in _NOT_SETTLED]
        return [
            m for m in settled if m["session_id"] is None or self._holder(m["receipt"]) != m["session_id"]
        ]

    def _credited_and_unmatched(self, values: Any) -> list[Row]:
        unclaimed = self._tables.reconciliation.unclaimed()
        return [
            {"receipt": m["receipt"], "session_id": self._holder(m["receipt"])}
            for m in unclaimed
            if m["kind"] == "payment" and m["first_seen_at"] < values["until"] and self._holder(m["receipt"])
        ]

    def _reversed_untold(self, values: Any) -> list[Row]:
        movements = self._tables.reconciliation.movements.values()
        return [
            {"receipt": m["linked_receipt"], "session_id": holder}
            for m in movements
            if m["kind"] == "reversal"
            and m["settled_at"] is not None
            and m["first_seen_at"] < values["until"]
            if (holder := self._holder(m["linked_receipt"]))
            and not self._goes_back(holder, m["linked_receipt"])
        ]

    def _goes_back(self, session_id: UUID, receipt: str) -> bool:
        recorded = {
            state["attempt"]: state["receipt"]
            for state in self._ledger.states(session_id, "payment_session.receipt_recorded.v1")
        }
        return any(
            (state["receipt"] or recorded.get(state["attempt"])) == receipt
            for state in self._ledger.states(session_id, _REFUND_DUE, _REVERSED)
        )

    def _paid_without_end(self, values: Any) -> list[Row]:
        before, followed = values
        missing = {
            session_id
            for session_id, found in self._tables.refunds.cases.items()
            if any(case["kind"] == "order_missing" for case in found.values())
        }
        missing |= {
            session_id
            for (name, session_id, _), failure in self._tables.worker.failures.items()
            if name == "orders" and failure["state"] == "set_aside"
        }
        return [
            {"session_id": session_id}
            for session_id, row in self._ledger.rows.items()
            if row["session_status"] == "paid"
            and session_id not in missing
            and any(
                event["topic"] == _MOVED[0]
                and event["recorded_at"] < before
                and event["position"] <= followed
                for event in self._ledger.events[session_id]
            )
        ]

    def _stored_messages(self, values: Any) -> list[Row]:
        messages = self._tables.worker.messages.values()
        return [x for x in messages if x["received_at"] >= values["since"] and x["state"] != "closed"]

    def _messages_without_session(self) -> list[Row]:
        about = {message["session_id"] for message in self._tables.worker.messages.values()}
        return [{"session_id": each} for each in about - self._ledger.events.keys() - {None}]

    def _payments_without_message(self) -> list[Row]:
        messages = self._tables.worker.messages.values()
        confirmed = {x["session_id"] for x in messages if x["channel"] == "stk" and x["is_proven"]}
        return [
            {"session_id": session_id}
            for session_id in self._ledger.events.keys() - confirmed
            if any(
                state["evidence"] == Evidence.CALLBACK for state in self._ledger.states(session_id, *_MOVED)
            )
        ]

    def _events_without_source(self) -> list[Row]:
        return [
            {"session_id": event["session_id"], "version": event["version"], "evidence": evidence}
            for event in self._ledger.log
            if event["topic"] in _NAME_A_SOURCE
            and (evidence := msgspec.json.decode(event["state"])["evidence"])
            and not self._has_source(event, evidence)
        ]

    def _has_source(self, event: Row, evidence: str) -> bool:
        state, metadata = msgspec.json.decode(event["state"]), msgspec.json.decode(event["metadata"])
        if evidence not in _CHANNELS:
            movements = self._tables.reconciliation.movements.values()
            kind, name = (
                ("reversal", "linked_receipt") if event["topic"] == _REVERSED else ("payment", "receipt")
            )
            return any((m[name], m["kind"]) == (state["receipt"], kind) for m in movements)
        message = self._tables.worker.messages.get(UUID(metadata["source"]))
        return (
            message is not None
            and message["is_proven"]
            and (message["session_id"], message["channel"]) == (event["session_id"], _CHANNELS[evidence])
        )

    def _metrics_ahead(self, values: Any) -> list[Row]:
        topics, after = set(values["topics"]), values["after"]
        return [event for event in self._ledger.log if event["topic"] in topics and event["position"] > after]

    def _figures(self) -> list[Row]:
        return [
            {"hour": hour} | {name: figures[name] for name in metrics.FIGURES}
            for hour, figures in sorted(self._tables.worker.figures.items())
        ]

    def _figures_of_rows(self) -> list[Row]:
        hours: dict[datetime, Counter[str]] = {}
        for row in self._ledger.rows.values():
            created = datetime.fromisoformat(row["created_at"]).astimezone(UTC)
            figures = hours.setdefault(created.replace(minute=0, second=0, microsecond=0), Counter())
            status = row["session_status"]
            figures.update(["sessions_created", status])
            figures["payments_initiated"] += status not in ("pending", "expired")
            figures["payments_received"] += row["paid_at"] is not None
            figures["orders_created"] += row["order_number"] is not None
            figures["paid_cents"] += row["total_cents"] if row["paid_at"] is not None else 0
        return [
            {"hour": hour} | {name: figures[name] for name in metrics.FIGURES}
            for hour, figures in sorted(hours.items())
        ]

    def _texts(self) -> dict[str, Callable[[], Iterable[str]]]:
        tables = self._tables
        return {
            "payment_sessions": lambda: map(str, tables.ledger.rows.values()),
            "payment_refunds": lambda: map(str, tables.refunds.refunds.values()),
            "payment_cases": lambda: (
                str(case) for found in tables.refunds.cases.values() for case in found.values()
            ),
            "mpesa_movements": lambda: map(str, tables.reconciliation.movements.values()),
            "follower_failures": lambda: map(str, tables.worker.failures.values()),
        }

    def _texts_of(self, table: str, _: Any) -> list[Row]:
        return [{"text": f" {text} "} for text in self._texts()[table]()]
