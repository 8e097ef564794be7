"""The master key is replaced while processes run, and everything made before can still be read."""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.key_ring import KeyRing, MasterKeyReplaced
from ledger.store.vault import Vault
from payments.mpesa.credentials import CredentialStore
from tests.api.cli.support import daftari

OLD, NEW, THIRD = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
ROTATE = ("rotate-master-key", "--by", "41")
ROW: dict[str, Any] = {"purpose": "test", "row": 1}


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


IN_USE = (
    "UPDATE key_ring SET retired_at = now() - interval '1 second' WHERE key_id = 0 AND purpose <> 'digests'"
)
FAULTS = {
    "record_audit_entry": ("audit_log", "INSERT"),
    "wrap the ring": ("key_ring", "UPDATE"),
    "add keys": ("key_ring", "INSERT"),
    "wrap customers": ("customer_keys", "UPDATE"),
    "store credentials": ("sealed_settings", "INSERT OR UPDATE"),
}


@pytest.fixture
def environ(database_url: str, data_folder: Path) -> dict[str, str]:
    (data_folder / "new-key").write_text(encoded(NEW))
    return {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder)}


@pytest.fixture
def running(database: Database) -> Vault:
    """A process that runs with the old master key, and has stored something of everything."""
    vault = Vault(database, OLD)
    vault.claim()
    owner = Database(database.url, role="")
    CredentialStore(owner, vault).write({"MPESA_PASSKEY": "passkey"})
    owner.close()
    return vault


def begin(environ: dict[str, str], key: bytes = OLD) -> subprocess.CompletedProcess[str]:
    file = str(Path(environ["DAFTARI_DATA_DIR"], "new-key"))
    return daftari(*ROTATE, "--new-key-file", file, **environ, DAFTARI_MASTER_KEY=encoded(key))


def finish(environ: dict[str, str], key: bytes = NEW) -> subprocess.CompletedProcess[str]:
    return daftari(*ROTATE, "--finish", **environ, DAFTARI_MASTER_KEY=encoded(key))


