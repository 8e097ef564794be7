"""In-memory tables of reconciliation: movements, progress and gaps of Pull; and the query rate limiter."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.session.values import Evidence
from payments.confirmation import query_rate_limiter
from payments.reconciliation import lookups, movements, pull_progress
from payments.refunds import order_refunds
from tests.simulation.ledger_tables import Handler, LedgerTables, Row

_BETTER_MAY_CHANGE = ("evidence", "amount_cents", "happened_at", "transaction_id", "mac")
_GRADES = {str(grade): rank for rank, grade in enumerate(Evidence)}


class ReconciliationTables:
    """The tables, and the lookups of where a movement belongs."""

    def __init__(self, ledger: LedgerTables) -> None:
        self.movements: dict[str, Row] = {}
        self.pulled: dict[str, Row] = {}
        self.gaps: list[tuple[Any, ...]] = []
        self.budgets: dict[str, Row] = {}
        self.on_movements: Callable[[datetime], None] = lambda _: None
        self._ledger = ledger

    def handlers(self) -> dict[Any, Handler]:
        """Return the handler of each statement."""
        return {
            movements._STORE: self.store,
            movements._KNOWN.encode(): self.known,
            movements._STORE_RESULTS: self.store_results,
            movements._UNSIGNED: lambda _: [],
            movements._SIGN: lambda _: 0,
            movements._UNPROCESSED: self.unprocessed,
            movements._CLAIMED_MEANWHILE: self.claimed_meanwhile,
            movements._UNMATCHED.encode(): self.unmatched,
            movements._KNOWN_REVERSAL.encode(): self.known_reversal,
            movements._CLOSE_RETURNED: self.close_returned,
            pull_progress._READ: self.progress,
            pull_progress._PUT_OFF: self.put_off,
            pull_progress._DONE: self.done,
            pull_progress._ADD_GAP: self.add_gap,
            query_rate_limiter._TAKE.encode(): self.take,
            query_rate_limiter._PAUSE: self.pause,
            lookups.NAMED_ATTEMPTS: self.named_attempts,
            lookups.OF_RECEIPTS: self.sessions_of_receipts,
            order_refunds._IS_OF_A_PAYMENT: self.is_of_a_payment,
        }

    def store(self, values: Any) -> int:
        """Store new movements."""
        news = [row for row in values["movements"].obj if row["movement_key"] not in self.movements]
        for movement in news:
            self.movements[movement["movement_key"]] = movement | {
                "happened_at": datetime.fromisoformat(movement["happened_at"]),
                "verdict": "new",
                "session_id": None,
                "told": None,
                "first_seen_at": values["now"],
                "settled_at": None,
                "closed_at": None,
                "is_from_before": False,
            }
        if news:
            self.on_movements(values["now"])
        return len(news)

    def known(self, values: Any) -> list[Row]:
        """Return stored movements by key."""
        return [self.movements[key] for key in values["keys"] if key in self.movements]

    def store_results(self, values: Any) -> int:
        """Store the results of matching; a weaker source does not change amount or time."""
        stored = 0
        for row in values["results"].obj:
            movement = self.movements.get(row["movement_key"])
            if movement is None:
                continue
            news = row | {
                "happened_at": datetime.fromisoformat(row["happened_at"]),
                "session_id": row["session_id"] and UUID(row["session_id"]),
                "settled_at": values["now"],
            }
            if _GRADES[news["evidence"]] < _GRADES[movement["evidence"]]:
                news |= {name: movement[name] for name in _BETTER_MAY_CHANGE}
            movement |= news
            stored += 1
        return stored

    def unprocessed(self, values: Any) -> list[Row]:
        """Return movements that were never matched."""
        before = values["before"]
        left = [m for m in self.movements.values() if m["verdict"] == "new" and m["first_seen_at"] <= before]
        return sorted(left, key=lambda movement: movement["first_seen_at"])[: values["limit"]]

    def claimed_meanwhile(self, values: Any) -> list[Row]:
        """Return unmatched payments whose receipt is reserved by now, and reversals of such."""
        claimed = [movement for movement in self.unclaimed() if movement["receipt"] in self._ledger.receipts]
        claimed += [
            movement
            for movement in self.reversals("not_ours")
            if movement["linked_receipt"] in self._ledger.receipts
        ]
        return sorted(claimed, key=lambda movement: movement["settled_at"])[: values["limit"]]

    def unclaimed(self) -> list[Row]:
        """Return open unmatched payments."""
        return [m for m in self.movements.values() if m["verdict"] == "unknown" and m["closed_at"] is None]

    def unmatched(self, values: Any) -> list[Row]:
        """Return the unmatched payments of some receipts."""
        return self._unmatched(values["receipts"])

    def close_returned(self, values: Any) -> int:
        """Close unmatched payments that were reversed."""
        reversed_payments = self._unmatched([values["receipt"]])
        for movement in reversed_payments:
            movement["closed_at"] = values["now"]
        return len(reversed_payments)

    def progress(self, values: Any) -> list[Row]:
        """Return the progress of Pull."""
        row = self.pulled.get(values[0])
        return [] if row is None else [row]

    def put_off(self, values: Any) -> int:
        """Postpone the next pull."""
        shortcode, next_at = values
        self.pulled.setdefault(shortcode, {"pulled_until": None})["next_at"] = next_at
        return 1

    def done(self, values: Any) -> tuple[list[Row], Any]:
        """Store the progress of Pull."""
        shortcode, pulled_until, next_at = values
        before = self.pulled.get(shortcode)
        earlier = before["pulled_until"] if before else None
        latest = pulled_until if earlier is None else max(earlier, pulled_until)
        self.pulled[shortcode] = {"pulled_until": latest, "next_at": next_at}

        def undo() -> None:
            if before is None:
                del self.pulled[shortcode]
            else:
                self.pulled[shortcode] = before

        return [], undo

    def add_gap(self, values: Any) -> tuple[list[Row], Any]:
        """Store a period that Pull cannot cover."""
        self.gaps.append(values)
        return [], self.gaps.pop

    def take(self, values: Any) -> int:
        """Take one token, if there is one."""
        budget = self.budgets.get(values["name"])
        now: datetime = values["now"]
        if budget is None:
            self.budgets[values["name"]] = {
                "tokens": values["burst"] - 1,
                "refilled_at": now,
                "paused_until": None,
            }
            return 1
        seconds = max(0.0, (now - budget["refilled_at"]) / timedelta(seconds=1))
        tokens = min(values["burst"], budget["tokens"] + values["per_second"] * seconds)
        is_paused = budget["paused_until"] is not None and budget["paused_until"] > now
        if is_paused or tokens < 1 + values["left"]:
            return 0
        budget |= {"tokens": tokens - 1, "refilled_at": max(budget["refilled_at"], now)}
        return 1

    def pause(self, values: Any) -> int:
        """Pause the rate limiter."""
        name, until = values["name"], values["until"]
        budget = self.budgets.setdefault(name, {"refilled_at": until, "paused_until": until})
        budget |= {
            "tokens": 1,
            "refilled_at": max(budget["refilled_at"], until),
            "paused_until": max(budget["paused_until"] or until, until),
        }
        return 1

    def named_attempts(self, values: Any) -> list[Row]:
        """Return the attempts of some transactions."""
        named = self._ledger.attempt_of_transaction
        return [
            {"transaction_id": number, "session_id": named[number][0], "attempt": named[number][1]}
            for number in values["transaction_ids"]
            if number in named
        ]

    def sessions_of_receipts(self, values: Any) -> list[Row]:
        """Return the sessions that hold some receipts."""
        receipts = self._ledger.receipts
        return [
            {"receipt": receipt, "session_id": receipts[receipt][0]}
            for receipt in values["receipts"]
            if receipt in receipts
        ]

    def is_of_a_payment(self, values: Any) -> list[Row]:
        """Return whether a receipt is of money that came in."""
        receipt = values["receipt"]
        is_known = receipt in self._ledger.receipts or f"payment {receipt}" in self.movements
        return [{"is_of_a_payment": is_known}]

    def reversals(self, *verdicts: str) -> list[Row]:
        """Return the reversals with one of some verdicts."""
        return [m for m in self.movements.values() if m["kind"] == "reversal" and m["verdict"] in verdicts]

    def known_reversal(self, values: Any) -> list[Row]:
        """Return earlier rows that are the case about the same reversal."""
        own = self.movements[values["key"]]
        return [
            earlier
            for earlier in self.reversals("reversal_unexpected")
            if earlier["linked_receipt"] == values["linked_receipt"]
            and (earlier["first_seen_at"], earlier["movement_key"]) < (own["first_seen_at"], values["key"])
        ]

    def _unmatched(self, receipts: list[str]) -> list[Row]:
        return [movement for movement in self.unclaimed() if movement["receipt"] in receipts]
