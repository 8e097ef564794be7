import json
from pathlib import Path

from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault
from tests.api.cli.support import daftari

MASTER_KEY = bytes(range(32))


def test_entries_are_listed_the_latest_first(database_url: str, data_folder: Path) -> None:
    database = Database(database_url)
    log = AuditLog(database, Vault(database, MASTER_KEY).keys)
    log.record(
        None, "switch", actor="cli:user:42", subject="prompts", reason="An incident.", details={"to": "off"}
    )
    log.record(None, "switch", actor="user:43", subject="prompts")
    database.close()
    environment = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder)}

    lines = daftari("audit-log", **environment).stdout.splitlines()
    listed = json.loads(daftari("audit-log", "--json", "--actor", "user:43", **environment).stdout)

    assert [line.strip() for line in lines[2:]] == ["An incident.", '{"to": "off"}']
    assert lines[0].endswith("switch  by user:43  prompts")
    assert [entry["actor"] for entry in listed] == ["user:43"]
