"""After a run: end the faults, wait until nothing is under way, and audit everything against everything."""

import json
import time
from collections import Counter
from functools import partial
from pathlib import Path

from api.cli.reconcile import DIFFERENCES_LEFT
from api.settings import CALLBACK_PATH
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.inbox.inbox import MAX_UNAUTHENTICATED_KEPT
from tests.torture.auditing import broken_promises, money_that_differs, read_books, reversals_that_differ
from tests.torture.draining import PROMPTS_AND_LATE_CALLBACKS_SECONDS, UnderWay, database_of, drain
from tests.torture.mpesa import Mpesa, payments_of, reversals_of
from tests.torture.result import Result
from tests.torture.system import Machine

DRAINED_WITHIN_SECONDS = 420.0
DRAINED_AGAIN_WITHIN_SECONDS = 60.0
UNTIL_THE_STATEMENT_SECONDS = 7_200.0
MAX_STATEMENTS = 4
MONEY_GOES_BACK_WITHIN_SECONDS = 10.0
BROUGHT = ("credited", "found_unpaid")
SETTLED = (*BROUGHT, "refund_settled")
_STATEMENT = "statement.csv"
_MOST_OF_A_COMPLAINT = 500

_OK = 200
_CALLBACK_ROUTES = (CALLBACK_PATH, "/api/payments/transactions/mpesa_callback/")
_KEPT = "SELECT count(*) AS n FROM daraja_inbox WHERE channel = 'stk'"
_STATUSES = (
    "SELECT session_status, count(*) AS n FROM payment_sessions GROUP BY session_status ORDER BY n DESC"
)


def settle(machine: Machine, result: Result) -> None:
    """Bring everything to its end, M-Pesa's statement included, and add to the result what it came to.

    The first statement finds what callbacks lost. The next covers a time so long after the last prompt that what it
    lacks was never paid; and what was found by the first may have made money go back meanwhile.
    """
    mpesa = Mpesa(machine.simulator_port)
    mpesa.calm_down()
    mpesa.let_time_pass(PROMPTS_AND_LATE_CALLBACKS_SECONDS)
    _drain(machine, result, DRAINED_WITHIN_SECONDS)
    result.mpesa = mpesa.statistics()
    _reconcile(machine, mpesa.statement(), result)
    mpesa.let_time_pass(UNTIL_THE_STATEMENT_SECONDS)
    result.by_hand.append(mpesa.pay_by_hand())
    left, wrong = _drain(machine, result, DRAINED_AGAIN_WITHIN_SECONDS), list[str]()
    for _ in range(MAX_STATEMENTS):
        time.sleep(MONEY_GOES_BACK_WITHIN_SECONDS if left.refunds else 0)
        wrong = _reconcile(machine, mpesa.statement(), result)
        left = _drain(machine, result, DRAINED_AGAIN_WITHIN_SECONDS)
        if left.is_nothing and not left.wants_a_statement:
            break
    if not left.is_nothing or left.in_doubt:
        result.violations.append(f"after {result.drained_seconds:.0f} s there is still: {left}")
    result.violations += wrong
    result.more["refunds_under_way"] = left.refunds
    _account(machine, mpesa.statement(), result)
    _verify(machine, result)


def _drain(machine: Machine, result: Result, within_seconds: float) -> UnderWay:
    seconds, left = drain(machine, within_seconds)
    result.drained_seconds += seconds
    return left


def _reconcile(machine: Machine, statement: bytes, result: Result) -> list[str]:
    """Import the statement as an operator does; return the differences that need a person, unmatched payments apart."""
    path = machine.folder / _STATEMENT
    path.write_bytes(statement)
    done = machine.run("reconcile", "--json", str(path))
    if done.returncode not in (0, DIFFERENCES_LEFT):
        return [f"`daftari reconcile` ended with {done.returncode}: {_end_of(done.stderr)}"]
    found = json.loads(done.stdout)["found"]
    result.reconciled += Counter({kind: found["counts"][kind] for kind in BROUGHT})
    left = {each["receipt"]: each for each in found["differences"] if each["kind"] not in SETTLED}
    unseen = [receipt for receipt in result.by_hand if left.pop(receipt, {"kind": ""})["kind"] != "unknown"]
    return [
        f"receipt {receipt} is unmatched, and the statement's import does not report it" for receipt in unseen
    ] + [
        f"session {each['session_id']}: the statement says {each['kind']} of receipt {each['receipt']}"
        for each in left.values()
    ]


def _account(machine: Machine, statement: bytes, result: Result) -> None:
    """Check every promise and every payment; add what is wrong to the result."""
    truth, reversals = payments_of(statement), reversals_of(statement)
    result.reversals = len(reversals)
    result.payments, result.cents = len(truth), sum(payment.amount_cents for payment in truth)
    with database_of(machine) as database:
        books = read_books(database)
        vault = Vault(database, machine.settings.daftari_master_key)
        result.violations += result.promises.broken
        result.violations += broken_promises(books, result.promises, partial(vault.digest, "checkout"))
        result.violations += money_that_differs(books, truth)
        result.violations += reversals_that_differ(books, reversals)
        with database.connection() as connection:
            result.statuses = {row["session_status"]: row["n"] for row in connection.execute(_STATUSES)}
        result.callbacks = _acknowledged_callbacks(machine.api.log)
        kept = _count_of(database, _KEPT)
        if kept < min(result.callbacks, MAX_UNAUTHENTICATED_KEPT):
            result.violations.append(
                f"{result.callbacks} callbacks were acknowledged, and {kept} are in the inbox"
            )
    result.orders = sum(len(orders) for orders in books.orders.values())


def _verify(machine: Machine, result: Result) -> None:
    """Let `daftari verify` have the last word."""
    done = machine.run("verify", "--json")
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

    A line that a kill cut short is passed over.
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
    return text.strip()[-_MOST_OF_A_COMPLAINT:]
