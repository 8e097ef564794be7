import base64
import json
from pathlib import Path

import psycopg

from ledger.application import Ledger
from ledger.store.blocks import Blocks, BlockSigner
from ledger.store.database import Database
from ledger.store.vault import Vault
from tests.api.cli.support import daftari
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable

MASTER_KEY = bytes(range(32))


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


def test_names_of_signed_blocks_that_were_kept_are_looked_for(database_url: str, data_folder: Path) -> None:
    database = Database(database_url)
    ledger, vault = Ledger(database), Vault(database, MASTER_KEY)
    Checkout(ledger, phone_sealed=vault.encrypt(7, "254712345678"), delivery_sealed=vault.encrypt(7, "{}"))
    until_readable(database)
    BlockSigner(database, vault.block_key).run()
    block = Blocks(database).last()
    database.close()
    assert block is not None
    there, gone = block.name, block.name[:-4] + ("0000" if block.name[-4:] != "0000" else "1111")

    told = daftari(
        "verify",
        *("--kept-block", there, "--kept-block", gone),
        DATABASE_URL=database_url,
        DAFTARI_DATA_DIR=str(data_folder),
        DAFTARI_MASTER_KEY=base64.b64encode(MASTER_KEY).decode(),
    )

    assert (told.returncode, told.stdout.splitlines()) == (
        1,
        [
            "blocks: block 1-1 is not there as it was when its name was kept",
            f"The last signed block: {there}",
        ],
    ), told.stderr
