"""The master key is replaced while processes run, and everything made before can still be read."""

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from freezegun import freeze_time

from ledger import clock
from ledger.store.database import Database
from ledger.store.vault import Vault
from tests.api.cli.support import daftari

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
ROW: dict[str, Any] = {"purpose": "test", "row": 1}


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def test_the_master_key_is_rotated_under_running_processes(database_url: str, data_folder: Path) -> None:
    database = Database(database_url)
    environ = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder)}
    file = data_folder / "new-key"
    file.write_text(encoded(NEW))
    running = Vault(database, OLD)
    running.claim()
    value, own = running.encrypt(7, "Wanjiku", **ROW), running.encrypt(0, "secret", **ROW)
    token, digest = running.sign(b"a"), running.digest("phone", "1")

    rotate = ("rotate-master-key", "--by", "41")
    begun = daftari(*rotate, "--new-key-file", str(file), **environ, DAFTARI_MASTER_KEY=encoded(OLD))
    assert begun.returncode == 0, begun.stderr
    with freeze_time(clock.now() + timedelta(minutes=1)):  # It reads the ring again, and cannot open it.
        assert running.decrypt(7, value, **ROW) == "Wanjiku"
        assert running.is_signed(b"a", Vault(database, NEW).sign(b"a"))
    refused = daftari("audit-log", **environ, DAFTARI_MASTER_KEY=encoded(OLD))
    assert "DAFTARI_MASTER_KEY" in refused.stderr or refused.returncode == 0
    for _ in range(2):  # Interrupted or not, it may be run again.
        finished = daftari(*rotate, "--finish", **environ, DAFTARI_MASTER_KEY=encoded(NEW))
        assert finished.returncode == 0, finished.stderr

    restarted = Vault(database, NEW)
    restarted.check_master_key()
    with freeze_time(clock.now() + timedelta(minutes=2)):
        assert restarted.decrypt(7, value, **ROW) == "Wanjiku"
        assert restarted.decrypt(0, own, **ROW) == "secret"
        assert restarted.digest("phone", "1") == digest
        assert restarted.sign(b"a") != token
        assert restarted.is_signed(b"a", token)
        assert restarted.keys.current("event mac")[0] == 1
    with database.connection() as connection:
        rows = connection.execute("SELECT DISTINCT wrap_key_id FROM customer_keys").fetchall()
    assert rows == [{"wrap_key_id": 1}]
    database.close()
    entries = daftari("audit-log", "--json", **environ, DAFTARI_MASTER_KEY=encoded(NEW))
    steps = [entry["details"]["step"] for entry in json.loads(entries.stdout)]
    assert steps == ["finished", "finished", "begun"]


def test_a_bad_new_key_changes_nothing(database_url: str, data_folder: Path) -> None:
    environ = {
        "DATABASE_URL": database_url,
        "DAFTARI_DATA_DIR": str(data_folder),
        "DAFTARI_MASTER_KEY": encoded(OLD),
    }
    refused = daftari("rotate-master-key", "--by", "41", **environ, DAFTARI_NEW_MASTER_KEY="short")
    assert refused.returncode == 3
    assert "base64 of 32 bytes" in refused.stderr
