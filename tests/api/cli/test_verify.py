import base64
import json
from pathlib import Path
from uuid import uuid4

import psycopg

from ledger.application import Ledger
from ledger.store.block_signer import BlockSigner
from ledger.store.blocks import Blocks
from ledger.store.database import Database
from ledger.store.vault import DELIVERY, PHONE, Vault
from tests.api.cli.support import daftari
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import key_ring

MASTER_KEY = bytes(range(32))


def test_of_an_empty_log_nothing_is_said_to_hold(database_url: str, data_folder: Path) -> None:
    result = daftari("verify", DATABASE_URL=database_url, DAFTARI_DATA_DIR=str(data_folder))

    said = "Nothing was checked: the log has no event yet."
    assert (result.returncode, result.stdout.strip()) == (0, said), result.stderr


def test_a_row_that_was_changed_by_hand_is_named(database_url: str, data_folder: Path) -> None:
    database = Database(database_url)
    session_id = Checkout(Ledger(database, key_ring(database))).session_id
    database.close()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE payment_sessions SET total_cents = 1")

    result = daftari("verify", "--json", DATABASE_URL=database_url, DAFTARI_DATA_DIR=str(data_folder))

    assert result.returncode == 1, result.stderr
    run = json.loads(result.stdout)
    assert any(violation["session_id"] == str(session_id) for violation in run["violations"])
    assert run["events"] == 1


def test_kept_names_of_signed_blocks_are_checked(database_url: str, data_folder: Path) -> None:
    database = Database(database_url)
    ledger, vault = Ledger(database, key_ring(database)), Vault(database, MASTER_KEY)
    session_id = uuid4()
    phone = vault.encrypt(7, "254712345678", purpose=PHONE, row=session_id)
    delivery = vault.encrypt(7, "{}", purpose=DELIVERY, row=session_id)
    Checkout(ledger, session_id=session_id, phone_sealed=phone, delivery_sealed=delivery)
    until_readable(database)
    BlockSigner(database, lambda: vault.block_key).run()
    block = Blocks(database).last()
    database.close()
    assert block is not None
    there, gone = block.name, block.name[:-4] + ("0000" if block.name[-4:] != "0000" else "1111")

    result = daftari(
        "verify",
        *("--kept-block", there, "--kept-block", gone),
        DATABASE_URL=database_url,
        DAFTARI_DATA_DIR=str(data_folder),
        DAFTARI_MASTER_KEY=base64.b64encode(MASTER_KEY).decode(),
    )

    assert (result.returncode, result.stdout.splitlines()) == (
        1,
        [
            "blocks: block 1-1 is not there as it was when its name was kept",
            f"The last signed block: {there}",
        ],
    ), result.stderr


def test_the_chain_names_the_first_broken_position(database_url: str, data_folder: Path) -> None:
    database = Database(database_url)
    ledger, vault = Ledger(database, key_ring(database)), Vault(database, MASTER_KEY)
    for _ in range(2):
        Checkout(ledger)
    until_readable(database)
    BlockSigner(database, lambda: vault.block_key).run()
    block = Blocks(database).last()
    database.close()
    assert block is not None
    environ = {
        "DATABASE_URL": database_url,
        "DAFTARI_DATA_DIR": str(data_folder),
        "DAFTARI_MASTER_KEY": base64.b64encode(MASTER_KEY).decode(),
    }
    result = daftari("verify", "--chain", "--kept-block", block.name, **environ)
    said = ["The chain holds, over 2 events.", f"The last signed block: {block.name}"]
    assert (result.returncode, result.stdout.splitlines()) == (0, said), result.stderr

    with psycopg.connect(database_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute('UPDATE payment_events SET state = state || \'{"shop": "x"}\'')
        [[first]] = connection.execute("SELECT min(position) FROM payment_events")
    result = daftari("verify", "--chain", "--json", **environ)
    found = json.loads(result.stdout)
    assert (result.returncode, found["first_broken_position"], found["events"]) == (1, str(first), 2)
    assert "was altered" in found["violations"][0]["told"]
    since = daftari("verify", "--chain", "--since", block.name, **environ)
    assert (since.returncode, since.stdout.splitlines()[0]) == (
        0,
        "Nothing was checked: the log has no event since.",
    )
    stored = daftari("verify", "--chain", "--stored-only", **environ)
    assert stored.returncode == 0, stored.stdout


def test_ways_to_verify_are_not_mixed() -> None:
    for options in (("--since", "1-1-" + "00" * 32), ("--stored-only",), ("--chain", "--incremental")):
        assert daftari("verify", *options).returncode == 2