def as_owner(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


@contextmanager
def fault(url: str, table: str, on: str) -> Iterator[None]:
    """Let each write of a table fail, as if the command were killed at it."""
    as_owner(
        url,
        f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P01'; END $$;
            CREATE TRIGGER fails BEFORE {on} ON {table} FOR EACH ROW EXECUTE FUNCTION fail()""",
    )
    yield
    as_owner(url, "DROP FUNCTION fail CASCADE")


def steps(environ: dict[str, str], key: bytes) -> list[str]:
    entries = daftari("audit-log", "--json", **environ, DAFTARI_MASTER_KEY=encoded(key))
    return [entry["details"]["step"] for entry in json.loads(entries.stdout)]


def test_the_master_key_is_rotated_under_running_processes(
    database: Database, environ: dict[str, str], running: Vault
) -> None:
    value, own = running.encrypt(7, "Wanjiku", **ROW), running.encrypt(0, "secret", **ROW)
    token, digest = running.sign(b"a"), running.digest("phone", "1")

    assert begin(environ).returncode == 0
    with freeze_time(clock.now() + timedelta(minutes=1)):  # It reads the ring again, and cannot open it.
        assert running.decrypt(7, value, **ROW) == "Wanjiku"
        assert running.is_signed(b"a", Vault(database, NEW).sign(b"a"))
    as_owner(database.url, IN_USE)
    assert finish(environ).returncode == 0

    restarted = Vault(database, NEW)
    restarted.check_master_key()
    assert restarted.decrypt(7, value, **ROW) == "Wanjiku"
    assert restarted.decrypt(0, own, **ROW) == "secret"
    assert restarted.digest("phone", "1") == digest
    assert restarted.sign(b"a") != token
    assert restarted.is_signed(b"a", token)
    assert restarted.keys.current("event mac")[0] == 1
    with database.connection() as connection:
        rows = connection.execute("SELECT DISTINCT wrap_key_id FROM customer_keys").fetchall()
        [stored] = connection.execute("SELECT sealed_value FROM sealed_settings").fetchall()
    assert rows == [{"wrap_key_id": 1}]
    assert base64.urlsafe_b64decode(stored["sealed_value"][3:])[:2] == b"\0\1"  # By key 1.
    assert steps(environ, NEW) == ["finished", "begun"]


def test_callbacks_of_old_urls_are_honoured_for_thirty_days(
    database: Database, environ: dict[str, str], running: Vault
) -> None:
    token = running.sign(b"a")
    assert begin(environ).returncode == 0
    as_owner(database.url, IN_USE)
    for days, is_good in ((29, True), (31, False)):
        with freeze_time(clock.now() + timedelta(days=days)):
            assert Vault(database, NEW).is_signed(b"a", token) is is_good


@pytest.mark.parametrize("place", ["record_audit_entry", "wrap the ring", "add keys"])
def test_a_first_step_that_is_cut_short_has_changed_nothing_and_is_repeated(
    database: Database, environ: dict[str, str], running: Vault, place: str
) -> None:
    value = running.encrypt(7, "Wanjiku", **ROW)
    with fault(database.url, *FAULTS[place]):
        assert begin(environ).returncode != 0
    assert Vault(database, OLD).decrypt(7, value, **ROW) == "Wanjiku"
    for _ in range(2):
        begun = begin(environ)
        assert (begun.returncode, "restart each process" in begun.stdout) == (0, True)
    assert Vault(database, NEW).decrypt(7, value, **ROW) == "Wanjiku"
    assert steps(environ, NEW) == ["begun"]


@pytest.mark.parametrize(
    "place", ["record_audit_entry", "wrap the ring", "wrap customers", "store credentials"]
)
def test_a_second_step_that_is_cut_short_is_repeated(
    database: Database, environ: dict[str, str], running: Vault, place: str
) -> None:
    value = running.encrypt(7, "Wanjiku", **ROW)
    begin(environ)
    if place != "wrap the ring":
        as_owner(database.url, IN_USE)
    with fault(database.url, *FAULTS[place]):
        assert finish(environ).returncode != 0
    restarted = Vault(database, NEW)
    assert restarted.decrypt(7, value, **ROW) == "Wanjiku"
    assert CredentialStore(database, restarted).read() == {"MPESA_PASSKEY": "passkey"}
    as_owner(database.url, IN_USE)
    assert finish(environ).returncode == 0
    assert restarted.decrypt(7, value, **ROW) == "Wanjiku"
    assert steps(environ, NEW) == ["finished", "begun"]


def test_the_first_step_may_be_taken_again_with_another_key_before_the_second(
    database: Database, environ: dict[str, str], running: Vault
) -> None:
    value, token = running.encrypt(7, "Wanjiku", **ROW), running.sign(b"a")
    begin(environ)
    Path(environ["DAFTARI_DATA_DIR"], "new-key").write_text(encoded(THIRD))
    assert begin(environ, NEW).returncode == 0
    as_owner(database.url, IN_USE.replace("key_id = 0", "key_id < 2"))
    assert finish(environ, THIRD).returncode == 0
    restarted = Vault(database, THIRD)
    assert restarted.decrypt(7, value, **ROW) == "Wanjiku"
    assert restarted.is_signed(b"a", token)


def test_the_second_step_waits_for_the_first_and_for_the_new_key(
    database: Database, environ: dict[str, str], running: Vault
) -> None:
    refused = finish(environ, OLD)
    assert (refused.returncode, "No rotation was begun" in refused.stderr) == (1, True)
    begin(environ)
    refused = finish(environ, OLD)
    assert (refused.returncode != 0, "DAFTARI_MASTER_KEY" in refused.stderr) == (True, True)
    with database.connection() as connection:
        assert connection.execute("SELECT FROM key_ring WHERE retired_at IS NOT NULL").rowcount == 0
    assert running.keys.current("event mac")[0] == 0


def test_a_process_with_the_old_key_waits_for_its_restart_where_it_meets_a_new_one(
    database: Database, environ: dict[str, str], running: Vault
) -> None:
    """It neither takes our event for a forged one, nor wraps a key that the new master key cannot open."""
    macs = EventMacs(database, running.keys)
    macs.last_without_mac()
    begin(environ)
    as_owner(database.url, IN_USE)
    key_id, [mac] = EventMacs(database, KeyRing(database, NEW)).sign([bytes(32)])
    event = {"origin": 1, "position": 1, "hash": bytes(32), "key_id": key_id, "mac": mac}
    for act in (
        lambda: macs.is_genuine(event),
        lambda: running.decrypt(0, Vault(database, NEW).encrypt(0, "secret", **ROW), **ROW),
        lambda: running.keys.store_first("a purpose of a later release"),
    ):
        with pytest.raises(MasterKeyReplaced, match="Restart this process"):
            act()
    value = running.encrypt_unless_erased(0, "a callback", **ROW)
    assert Vault(database, NEW).decrypt(0, value, **ROW) == "a callback"


def test_a_bad_new_key_changes_nothing(database_url: str, data_folder: Path) -> None:
    environ = {
        "DATABASE_URL": database_url,
        "DAFTARI_DATA_DIR": str(data_folder),
        "DAFTARI_MASTER_KEY": encoded(OLD),
    }
    refused = daftari("rotate-master-key", "--by", "41", **environ, DAFTARI_NEW_MASTER_KEY="short")
    assert refused.returncode == 3
    assert "base64 of 32 bytes" in refused.stderr
