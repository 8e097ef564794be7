"""The books from the command line."""

import csv
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from subprocess import CompletedProcess

import pytest

from ledger.application import Ledger
from ledger.store.database import Database
from projections.follower import Follower
from projections.journal import Journal
from tests.api.cli.support import daftari
from tests.support.checkouts import Checkout, one_of_every_kind
from tests.support.hledger import install_hledger
from tests.support.horizon import until_readable
from tests.support.keys import event_macs, key_ring

Types = Callable[..., CompletedProcess[str]]


@pytest.fixture
def ledger_of(database_url: str) -> Iterator[Ledger]:
    database = Database(database_url)
    yield Ledger(database, key_ring(database))
    database.close()


@pytest.fixture
def types(database_url: str, ledger_of: Ledger) -> Types:
    def run(*arguments: str) -> CompletedProcess[str]:
        until_readable(ledger_of.database)
        Follower(
            ledger_of.database, event_macs(ledger_of.database), Journal(key_ring(ledger_of.database))
        ).catch_up()
        return daftari("books", *arguments, DATABASE_URL=database_url)

    return run


def test_balances_accounts_and_what_does_not_tie(types: Types, ledger_of: Ledger) -> None:
    checkout = Checkout(ledger_of).prompt().pay("NLJ7RT61SV").order()
    balance = types("trial-balance")
    assert balance.returncode == 0, balance.stderr
    lines = [line.split("\t") for line in balance.stdout.splitlines()]
    assert lines[1] == ["mpesa_clearing", "M-Pesa clearing", "0.00", "350.00", "0.00", "350.00", "0.00"]
    assert lines[-1] == ["total", "Total", "", "", "", "350.00", "350.00"]
    early = json.loads(types("close", "2024-01-14", "--format", "json").stdout.splitlines()[-1])
    assert early["closing_debit"] == "0.00"

    [entry] = csv.DictReader(io.StringIO(types("account", "sales", "--format", "csv").stdout))
    assert (entry["debit_account"], entry["amount"]) == ("customer_funds", "300.00")
    assert entry["session_id"] == str(checkout.session_id)

    untied = types("receipts")
    assert untied.returncode == 5, untied.stderr
    assert untied.stdout.splitlines()[1].split("\t")[:2] == ["NLJ7RT61SV", "not_in_statement"]
    assert types("receipts", "--to", "2024-01-14").returncode == 0
    assert types("trial-balance", "--recorded-as-of", "2024-01-15").stdout.count("350.00") == 0


def test_what_cannot_be_meant_is_a_usage_error(types: Types) -> None:
    for arguments in (
        ("account", "cash"),
        ("close", "someday"),
        ("trial-balance", "--from", "2024-01-16", "--to", "2024-01-15"),
    ):
        refused = types(*arguments)
        assert (refused.returncode, refused.stdout) == (2, ""), refused.stderr


@pytest.mark.system
def test_hledger_balances_the_export_to_what_the_trial_balance_says(types: Types, ledger_of: Ledger) -> None:
    one_of_every_kind(ledger_of)
    exported, balance = types("export"), types("trial-balance", "--format", "json")
    assert exported.returncode == 0, exported.stderr

    def hledger(*arguments: str) -> str:
        command = [install_hledger(), "-f", "-", *arguments]
        done = subprocess.run(
            command, input=exported.stdout, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    hledger("check", "--strict")
    rows = list(csv.reader(io.StringIO(hledger("balance", "--flat", "--no-total", "-O", "csv"))))[1:]
    found = {name.partition(":")[2]: amount.replace("KES ", "").replace(",", "") for name, amount in rows}
    expected = [json.loads(line) for line in balance.stdout.splitlines()[:-1]]
    shown = {
        each["title"]: each["closing_debit"]
        if each["closing_debit"] != "0.00"
        else f"-{each['closing_credit']}"
        for each in expected
        if (each["closing_debit"], each["closing_credit"]) != ("0.00", "0.00")
    }
    assert found == shown
    assert len(found) > 5
