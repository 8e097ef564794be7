"""In-memory tables of the books: the journal, and the log of movements that it takes up."""

from collections.abc import Callable
from typing import Any

import msgspec

from payments.reconciliation import movement_log
from projections import journal
from projections.integrity import books_rules
from projections.postings import MONEY_OF_CUSTOMERS, Account
from tests.simulation.ledger_tables import Handler, LedgerTables, Row
from tests.simulation.reconciliation_tables import ReconciliationTables

_OWN = (Account.CHARGES, Account.BANK_SETTLEMENT)


class JournalTables:
    """The tables; rows are only added, and a movement is marked once it was looked at."""

    def __init__(self, ledger: LedgerTables, reconciliation: ReconciliationTables) -> None:
        self.entries: list[Row] = []
        self.credited: set[str] = set()
        self.logged: list[Row] = []
        self._ledger = ledger
        self._movements = reconciliation.movements

    def handlers(self) -> dict[Any, Handler]:
        """Return the handler of each statement."""
        return {
            _of_journal(journal.MOVEMENTS): self.movements_left,
            _of_journal(journal.COUNTERPARTS): self.counterparts,
            _of_journal(journal.ADD): self.add,
            journal.EARLIER: self.earlier,
            movement_log._ONE_PENDING.encode(): lambda _: self.pending({"limit": 1}),
            movement_log._PENDING.encode(): self.pending,
            movement_log._IN_THE_BOOKS: self.in_the_books,
            movement_log._REVERSED_BY_EVENT: self.reversed_by_event,
            movement_log._LOGGED: self.logged_of,
            movement_log._LAST: lambda _: [{"ordinal": len(self.logged)}],
            movement_log._LOG: self.log,
            movement_log._MARK: self.mark,
            books_rules.ENTRIES.encode(): self.entries_of,
            books_rules.MOVEMENTS: self.movements_of,
            books_rules.MOVEMENT_LOG.encode(): lambda _: [],
            books_rules.NOT_LOGGED.encode(): lambda _: [],
            books_rules.LOGGED_OTHERWISE.encode(): lambda _: [],
            books_rules.LEFT_OUT.encode(): lambda _: [],
            books_rules.OF_NO_SESSION.encode(): lambda _: [],
            journal.DAILY_SUMS.encode(): lambda _: [],
            books_rules.WAITING_EVENT.encode(): self.waiting_event,
            books_rules.WAITING_MOVEMENTS.encode(): self.waiting_movements,
        }

    def add(self, values: Any) -> tuple[list[Row], Callable[[], None]]:
        """Add entries, given by column."""
        new = [dict(zip(journal.COLUMNS, row, strict=True)) for row in zip(*values, strict=True)]
        for entry in new:
            assert entry["amount_cents"] > 0
            assert entry["debit_account"] != entry["credit_account"]
        credited = [
            entry["receipt"]
            for entry in new
            if entry["debit_account"] == Account.MPESA_CLEARING
            and entry["credit_account"] in MONEY_OF_CUSTOMERS
        ]
        assert len(credited) == len(set(credited)), "a receipt is in the books twice"
        assert self.credited.isdisjoint(credited), "a receipt is in the books already"
        count = len(self.entries)
        added = [{"entry_id": number, **row} for number, row in enumerate(new, 1 + count)]
        self.entries += added
        self.credited.update(credited)

        def undo() -> None:
            del self.entries[count:]
            self.credited.difference_update(credited)

        return [{"entry_id": row["entry_id"]} for row in added], undo

    def movements_left(self, values: Any) -> list[Row]:
        """Return what of the movement log is not posted, and came before a position."""
        last = max((entry["movement"] or 0 for entry in self.entries), default=0)
        until = values["until"]
        left = [row for row in self.logged if row["ordinal"] > last]
        return [row for row in left if until is None or row["after_position"] < until]

    def counterparts(self, values: Any) -> list[Row]:
        """Return how receipts are in the books."""
        wanted = set(values[0])
        return [
            entry
            for entry in self.entries
            if entry["receipt"] in wanted
            and (entry["movement"] is not None or entry["credit_account"] == Account.REFUNDED_OTHERWISE)
            and entry["debit_account"] not in _OWN
            and entry["credit_account"] not in _OWN
        ]

    def earlier(self, values: Any) -> list[Row]:
        """Return the events of sessions before their versions."""
        names = ("session_id", "version", "topic", "recorded_at", "position")
        return [
            {name: event[name] for name in names} | {"state": _text(event["state"])}
            for session_id, before in zip(values[0], values[1], strict=True)
            for event in self._ledger.events[session_id]
            if event["version"] < before and event["topic"] in values[2]
        ]

    def pending(self, values: Any) -> list[Row]:
        """Return movements that the journal has not looked at."""
        found = sorted(self._pending(), key=lambda row: (row["first_seen_at"], row["movement_key"]))
        return found[: values["limit"]]

    def waiting_movements(self, values: Any) -> list[Row]:
        """Return movements that the journal has not looked at, and that were matched before a moment."""
        return [
            row for row in self._pending() if (row["settled_at"] or row["first_seen_at"]) < values["before"]
        ]

    def _pending(self) -> list[Row]:
        return [
            row
            for row in self._movements.values()
            if row.get("journal_ordinal") is None
            and (row["verdict"] == "unknown" if row["kind"] == "payment" else row["verdict"] != "new")
        ]

    def waiting_event(self, values: Any) -> list[Row]:
        """Return the first event beyond a position that moved money before a moment."""
        followed, before = values["followed"], values["before"]
        waiting = (
            event
            for event in self._ledger.log
            if event["position"] > followed
            and event["topic"] in values["topics"]
            and event["recorded_at"] < before
        )
        first = next(waiting, None)
        return [] if first is None else [first]

    def in_the_books(self, values: Any) -> list[Row]:
        """Return the receipts that are in the books."""
        return [
            entry
            for entry in self.entries
            if entry["receipt"] in values["receipts"] and entry["debit_account"] == Account.MPESA_CLEARING
        ]

    def reversed_by_event(self, values: Any) -> list[Row]:
        """Return the reversals that an event of their session tells of."""
        return [{"movement_key": key} for key in values["keys"] if self._is_told(key, values["topic"])]

    def _is_told(self, key: str, topic: str) -> bool:
        row = self._movements[key]
        told = (
            msgspec.json.decode(_text(event["state"]))
            for event in self._ledger.events.get(row["session_id"], ())
            if event["topic"] == topic
        )
        receipts = (state["reversal_receipt"] or state["receipt"] for state in told)
        return any(receipt in (row["receipt"], row["linked_receipt"]) for receipt in receipts)

    def log(self, values: Any) -> tuple[list[Row], Callable[[], None]]:
        """Log movements, given by column."""
        before = list(self.logged)
        names = [name for name in values if name not in ("origin", "after")]
        place = {
            "origin": values["origin"],
            "after_position": values["after"],
            "posted_after": values["after"],
        }
        for row in zip(*(values[name] for name in names), strict=True):
            self.logged.append(dict(zip(names, row, strict=True)) | place | {"is_from_before": False})

        def undo() -> None:
            self.logged[:] = before

        return [], undo

    def logged_of(self, values: Any) -> list[Row]:
        """Return the rows of the log of these movements."""
        return [row for row in self.logged if row["movement_key"] in values["keys"]]

    def mark(self, values: Any) -> tuple[list[Row], Callable[[], None]]:
        """Mark movements as looked at."""
        for key, ordinal in zip(values["keys"], values["ordinals"], strict=True):
            self._movements[key]["journal_ordinal"] = ordinal

        def undo() -> None:
            for key in values["keys"]:
                self._movements[key]["journal_ordinal"] = None

        return [], undo

    def entries_of(self, values: Any) -> list[Row]:
        """Return the entries of sessions that events posted."""
        return [
            {name: entry[name] for name in journal.COLUMNS}
            for entry in self.entries
            if entry["session_id"] in values[0] and entry["position"] is not None
        ]

    def movements_of(self, values: Any) -> list[Row]:
        """Return what was logged of receipts, but for charges and settlements."""
        return [
            row
            for row in self.logged
            if row["category"] is None
            and (row["receipt"] in values["receipts"] or row["linked_receipt"] in values["receipts"])
        ]


def _of_journal(statement: str) -> bytes:
    return statement.format(table=journal.TABLE).encode()


def _text(state: Any) -> Any:
    return state if isinstance(state, str | bytes) else msgspec.json.encode(state)
