"""Refunds from the command line."""

import json
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from ledger.application import Ledger
from ledger.session.values import RefundState
from ledger.store.database import Database
from projections.follower import Follower
from projections.refunds import PaymentRefunds
from tests.api.cli.support import daftari
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import event_macs, key_ring

Types = Callable[..., CompletedProcess[str]]


@pytest.fixture
def checkout(database_url: str) -> Checkout:
    database = Database(database_url)
    checkout = Checkout(Ledger(database, key_ring(database))).prompt().pay("UKG7Q2X9LM").refuse_order()
    until_readable(database)
    Follower(database, event_macs(database), PaymentRefunds()).catch_up()
    return checkout


@pytest.fixture
def types(database_url: str) -> Types:
    return lambda *arguments: daftari("refunds", *arguments, DATABASE_URL=database_url)


def test_what_is_due_is_listed_and_approved_by_number(types: Types, checkout: Checkout) -> None:
    session_id = str(checkout.session_id)
    listed = types("list", "--state", "due")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.split() == [session_id, "1", "due", "350.00", "UKG7Q2X9LM", "OUT_OF_STOCK"]
    [plain] = json.loads(types("list", "--json").stdout)
    assert (plain["session_id"], plain["amount_cents"]) == (session_id, 350_00)

    approved = types("approve", session_id, "1", "--by", "9")
    assert approved.returncode == 0, approved.stderr
    assert "approved" in approved.stdout
    again = types("approve", session_id, "1", "--by", "8")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("Error: There is no such refund, or it has been decided already.")
    checkout.ledger.database.close()


def test_a_refund_by_other_means_is_recorded_with_its_note(types: Types, checkout: Checkout) -> None:
    session_id = str(checkout.session_id)
    assert types("refuse", session_id, "1", "--reason", "Held for now.", "--by", "9").returncode == 0
    result = types("returned", session_id, "1", "--note", "Paid out in cash.", "--by", "9", "--json")
    shown = json.loads(result.stdout)
    assert (shown["state"], shown["recorded_by"], shown["note"]) == (
        "refunded",
        "operator 9",
        "Paid out in cash.",
    )
    assert checkout.session.refunds[1].state == RefundState.REFUNDED
    checkout.ledger.database.close()


def test_a_rejected_decision_has_its_exit_code_and_changes_nothing(types: Types, checkout: Checkout) -> None:
    session_id = str(checkout.session_id)
    by = ("--by", "9")
    for arguments, code, description in (
        (("approve", session_id, "1"), 2, "Missing option '--by'"),
        (("approve", session_id, "1", "--by", "7"), 1, "This is your own"),
        (("approve", session_id, "2", *by), 1, "There is no such refund."),
        (
            ("refuse", session_id, "1", "--reason", "Call 0712345678", *by),
            1,
            "reason: Leave the phone number out",
        ),
        (("not-sent", session_id, "1", "--note", "No.", *by), 1, "There is no such refund, or"),
        (("refuse", session_id, "1", *by), 2, "Missing option '--reason'"),
        (("approve", "nonsense", "1", *by), 2, "'nonsense' is not a valid UUID"),
    ):
        result = types(*arguments)
        assert (result.returncode, result.stdout) == (code, ""), result.stderr
        assert description in result.stderr
    assert checkout.session.refunds[1].state == RefundState.DUE
    checkout.ledger.database.close()
