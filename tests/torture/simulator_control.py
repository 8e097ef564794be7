"""The simulator's control API: its clock, its chaos, and its books, which are the truth of a run."""

import json
import urllib.request
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from daraja.eat import EAT
from daraja.statement import parse_statement
from tests.support.ports import LOCALHOST

_ANSWERS_WITHIN_SECONDS = 60
_FAILED_ROW = "UKA0FAILED,{moment},{moment},,Failed,1.00,,0.00,true,Pay Bill Online,,,\r\n"
_STRANGER = "254799999999"
_REVERSAL = "Transaction Reversal"
_REFERENCE = "D"
"""The prefix of our account references; the transaction id follows."""


@dataclass(frozen=True)
class Payment:
    """One payment in M-Pesa's books: receipt, amount in cents, and transaction id."""

    receipt: str
    amount_cents: int
    transaction_id: int


@dataclass(frozen=True)
class Reversal:
    """One reversal in M-Pesa's books: the receipt of the payment, and the amount in cents."""

    of_receipt: str
    amount_cents: int


class SimulatorControl:
    """A client of the simulator's control API, past all proxies."""

    def __init__(self, port: int) -> None:
        self._root = f"http://{LOCALHOST}:{port}/simulator/api"

    def end_chaos(self) -> None:
        """Stop the chaos, and clear faults that wait for a request."""
        self._ask("/chaos", {"on": False})

    def advance_clock(self, seconds: float) -> None:
        """Advance its clock: unanswered prompts end, and late callbacks are sent."""
        self._ask("/clock", {"advance_seconds": seconds})

    def pay_by_hand(self) -> str:
        """Pay a shilling that belongs to no session, so that the statement covers this moment; return the receipt."""
        paid = json.loads(self._ask("/payments", {"phone": _STRANGER, "amount": 1, "reference": ""}))
        return str(paid["receipt"])

    def confirm_prompts(self, order: str) -> None:
        """Confirm payments by C2B too: `before` or `after` their callback, or `never`."""
        self._ask("/organisation", {"c2b_for_prompts": order})

    def statistics(self) -> dict[str, int]:
        """Return the simulator's counters."""
        counted: dict[str, int] = json.loads(self._ask("/statistics"))
        return counted

    def statement(self) -> bytes:
        """Return the statement that the organisation portal would export, of all time.

        It begins the day before, with a failed payment, so that it covers the whole run.
        """
        day_before = (datetime.now(EAT) - timedelta(days=1)).strftime("%d-%m-%Y %H:%M:%S")
        return self._ask("/statement.csv") + _FAILED_ROW.format(moment=day_before).encode()

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_ANSWERS_WITHIN_SECONDS) as answer:
            read: bytes = answer.read()
            return read


def reversals_of(statement: bytes) -> list[Reversal]:
    """Return the reversals in a statement."""
    rows = [row for row in parse_statement(statement).rows if row.is_completed and row.withdrawn_cents]
    return [
        Reversal(row.linked_receipt, row.withdrawn_cents)
        for row in rows
        if row.linked_receipt and row.reason_type == _REVERSAL
    ]


def payments_of(statement: bytes) -> list[Payment]:
    """Return the payments in a statement that have one of our account references."""
    rows = [row for row in parse_statement(statement).rows if row.is_completed and row.paid_in_cents]
    ours = [row for row in rows if row.reference.startswith(_REFERENCE)]
    return [
        Payment(row.receipt, row.paid_in_cents, int(row.reference.removeprefix(_REFERENCE))) for row in ours
    ]
