"""After a run: end the faults, wait until nothing is under way, and audit everything against everything."""

import json
import time
from collections import Counter
from functools import partial
from pathlib import Path

from api.cli.reconcile import DIFFERENCES_LEFT
from api.setting_rules import CALLBACK_PATH
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.inbox.inbox import MAX_UNAUTHENTICATED_KEPT
from tests.torture.auditing import (
    broken_acknowledgements,
    payment_differences,
    read_books,
    reversal_differences,
)
from tests.torture.draining import PROMPTS_AND_LATE_CALLBACKS_SECONDS, UnderWay, database_of, drain
from tests.torture.result import Result
from tests.torture.simulator_control import SimulatorControl, payments_of, reversals_of
from tests.torture.system import System

DRAINED_WITHIN_SECONDS = 420.0
DRAINED_AGAIN_WITHIN_SECONDS = 60.0
UNTIL_THE_STATEMENT_SECONDS = 7_200.0
MAX_STATEMENTS = 4
REFUNDED_WITHIN_SECONDS = 10.0
FOUND = ("credited", "found_unpaid")
SETTLED = (*FOUND, "refund_settled")
_STATEMENT = "statement.csv"
_MAX_ERROR_CHARACTERS = 500

_OK = 200
_CALLBACK_ROUTES = (CALLBACK_PATH, "/api/payments/transactions/mpesa_callback/")
_KEPT = "SELECT count(*) AS n FROM daraja_inbox WHERE channel = 'stk'"
_STATUSES = (
    "SELECT session_status, count(*) AS n FROM payment_sessions GROUP BY session_status ORDER BY n DESC"
)


def wind_down_and_audit(system: System, result: Result) -> None:
    """End the chaos, resolve all attempts, import M-Pesa's statement, audit; add everything to the result.

    The first statement finds payments of lost callbacks. The next covers a time so long after the last prompt that an
    attempt it lacks was never paid; and payments found by the first may have led to refunds meanwhile.
    """
    mpesa = SimulatorControl(system.simulator_port)
    mpesa.end_chaos()
    mpesa.advance_clock(PROMPTS_AND_LATE_CALLBACKS_SECONDS)
    _drain(system, result, DRAINED_WITHIN_SECONDS)
    result.mpesa = mpesa.statistics()
    _reconcile(system, mpesa.statement(), result)
    mpesa.advance_clock(UNTIL_THE_STATEMENT_SECONDS)
    result.by_hand.append(mpesa.pay_by_hand())
    left, wrong = _drain(system, result, DRAINED_AGAIN_WITHIN_SECONDS), list[str]()
    for _ in range(MAX_STATEMENTS):
        time.sleep(REFUNDED_WITHIN_SECONDS if left.refunds else 0)
        wrong = _reconcile(system, mpesa.statement(), result)
        left = _drain(system, result, DRAINED_AGAIN_WITHIN_SECONDS)
        if left.is_nothing and not left.wants_a_statement:
            break
    if not left.is_nothing or left.in_doubt:
        result.violations.append(f"after {result.drained_seconds:.0f} s there is still: {left}")
    result.violations += wrong
    result.more["refunds_under_way"] = left.refunds
    _account(system, mpesa.statement(), result)
    _verify(system, result)


def _drain(system: System, result: Result, within_seconds: float) -> UnderWay:
    seconds, left = drain(system, within_seconds)
    result.drained_seconds += seconds
    return left


def _reconcile(system: System, statement: bytes, result: Result) -> list[str]:
    """Import the statement as an operator does; return the differences that need a person, unmatched payments apart."""
    path = system.folder / _STATEMENT
    path.write_bytes(statement)
    done = system.run("reconcile", "--json", str(path))
    if done.returncode not in (0, DIFFERENCES_LEFT):
        return [f"`daftari reconcile` ended with {done.returncode}: {_end_of(done.stderr)}"]
    found = json.loads(done.stdout)["found"]
    result.reconciled += Counter({kind: found["counts"][kind] for kind in FOUND})
    left = {each["receipt"]: each for each in found["differences"] if each["kind"] not in SETTLED}
    unseen = [receipt for receipt in result.by_hand if left.pop(receipt, {"kind": ""})["kind"] != "unknown"]
    return [
        f"receipt {receipt} is unmatched, and the statement's import does not report it" for receipt in unseen
    ] + [
        f"session {each['session_id']}: the statement reports {each['kind']} of receipt {each['receipt']}"
        for each in left.values()
    ]


def _account(system: System, statement: bytes, result: Result) -> None:
    """Audit every acknowledgement and payment; add violations to the result."""
    truth, reversals = payments_of(statement), reversals_of(statement)
    result.reversals = len(reversals)
    result.payments, result.cents = len(truth), sum(payment.amount_cents for payment in truth)
    with database_of(system) as database:
        books = read_books(database)
        vault = Vault(database, system.settings.daftari_master_key)
        result.violations += result.acknowledged.violations
        result.violations += broken_acknowledgements(
            books, result.acknowledged, partial(vault.digest, "checkout")
        )
        result.violations += payment_differences(books, truth)
        result.violations += reversal_differences(books, reversals)
        with database.connection() as connection:
            result.statuses = {row["session_status"]: row["n"] for row in connection.execute(_STATUSES)}
        result.callbacks = _acknowledged_callbacks(system.api.log)
        kept = _count_of(database, _KEPT)
        if kept < min(result.callbacks, MAX_UNAUTHENTICATED_KEPT):
            result.violations.append(
                f"{result.callbacks} callbacks were acknowledged, and {kept} are in the inbox"
            )
    result.orders = sum(len(orders) for orders in books.orders.values())


def _verify(system: System, result: Result) -> None:
    """Run `daftari verify`; add its violations to the result."""
    done = system.run("verify", "--json")
    if not done.stdout:
        result.violations.append(f"`daftari verify` ended with {done.returncode}: {_end_of(done.stderr)}")
        return
    run = json.loads(done.stdout)
    result.events = run["events"]
    for found in run["violations"]:
        of = f"session {found['session_id']}: " if found["session_id"] else ""
        result.violations.append(f"{of}{found['rule']}: {found['told']}")


def _acknowledged_callbacks(log: Path) -> int:
    """Count the callbacks that were answered 200: each has a line in the log of the API, written before its answer.

    A line that a kill cut short is skipped.
    """
    with log.open(encoding="utf-8", errors="replace") as lines:
        whole = (json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n"))
        requests = [line for line in whole if line.get("event") == "request" and line.get("status") == _OK]
    return sum(str(request["route"]).startswith(_CALLBACK_ROUTES) for request in requests)


def _count_of(database: Database, statement: str) -> int:
    with database.connection() as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row["n"])


def _end_of(text: str) -> str:
    return text.strip()[-_MAX_ERROR_CHARACTERS:]
