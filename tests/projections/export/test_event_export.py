import csv
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import psycopg
import pytest
from freezegun import freeze_time
from pyarrow import parquet

from ledger.application import Ledger
from ledger.errors import InvalidValue, Unavailable
from ledger.session.events import PUBLIC_NAMES
from ledger.store.block_signer import BlockSigner
from ledger.store.database import Database
from ledger.store.vault import DELIVERY, PHONE, Vault
from projections.export import exported_events
from projections.export.event_export import Wanted, export_events
from projections.export.exported_events import EventReader, ExportedEvent
from projections.history import for_auditor, history
from tests.support.checkouts import Checkout, one_of_every_kind
from tests.support.erasures import erase
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs

FORMS = ("jsonl", "csv", "parquet")
KILLED = """
import os, signal, sys
from pathlib import Path
from projections.export.event_export import export_events
from tests.projections.export.test_event_export import Database, reader_of, wanted
steps = int(sys.argv[4])
def die(*_):
    global steps
    steps -= 1
    if steps == 0:
        os.kill(os.getpid(), signal.SIGKILL)
database = Database(sys.argv[1])
export_events(reader_of(database), Path(sys.argv[2]), wanted(sys.argv[3], events_per_file=7), die)
"""


def wanted(form: str = "jsonl", **options: Any) -> Wanted:
    return Wanted(
        **{
            "form": form,
            "since": None,
            "before": None,
            "has_personal_data": False,
            "events_per_file": 100,
            **options,
        }
    )


def reader_of(database: Database, vault: Vault | None = None) -> EventReader:
    own_keys = {key.public_bytes_raw() for key in Vault(database, MASTER_KEY).block_keys}
    return EventReader(database, event_macs(database), own_keys, vault)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text("utf-8").splitlines()
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_event_is_exported_as_an_auditor_sees_it(
    ledger: Ledger, database: Database, tmp_path: Path
) -> None:
    checkouts = one_of_every_kind(ledger)
    until_readable(database)

    manifest = export_events(reader_of(database), tmp_path / "out", wanted())

    exported = lines(tmp_path / "out")
    assert manifest["events"] == len(exported)
    assert {event["event"] for event in exported} == set(PUBLIC_NAMES.values())
    assert all(event["is_genuine"] for event in exported)
    for checkout in checkouts:
        of_session = [event for event in exported if event["session_id"] == str(checkout.session_id)]
        for event, entry in zip(
            of_session, history(database, event_macs(database), checkout.session_id), strict=True
        ):
            seen = for_auditor(entry)
            assert {name: event[name] for name in seen} == seen
    assert "sealed" not in json.dumps(exported)


def test_every_form_holds_the_same_events(ledger: Ledger, database: Database, tmp_path: Path) -> None:
    one_of_every_kind(ledger)
    until_readable(database)
    for form in FORMS:
        export_events(reader_of(database), tmp_path / form, wanted(form, events_per_file=1_000))

    told = lines(tmp_path / "jsonl")
    with (tmp_path / "csv" / "events-000001.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    table = parquet.read_table(tmp_path / "parquet" / "events-000001.parquet")
    assert len(told) == len(cells) == table.num_rows
    for as_json, as_csv, as_parquet in zip(told, cells, table.to_pylist(), strict=True):
        assert list(as_json) == list(as_csv) == list(as_parquet) == list(ExportedEvent._fields)
        assert as_csv["position"] == as_json["position"] == str(as_parquet["position"])
        assert json.loads(as_csv["state"]) == as_json["state"] == json.loads(as_parquet["state"])
        assert as_csv["amount_cents"] == str(as_json["amount_cents"] or "")
        assert as_parquet["amount_cents"] == as_json["amount_cents"]
        assert as_parquet["recorded_at"] == datetime.fromisoformat(as_json["recorded_at"])
        assert as_csv["recorded_at"] == as_json["recorded_at"]
        assert as_parquet["hash"].hex() == as_json["hash"] == as_csv["hash"]
    types = {field.name: str(field.type) for field in table.schema}
    assert types["position"] == types["amount_cents"] == "int64"
    assert types["recorded_at"] == types["happened_at"] == "timestamp[us, tz=UTC]"


@pytest.mark.parametrize(("form", "steps"), [("jsonl", 1), ("csv", 2), ("parquet", 5)])
def test_an_export_that_was_killed_goes_on_to_the_same_bytes(
    ledger: Ledger, database: Database, database_url: str, tmp_path: Path, form: str, steps: int
) -> None:
    one_of_every_kind(ledger)
    until_readable(database)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, database_url, str(tmp_path / "killed"), form, str(steps)], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "manifest.json").exists()

    after = export_events(reader_of(database), tmp_path / "killed", wanted(form, events_per_file=7))

    whole = export_events(reader_of(database), tmp_path / "whole", wanted(form, events_per_file=7))
    assert after == whole
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_events_after_the_first_run_are_not_in_the_second(
    ledger: Ledger, database: Database, tmp_path: Path
) -> None:
    Checkout(ledger).prompt().pay("RCPTONE001").order(1)
    until_readable(database)

    def stop(*_: object) -> NoReturn:
        raise Unavailable("The database is gone.")

    with pytest.raises(Unavailable):
        export_events(reader_of(database), tmp_path / "out", wanted(events_per_file=2), stop)
    Checkout(ledger)
    until_readable(database)
    assert export_events(reader_of(database), tmp_path / "out", wanted(events_per_file=2))["events"] == 5


