"""In-memory tables of refunds, their status checks, and open cases."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from ledger.store import audit_log
from payments.operators import stakes, switches
from payments.refunds import queues, status_check_log
from payments.refunds.status_check_log import QUERY_SCHEDULE
from projections import cases as payment_cases
from projections import refunds as payment_refunds
from projections.cases import PaymentCase
from projections.refunds import PaymentRefund
from tests.simulation.ledger_tables import Handler, LedgerTables, Row

Undo = Callable[[], None]
_TROUBLE = ("WRONG_CREDENTIAL", "OPERATOR_LOCKED")
_REFUNDS, _CASES = msgspec.json.Decoder(list[PaymentRefund]), msgspec.json.Decoder(list[PaymentCase])
_TROUBLE_TOLD = ("wrong_credential", "operator_locked")


class RefundTables:
    """The tables; `on_refund` is called when a refund changes."""

    def __init__(self, ledger: LedgerTables) -> None:
        self.refunds: dict[UUID, dict[int, Row]] = {}
        self.cases: dict[UUID, dict[tuple[str, int], Row]] = {}
        self.checks: dict[tuple[UUID, int, int], Row] = {}
        self.on_refund: Callable[[], object] = lambda: None
        self.position_of: Callable[[str], int] = lambda _: 0
        self._ledger = ledger

    def handlers(self) -> dict[Any, Handler]:
        """Return the handler of each statement."""
        cases, refunds = payment_cases.PaymentCases(), payment_refunds.PaymentRefunds()
        return {
            refunds.put.encode(): self.put_refunds,
            refunds.select.encode(): self.refunds_of,
            payment_refunds.EVENTS_OF_SESSION: self.facts_of,
            cases.put.encode(): self.put_cases,
            cases.select.encode(): self.cases_of,
            refunds.events_ahead.encode(): self.events_ahead,
            queues.TROUBLE.encode(): self.trouble,
            queues.TO_SEND.encode(): self.to_send,
            queues.UNANSWERED.encode(): self.unanswered,
            queues.TO_ASK_ABOUT.encode(): self.to_ask_about,
            queues.UNSENT.encode(): self.unsent,
            stakes.OWN_PHONES: lambda _: [],
            switches.NEWEST: lambda _: [],
            audit_log._RECORD: lambda _: [{"record_audit_entry": ""}],
            status_check_log._NOTE_ASKED: self.note_asked,
            status_check_log._NOTE_ANSWER: self.note_answer,
        }

    def put_refunds(self, values: Any) -> tuple[list[Row], Undo]:
        """Write some refunds; none goes."""
        undo = _replace(self.refunds, _REFUNDS.decode, values, lambda refund: refund.refund)
        self.on_refund()
        return [], undo

    def refunds_of(self, values: Any) -> list[Row]:
        """Return the refunds of some sessions."""
        return [row for session_id in values[0] for row in self.refunds.get(session_id, {}).values()]

    def facts_of(self, values: Any) -> list[Row]:
        """Return a session's events of some topics."""
        session_id, topics = values
        return [event for event in self._ledger.events.get(session_id, []) if event["topic"] in topics]

    def put_cases(self, values: Any) -> tuple[list[Row], Undo]:
        """Close and open some cases."""
        return [], _replace(self.cases, _CASES.decode, values, lambda case: (case.subject, case.number))

    def cases_of(self, values: Any) -> list[Row]:
        """Return the open cases of some sessions."""
        return [row for session_id in values[0] for row in self.cases.get(session_id, {}).values()]

    def events_ahead(self, values: Any) -> list[Row]:
        """Return the events of sessions that the follower of refunds is behind with."""
        followed = self.position_of(values["name"])
        ahead = self._ledger.sessions_beyond(followed, values["topics"])
        return [
            event
            for session_id in sorted(ahead)
            for event in self._ledger.events[session_id]
            if event["topic"] in values["topics"]
        ]

    def now(self, values: Any) -> list[Row]:
        """Return every refund as the whole log has it."""
        ahead = set(values["sessions_ahead"])
        return [row for row in self.all_refunds() if row["session_id"] not in ahead] + [
            {name: _read(name, value) for name, value in row.items()}
            for row in json.loads(values["rows_ahead"])
        ]

    def trouble(self, values: Any) -> list[Row]:
        """Return when M-Pesa last refused the initiator."""
        since = values["since"]
        moments = [
            row["failed_at"]
            for row in self.now(values)
            if row["failure_code"] in _TROUBLE and row["failed_at"] > since
        ]
        moments += [
            check["asked_at"]
            for check in self.checks.values()
            if check["last_answer"] in _TROUBLE_TOLD and check["asked_at"] > since
        ]
        return [{"latest": max(moments, default=None)}]

    def to_send(self, values: Any) -> list[Row]:
        """Return approved refunds, the longest waiting first."""
        trouble_at = values["trouble_at"]
        waiting = [
            row
            for row in self.now(values)
            if row["state"] == "approved"
            and (
                trouble_at is None
                or (row["approved_at"] > trouble_at and not row["approved_by"].startswith("policy:"))
            )
        ]
        waiting.sort(key=lambda row: (row["approved_at"], row["session_id"], row["refund"]))
        return waiting[: values["limit"]]

    def unanswered(self, values: Any) -> list[Row]:
        """Return requested refunds whose result is late."""
        late, lost = values["late_before"], values["lost_before"]
        found = [
            row
            for row in self.now(values)
            if row["state"] == "requested"
            and not row["in_doubt"]
            and (
                row["requested_at"] <= late
                or (row["conversation_id"] is None and row["requested_at"] <= lost)
            )
        ]
        return sorted(found, key=lambda row: row["requested_at"])[: values["limit"]]

    def to_ask_about(self, values: Any) -> list[Row]:
        """Return refunds in doubt that are due for a status check."""
        found = []
        for row in self.now(values):
            if row["state"] != "requested" or not row["in_doubt"]:
                continue
            check = self.check_of(row)
            tries = check["tries"] if check else 0
            can_check = row["conversation_id"] is not None or row["requested_at"] <= values["settled_before"]
            at = check["next_check_at"] if check else row["doubted_at"] + values["first_gap"]
            if tries < values["max_tries"] and can_check and at <= values["now"]:
                since = check["next_check_at"] if check else row["doubted_at"]
                found.append((since, row["session_id"], row["refund"], row | {"tries": tries}))
        return [row for *_, row in sorted(found, key=lambda entry: entry[:3])][: values["limit"]]

    def unsent(self, values: Any) -> list[Row]:
        """Return due refunds that M-Pesa did not accept, up to a number of attempts in a row."""
        found = [
            row
            for row in self.now(values)
            if row["state"] == "due" and 1 <= row["unsent_in_a_row"] <= values["most"]
        ]
        return sorted(found, key=lambda row: row["failed_at"])[: values["limit"]]

    def note_asked(self, values: Any) -> int:
        """Log a status check of a refund."""
        key = values["session_id"], values["refund"], values["sending"]
        self.checks[key] = {
            "asked_at": values["now"],
            "tries": values["tries"],
            "next_check_at": values["next_check_at"],
            "last_answer": values["answer"],
        }
        return 1

    def note_answer(self, values: Any) -> int:
        """Store the answer to a status check."""
        answer, *key = values
        check = self.checks.get((key[0], key[1], key[2]))
        if check is None:
            return 0
        check["last_answer"] = answer
        return 1

    def purge_checks(self, values: Any) -> int:
        """Delete old status checks."""
        old = [key for key, check in self.checks.items() if check["asked_at"] <= values[0]]
        for key in old:
            del self.checks[key]
        return len(old)

    def check_of(self, refund: Row) -> Row | None:
        """Return the status check of the current refund attempt."""
        return self.checks.get((refund["session_id"], refund["refund"], refund["failures"] + 1))

    def next_status_check(self, refund: Row, first_gap: Any, settled_after: Any) -> datetime | None:
        """Return when a refund in doubt is checked next, None for never again."""
        check = self.check_of(refund)
        if check and check["tries"] >= QUERY_SCHEDULE.max_tries:
            return None
        at: datetime = check["next_check_at"] if check else refund["doubted_at"] + first_gap
        if refund["conversation_id"] is None:
            at = max(at, refund["requested_at"] + settled_after)
        return at

    def all_refunds(self) -> list[Row]:
        """Return every refund."""
        return [row for refunds in self.refunds.values() for row in refunds.values()]


def _read(name: str, value: Any) -> Any:
    if value is None:
        return None
    return (
        UUID(value)
        if name == "session_id"
        else datetime.fromisoformat(value)
        if name.endswith("_at")
        else value
    )


def _replace(
    tables: dict[UUID, dict[Any, Row]],
    decode: Callable[[str], Any],
    values: Any,
    key_of: Callable[[Any], Any],
) -> Undo:
    """Take rows out of their sessions' tables, and put others in, each list given as JSON."""
    gone, put = map(decode, values)
    before = {row.session_id: dict(tables.get(row.session_id, {})) for row in (*gone, *put)}
    for row in gone:
        del tables[row.session_id][key_of(row)]
    for row in put:
        tables.setdefault(row.session_id, {})[key_of(row)] = asdict(row)
    return lambda: tables.update(before)
