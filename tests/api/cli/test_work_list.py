"""The work list from the command line."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from api.cli.work_list import KINDS
from ledger import clock
from ledger.application import Ledger
from ledger.store.database import Database
from payments.exceptions.next_steps import Kind
from projections.cases import PaymentCases
from projections.follower import Follower
from tests.api.cli.support import daftari
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import event_macs, key_ring

Types = Callable[..., CompletedProcess[str]]


@pytest.fixture
def types(database_url: str, data_folder: Path) -> Types:
    environ = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder)}
    return lambda *arguments: daftari("work-list", *arguments, **environ)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def test_an_empty_list_is_reported(types: Types) -> None:
    result = types("--check")
    assert (result.returncode, result.stdout) == (0, "No open cases.\n"), result.stderr


def test_a_case_is_listed_with_its_amount_and_closed_with_a_note(types: Types, database: Database) -> None:
    begun_at = clock.now() - timedelta(hours=1)
    checkout = Checkout(Ledger(database, key_ring(database)), at=begun_at).prompt().cancel().pay().order()
    until_readable(database)
    Follower(database, event_macs(database), PaymentCases()).catch_up()
    case_id = f"{checkout.session_id}.contradiction.1"

    result = types("--check")
    assert result.returncode == 5
    assert result.stdout.startswith(f"contradiction  {case_id}  since ")
    assert "  350.00\n" in result.stdout
    [plain] = json.loads(types("--json", "--kind", "contradiction").stdout)
    assert (plain["money_cents"], plain["actions"][0]["name"]) == (350_00, "close")
    assert types("--kind", "pull_gap").stdout == "No open cases.\n"

    refused = types("close", "contradiction", case_id, "--note", "Call 0712345678", "--by", "9")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: note: Leave the phone number out")
    closed = types("close", "contradiction", case_id, "--note", "Paid indeed.", "--by", "9")
    assert (closed.returncode, closed.stdout) == (0, "The case is closed.\n"), closed.stderr
    again = types("close", "contradiction", case_id, "--note", "Paid indeed.", "--by", "9")
    assert (again.returncode, again.stdout) == (1, "")
    assert "somebody" in again.stderr


def test_a_dead_lettered_event_is_retried(types: Types, database: Database) -> None:
    checkout = Checkout(Ledger(database, key_ring(database)))
    session_id = checkout.session_id
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO follower_failures (name, session_id, version, topic, error, tries, first_failed_at, state)"
            " VALUES ('orders', %s, 1, 'x', 'KeyError', 12, now(), 'set_aside')",
            (session_id,),
        )
    case_id = f"orders.{session_id}.1"
    assert types("retry", "reaction_set_aside", case_id, "--by", "9").stdout == "The worker retries it.\n"
    assert types("retry", "reaction_set_aside", case_id, "--by", "9").returncode == 1
    assert types("retry", "contradiction", case_id, "--by", "9").returncode == 2


def test_a_payment_is_only_allocated_to_a_session_id(types: Types) -> None:
    result = types("assign", "money_unknown", "payment.UKG7Q2X9LM", "the tomatoes", "--by", "9")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: session: Write the id of a session")


def test_the_command_knows_every_kind() -> None:
    assert sorted(KINDS) == sorted(str(kind) for kind in Kind)
