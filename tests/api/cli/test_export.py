import json
from pathlib import Path

import pytest

from api.cli.export import _NairobiTime
from ledger.application import Ledger
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from tests.api.cli.support import daftari
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import key_ring


def test_the_log_is_exported_into_a_folder_and_a_repeat_changes_nothing(
    ledger: Ledger, database: Database, database_url: str, tmp_path: Path
) -> None:
    Checkout(ledger).prompt().pay("RCPTONE001").order(1)
    until_readable(database)
    arguments = ("export", "--from", "2024-01-01", "--format", "csv", "-o", str(tmp_path / "out"))
    first = daftari(*arguments, DATABASE_URL=database_url)
    Checkout(ledger)
    again = daftari(*arguments, DATABASE_URL=database_url)
    assert first.stdout == again.stdout == f"{tmp_path}/out holds 5 events in 1 file, and manifest.json.\n"
    assert first.stderr == ""
    options = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))["options"]
    assert options["since"] == "2024-01-01T00:00:00+03:00"


def test_personal_data_take_a_person_and_a_reason_which_are_recorded(
    ledger: Ledger, database: Database, database_url: str, tmp_path: Path
) -> None:
    Checkout(ledger)
    until_readable(database)
    arguments = ("export", "--personal-data", "-o", str(tmp_path / "out"))
    refused = daftari(*arguments, "--by", "41", DATABASE_URL=database_url)
    for reason in ("call 0712345678", "Audit\nof 2026."):
        bad = daftari(*arguments, "--by", "41", "--reason", reason, DATABASE_URL=database_url)
        assert (bad.returncode, "reason" in bad.stderr) == (1, True), bad.stderr
    taken = daftari(*arguments, "--by", "41", "--reason", "Audit of 2026.", DATABASE_URL=database_url)
    assert (refused.returncode, taken.returncode) == (2, 0), taken.stderr
    _, (entry,) = AuditLog(database, key_ring(database)).entries(kind="export")
    assert (entry.actor, entry.reason) == ("cli:user:41", "Audit of 2026.")


def test_bad_input_is_told(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("Mine.")
    for arguments, exit_code, told in (
        (("--from", "tomorrow"), 2, "neither a day"),
        (("--from", "2026-11-02", "--to", "2026-11-01"), 2, "not before"),
        (("--format", "xlsx"), 2, "xlsx"),
        (("--from", "0001-01-01"), 2, "between 1970 and 9998"),
        (("--to", "9999-12-30"), 2, "between 1970 and 9998"),
        (("--to", "9999-12-31T23:00:00"), 2, "between 1970 and 9998"),
        (("--to", "9999-12-31T23:00:00-12:00"), 2, "between 1970 and 9998"),
        (("-o", str(tmp_path / "other")), 1, "holds other files"),
        (("-o", "/proc/daftari"), 4, "/proc/daftari"),
    ):
        run = daftari("export", *arguments, DATABASE_URL=database_url)
        assert (run.returncode, told in run.stderr) == (exit_code, True), run.stderr


@pytest.mark.parametrize("name", ["manifest.json", "manifest.part.json"])
@pytest.mark.parametrize("content", ['{"options": {"fo', "[]", '{"options": 1}'])
def test_a_manifest_that_is_none_is_told_and_stays(
    database_url: str, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    run = daftari("export", "-o", str(tmp_path), DATABASE_URL=database_url)
    assert (run.returncode, "Traceback" in run.stderr) == (1, False), run.stderr
    assert str(tmp_path) in run.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, content)]


@pytest.mark.parametrize(
    ("text", "is_end", "moment"),
    [
        ("2026-11-27", False, "2026-11-27T00:00:00+03:00"),
        ("2026-11-27", True, "2026-11-28T00:00:00+03:00"),
        ("2026-11-27T18:30", True, "2026-11-27T18:30:00+03:00"),
        ("2026-11-27 18:30:05", False, "2026-11-27T18:30:05+03:00"),
        ("2026-11-27T18:30:00Z", True, "2026-11-27T21:30:00+03:00"),
    ],
)
def test_days_and_times_are_those_of_nairobi(text: str, is_end: bool, moment: str) -> None:
    assert _NairobiTime(is_end=is_end).convert(text, None, None).isoformat() == moment
