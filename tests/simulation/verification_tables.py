"""The statements of a verification run on the in-memory tables."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from ledger.application import RECEIPT
from ledger.session.values import Evidence
from ledger.store import audit_log, blocks
from ledger.store.locks import SHARE_SCHEMA
from projections import cases, metrics, refunds
from projections.integrity import (
    erasure_rules,
    inbox_rules,
    invariants,
    log_rules,
    money_rules,
    personal_data_rules,
)
from projections.integrity.projection_rules import MOMENTS
from projections.session_rows import EVENTS_IN_ORDER
from tests.simulation.ledger_tables import Handler, Row
from tests.simulation.memory_database import Tables

_MOVED = ("payment_session.paid.v1", "payment_session.surplus_received.v1")
_REVERSED = "payment_session.payment_reversed.v1"
_NAME_A_SOURCE = (
    *_MOVED,
    "payment_session.receipt_recorded.v1",
    "payment_session.evidence_upgraded.v1",
    _REVERSED,
)
_CHANNELS = {"callback": "stk", "query": "status_query"}
_SETTLED = ("posted", "credited", "amount_differs")
_PERSONAL = re.compile(personal_data_rules.PERSONAL)


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
            audit_log._ALL: lambda _: [],
            audit_log.OF_KIND: lambda _: [],
            erasure_rules.ERASURES: lambda _: [],
            erasure_rules.ERASED_BEFORE: lambda _: [],
            erasure_rules.LEFT_OF_ERASED: lambda _: [],
            invariants.LOG: lambda _: self._log(),
            invariants.ROWS: lambda _: [self._row(row) for _, row in sorted(self._ledger.rows.items())],
            log_rules.SHARED_POSITIONS: lambda _: self._shared_positions(),
            money_rules.REFERENCES.encode(): self._references,
            money_rules.MONEY_OF_ROWS: lambda _: [self._money()],
            audit_log._ALL: lambda _: [],
            blocks._AGAIN: lambda _: self._blocks(),
            money_rules.SETTLED_MOVEMENTS.encode(): lambda _: self._settled_movements(),
            money_rules.OPEN_MOVEMENTS.encode(): self._open_movements,
            money_rules.REVERSED_MOVEMENTS.encode(): self._reversed_movements,
            money_rules.PAID_WITHOUT_END.encode(): self._paid_without_end,
            inbox_rules.MESSAGES_WITHOUT_SESSION: lambda _: self._messages_without_session(),
            inbox_rules.EVENTS_WITHOUT_SOURCE: lambda _: self._events_without_source(),
            inbox_rules.PAYMENTS_WITHOUT_MESSAGE: lambda _: self._payments_without_message(),
            personal_data_rules.EXISTS: lambda values: [
                {"there": self._with_texts and values[0] in self._texts()}
            ],
            EVENTS_IN_ORDER: self._facts,
            metrics.READ_ALL.encode(): lambda _: self._figures(),
            metrics.FROM_SESSIONS.encode(): lambda _: self._figures_of_rows(),
            refunds.PaymentRefunds().select_all.encode(): lambda _: _sorted(self._tables.refunds.refunds),
            cases.PaymentCases().select_all.encode(): lambda _: _sorted(self._tables.refunds.cases),
        }
        for table, text in personal_data_rules.TABLES_WITHOUT_PERSONS.items():
            statement = personal_data_rules.IN_THE_CLEAR.format(table=table, text=text).encode()
            found[statement] = partial(self._in_the_clear, table)
        return found

    def _log(self) -> list[Row]:
        return [event for _, history in sorted(self._ledger.events.items()) for event in history]

    def _row(self, row: Row) -> Row:
        moments = {name: row[name] and datetime.fromisoformat(row[name]) for name in MOMENTS}
        return row | moments | {"session_id": UUID(row["session_id"])}

    def _shared_positions(self) -> list[Row]:
        counted = Counter(self._ledger.log_positions)
        return [{"position": position} for position, count in counted.items() if count > 1]

    def _references(self, values: Any) -> list[Row]:
        assert tuple(values) == (RECEIPT,)
        return [
            {"value": value, "session_id": holder, "reserved_at": at}
            for value, (holder, at) in self._ledger.receipts.items()
        ]

    def _money(self) -> Row:
        rows = self._ledger.rows.values()
        return {
            "received": sum(row["received_cents"] for row in rows),
            "orders": sum(row["total_cents"] for row in rows if row["session_status"] == "order_created"),
            "refunded": sum(row["refunded_cents"] for row in rows),
            "held": sum(row["refund_due_cents"] for row in rows)
            + sum(row["total_cents"] for row in rows if row["session_status"] == "paid"),
        }

    def _blocks(self) -> list[Row]:
        found = []
        for block in self._ledger.blocks:
            again = self._ledger.digest_of_events(block["after_position"], block["until_position"])
            found.append(block | {"events_found": again["events"], "digest_found": again["digest"]})
        return found

    def _settled_movements(self) -> list[Row]:
        movements = self._tables.reconciliation.movements.values()
        return [m for m in movements if m["kind"] == "payment" and m["verdict"] in _SETTLED]

    def _open_movements(self, values: Any) -> list[Row]:
        unclaimed = self._tables.reconciliation.unclaimed()
        return [m for m in unclaimed if m["kind"] == "payment" and m["first_seen_at"] < values[0]]

    def _reversed_movements(self, values: Any) -> list[Row]:
        movements = self._tables.reconciliation.movements.values()
        return [
            m
            for m in movements
            if m["kind"] == "reversal" and m["settled_at"] is not None and m["linked_receipt"] is not None
            if m["first_seen_at"] < values[0]
        ]

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

    def _facts(self, values: Any) -> list[Row]:
        topics, until = set(values[0]), values[1]
        return [event for event in self._log() if event["topic"] in topics and event["position"] <= until]

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
            "payment_events": lambda: (event["state"] for event in tables.ledger.log),
            "payment_sessions": lambda: map(str, tables.ledger.rows.values()),
            "payment_refunds": lambda: map(str, tables.refunds.refunds.values()),
            "payment_cases": lambda: map(str, tables.refunds.cases.values()),
            "mpesa_movements": lambda: map(str, tables.reconciliation.movements.values()),
            "follower_failures": lambda: map(str, tables.worker.failures.values()),
        }

    def _in_the_clear(self, table: str, values: Any) -> list[Row]:
        texts = values["texts"]
        rows = sum(
            _PERSONAL.search(text) is not None or any(known in text for known in texts)
            for text in self._texts()[table]()
        )
        return [{"rows": rows}]


def _sorted(rows: dict[Any, dict[Any, Row]]) -> list[Row]:
    return [row for _, of_session in sorted(rows.items()) for _, row in sorted(of_session.items())]