def test_the_manifest_names_what_the_files_are(ledger: Ledger, database: Database, tmp_path: Path) -> None:
    Checkout(ledger).prompt().pay("RCPTONE001").order(1)
    until_readable(database)
    BlockSigner(database, lambda: Vault(database, MASTER_KEY).block_key).run()

    manifest = export_events(reader_of(database), tmp_path / "out", wanted(events_per_file=3))

    told = lines(tmp_path / "out")
    assert [each["events"] for each in manifest["files"]] == [3, 2]
    [origin] = manifest["origins"]
    assert (origin["origin"], origin["events"]) == (1, 5)
    assert (origin["first_position"], origin["last_position"]) == (told[0]["position"], told[-1]["position"])
    for each in manifest["files"]:
        content = (tmp_path / "out" / each["name"]).read_bytes()
        assert (each["bytes"], each["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert {"topic": "payment_session.created.v1", "class_version": 2, "events": 1} in manifest["kinds"]
    assert origin["signed_block"]["name"].startswith("1-1-")
    assert manifest == json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "events-000001.jsonl",
        "events-000002.jsonl",
        "manifest.json",
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in [tmp_path / "out", *(tmp_path / "out").iterdir()])


def test_a_span_of_time_is_exported_alone(ledger: Ledger, database: Database, tmp_path: Path) -> None:
    BlockSigner(database, lambda: Vault(database, MASTER_KEY).block_key).run()
    Checkout(ledger).prompt().pay("RCPTONE001").order(1)
    until_readable(database)
    export_events(reader_of(database), tmp_path / "all", wanted())
    moments = [datetime.fromisoformat(event["recorded_at"]) for event in lines(tmp_path / "all")]

    span = wanted(since=moments[1], before=moments[3])
    export_events(reader_of(database), tmp_path / "some", span)
    later = export_events(
        reader_of(database), tmp_path / "none", wanted(since=moments[-1] + timedelta(hours=2))
    )

    assert lines(tmp_path / "some") == lines(tmp_path / "all")[1:3]
    assert (later["events"], later["files"], later["origins"]) == (0, [], [])


@pytest.mark.parametrize("walk", [1, 2, 5])
def test_the_time_alone_says_which_events_are_exported_whatever_blocks_say(
    ledger: Ledger, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walk: int
) -> None:
    """Blocks that a worker signed late, or by a wrong clock, and events of a transaction that was open for long."""
    monkeypatch.setattr(exported_events, "WALK", walk)
    checkout = Checkout(ledger).prompt()
    until_readable(database)
    signer = BlockSigner(database, lambda: Vault(database, MASTER_KEY).block_key)
    with freeze_time("2019-01-01"):
        signer.run()
    checkout.pay("RCPTONE001")
    until_readable(database)
    with freeze_time("2036-01-01"):
        signer.run()
    checkout.order(1)
    until_readable(database)
    export_events(reader_of(database), tmp_path / "all", wanted())
    assert len(lines(tmp_path / "all")) == 5

    today = datetime.now(UTC)
    span = wanted(since=today - timedelta(days=2), before=today + timedelta(days=2))
    export_events(reader_of(database), tmp_path / "some", span)
    assert lines(tmp_path / "some") == lines(tmp_path / "all")

    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("ALTER TABLE payment_events DISABLE TRIGGER ALL")
        owner.execute(
            "UPDATE payment_events SET recorded_at = now() - interval '9 days' WHERE version IN (1, 4)"
        )
        owner.execute("ALTER TABLE payment_events ENABLE TRIGGER ALL")
    export_events(reader_of(database), tmp_path / "fewer", span)
    assert [event["version"] for event in lines(tmp_path / "fewer")] == [2, 3, 5]


def test_events_of_every_origin_are_exported_and_an_export_goes_on_in_each(
    ledger: Ledger, database: Database, database_url: str, tmp_path: Path
) -> None:
    Checkout(ledger).prompt().pay("RCPTONE001").order(1)
    until_readable(database)
    vault = Vault(database, MASTER_KEY)
    BlockSigner(database, lambda: vault.block_key).run()
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("UPDATE ledger_node SET origin = 2")
    Checkout(ledger).prompt()
    until_readable(database)

    whole = export_events(reader_of(database), tmp_path / "whole", wanted(events_per_file=3))

    told = lines(tmp_path / "whole")
    assert [event["origin"] for event in told] == [1] * 5 + [2] * len(told[5:])
    assert [(each["origin"], each["events"]) for each in whole["files"]][:3] == [(1, 3), (1, 2), (2, 3)]
    first, second = whole["origins"]
    assert (first["origin"], first["events"], first["last_position"]) == (1, 5, told[4]["position"])
    assert (second["origin"], second["first_position"]) == (2, told[5]["position"])
    assert first["signed_block"]["name"].startswith("1-1-")
    assert second["signed_block"] is None
    for steps in range(1, 4):
        stopped = tmp_path / f"stopped {steps}"
        with pytest.raises(Unavailable):
            export_events(reader_of(database), stopped, wanted(events_per_file=3), stops_after(steps))
        assert export_events(reader_of(database), stopped, wanted(events_per_file=3)) == whole
        assert contents(stopped) == contents(tmp_path / "whole")


def stops_after(steps: int) -> Callable[[float], None]:
    passed: list[float] = []

    def stop(part: float) -> None:
        passed.append(part)
        if len(passed) == steps:
            raise Unavailable("The database is gone.")

    return stop


def test_a_cell_is_no_formula(database: Database, ledger: Ledger, tmp_path: Path) -> None:
    for number, start in enumerate(("=", "+", "-", "@", "\t", "\r")):
        Checkout(ledger, user_id=number + 1).prompt().pay(f"{start}cmd{number}").order(number)
    until_readable(database)
    export_events(reader_of(database), tmp_path / "out", wanted("csv"))
    with (tmp_path / "out" / "events-000001.csv").open(encoding="utf-8", newline="") as file:
        receipts = [row["receipt"] for row in csv.DictReader(file) if row["receipt"]]
    assert receipts == ["'=cmd0", "'+cmd1", "'-cmd2", "'@cmd3", "'\tcmd4", "'\rcmd5"]


def test_personal_data_are_in_the_clear_for_those_who_ask_and_erased_for_all(
    ledger: Ledger, database: Database, tmp_path: Path
) -> None:
    vault = Vault(database, MASTER_KEY)
    for user in (7, 8):
        session_id = uuid4()
        phone = vault.encrypt(user, "254712345678", purpose=PHONE, row=session_id)
        place = vault.encrypt(user, '{"address": "Moi Avenue 4"}', purpose=DELIVERY, row=session_id)
        Checkout(ledger, user_id=user, session_id=session_id, phone_sealed=phone, delivery_sealed=place)
    erase(database, vault, 8)
    until_readable(database)

    export_events(reader_of(database, vault), tmp_path / "clear", wanted(has_personal_data=True))
    export_events(reader_of(database), tmp_path / "out", wanted())

    clear, erased = (event["state"] for event in lines(tmp_path / "clear"))
    assert (clear["phone"], clear["delivery"]) == ("254712345678", {"address": "Moi Avenue 4"})
    assert (erased["phone"], erased["delivery"]) == ("erased", "erased")
    assert not any("phone" in event["state"] for event in lines(tmp_path / "out"))


def test_a_forged_or_altered_event_is_told_and_its_content_left_out(
    ledger: Ledger, database: Database, database_url: str, tmp_path: Path
) -> None:
    Checkout(ledger).prompt().pay("RCPTONE001").order(1)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE payment_events DISABLE TRIGGER ALL")
        connection.execute(
            """UPDATE payment_events SET state = '{"phone": "254712345678"}' WHERE version = 2"""
        )
        connection.execute("UPDATE payment_events SET mac = sha256('') WHERE version = 3")
        connection.execute("ALTER TABLE payment_events ENABLE TRIGGER ALL")
    until_readable(database)
    export_events(reader_of(database), tmp_path / "out", wanted())
    told = lines(tmp_path / "out")
    assert [event["is_genuine"] for event in told] == [True, False, False, True, True]
    assert [(told[at]["event"], told[at]["state"], told[at]["caused_by"]) for at in (1, 2)] == [
        ("Forged", None, None)
    ] * 2


def refused(folder: Path, database: Database, match: str, **options: Any) -> None:
    before = contents(folder)
    with pytest.raises((InvalidValue, Unavailable), match=match):
        export_events(reader_of(database), folder, wanted(**options))
    assert contents(folder) == before


def test_a_folder_of_something_else_is_left_alone(ledger: Ledger, database: Database, tmp_path: Path) -> None:
    Checkout(ledger)
    until_readable(database)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("Mine.")
    refused(tmp_path / "other", database, "holds other files")

    export_events(reader_of(database), tmp_path / "out", wanted())
    refused(tmp_path / "out", database, "other options", form="csv")
    held = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    refused(tmp_path / "out", database, "Another export")
    os.close(held)
    (tmp_path / "out" / "events-000001.jsonl").write_text("{}\n")
    refused(tmp_path / "out", database, "was changed")


HOLDERS = """
SELECT state FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
"""


def test_an_export_holds_back_neither_followers_nor_vacuum(
    ledger: Ledger, database: Database, database_url: str, tmp_path: Path
) -> None:
    Checkout(ledger)
    until_readable(database)
    held: list[Any] = []

    def look(*_: object) -> None:
        with psycopg.connect(database_url) as connection:
            held.extend(connection.execute(HOLDERS).fetchall())

    export_events(reader_of(database), tmp_path / "out", wanted(), look)
    assert held == []
