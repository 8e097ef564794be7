from pathlib import Path

import psycopg

from ledger.application import Ledger
from ledger.store.audit_log import AuditLog
from ledger.store.block_signer import BlockSigner
from ledger.store.database import Database
from ledger.store.vault import PHONE, Vault
from payments.evidence.pack_verifier import check, files_of
from tests.api.cli.support import daftari
from tests.support.checkouts import Checkout, new_session
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY


def test_a_payment_is_found_by_its_receipt_and_taken(
    ledger: Ledger, database: Database, database_url: str, tmp_path: Path
) -> None:
    vault, session_id = Vault(database, MASTER_KEY), new_session().id
    phone = vault.encrypt(7, "254712345678", purpose=PHONE, row=session_id)
    Checkout(ledger, session_id=session_id, phone_sealed=phone).request(phone).refuse().pay(
        "RCPTONE001"
    ).order(1)
    arguments = ("evidence", "rcptone001", "--by", "41", "--reason", "Asked by the bank.")
    path = tmp_path / "pack.zip"
    early = daftari(*arguments, "-o", str(path), DATABASE_URL=database_url)
    until_readable(database)
    BlockSigner(database, lambda: vault.block_key).run()
    taken = daftari(*arguments, "-o", str(path), DATABASE_URL=database_url)
    assert (early.returncode, taken.returncode) == (1, 0), taken.stderr
    own = [vault.block_key.public_key().public_bytes_raw()]
    assert check(files_of(path.read_bytes()), own).forged == []
    assert (taken.stderr, "NOT GENUINE" in taken.stdout) == ("", False)
    assert path.stat().st_mode & 0o077 == 0
    _, [entry] = AuditLog(database, vault.keys).entries(kind="access")
    assert (entry.actor, entry.subject) == ("cli:user:41", f"session:{session_id}")
    path.chmod(0o644)
    again = daftari(*arguments, "-o", str(path), DATABASE_URL=database_url)
    assert (again.returncode, "exists already" in again.stderr) == (1, True), again.stderr
    bad = daftari(
        *arguments[:-1], "call 0712345678", "-o", str(tmp_path / "b.zip"), DATABASE_URL=database_url
    )
    assert (bad.returncode, "Leave the phone number out" in bad.stderr) == (1, True), bad.stderr
    assert list(tmp_path.iterdir()) == [path]
    assert AuditLog(database, vault.keys).entries(kind="access")[1] == [entry]


def test_who_takes_a_payment_with_an_altered_event_is_told_so(
    ledger: Ledger, database: Database, database_url: str, tmp_path: Path
) -> None:
    session_id = Checkout(ledger).session_id
    until_readable(database)
    BlockSigner(database, lambda: Vault(database, MASTER_KEY).block_key).run()
    with psycopg.connect(database_url) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("UPDATE payment_events SET state = '{}' WHERE session_id = %s", (session_id,))
    path = tmp_path / "pack.zip"
    taken = daftari("evidence", str(session_id), "--by", "41", "-o", str(path), DATABASE_URL=database_url)
    assert taken.returncode == 0, taken.stderr
    assert taken.stderr.startswith("NOT GENUINE: event 1 of it is not as Daftari wrote it.")
    assert check(files_of(path.read_bytes()), []).forged == [1]


def test_what_is_no_payment_is_refused(database_url: str, tmp_path: Path) -> None:
    for payment in ("RCPTNONE01", "ORD-20261127-001", "550e8400-e29b-41d4-a716-446655440000", "'; --"):
        run = daftari(
            "evidence", payment, "--by", "41", "-o", str(tmp_path / "p.zip"), DATABASE_URL=database_url
        )
        assert (run.returncode, run.stderr.startswith("Error: There is no ")) == (1, True)
    assert list(tmp_path.iterdir()) == []
