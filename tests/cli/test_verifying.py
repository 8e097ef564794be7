import json
from pathlib import Path

import psycopg

from ledger.application import Ledger
from ledger.store.database import Database
from tests.cli.support import daftari
from tests.support.checkouts import Checkout


def test_books_that_agree_are_said_to(database_url: str, data_folder: Path) -> None:
    told = daftari("verify", DATABASE_URL=database_url, DAFTARI_DATA_DIR=str(data_folder))

    assert (told.returncode, told.stdout.strip()) == (0, "All invariants hold, over 0 events."), told.stderr


def test_a_row_that_somebody_changed_by_hand_is_named(database_url: str, data_folder: Path) -> None:
    database = Database(database_url)
    session_id = Checkout(Ledger(database)).session_id
    database.close()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE payment_sessions SET total_cents = 1")

    told = daftari("verify", "--json", DATABASE_URL=database_url, DAFTARI_DATA_DIR=str(data_folder))

    assert told.returncode == 1, told.stderr
    run = json.loads(told.stdout)
    assert any(violation["session_id"] == str(session_id) for violation in run["violations"])
    assert run["events"] == 1
