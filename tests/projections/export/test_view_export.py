import csv
import json
import resource
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from ledger.errors import NotFound
from ledger.store.database import Database
from projections.export.view_export import FORMS, ROWS_AT_ONCE, export_view

VIEWS = """
SELECT relname FROM pg_class WHERE relnamespace = 'analytics'::regnamespace AND relkind = 'v' ORDER BY relname
"""


@pytest.fixture
def owner(database_url: str) -> Any:
    """A pool with the rights of the login that migrates."""
    database = Database(database_url, role="")
    yield database
    database.close()


def make_view(database: Database, query: str) -> None:
    with database.connection() as connection:
        connection.execute(f"CREATE VIEW analytics.made AS {query}".encode())


def test_each_view_is_exported_in_each_form(owner: Database, tmp_path: Path) -> None:
    with owner.connection() as connection:
        views = [row["relname"] for row in connection.execute(VIEWS)]
    assert "daily_funnel" in views
    for view in views:
        for form in FORMS:
            path = tmp_path / f"{view}.{form}"
            exported = export_view(owner, view, form, path)
            assert exported.sha256 == sha256(path.read_bytes()).hexdigest()
            assert path.stat().st_mode & 0o077 == 0
    assert len(list(tmp_path.iterdir())) == len(views) * len(FORMS), "nothing is left but the files"


def test_columns_keep_their_types(owner: Database, tmp_path: Path) -> None:
    make_view(
        owner,
        "SELECT 9007199254740993 AS last_position, 12.5::numeric(12, 1) AS percent, DATE '2024-01-31' AS day,"
        " TIMESTAMPTZ '2024-01-31 23:00+03' AS made_at, true AS is_open, NULL::text AS note, gen_random_uuid() AS id,"
        " interval '1 minute' AS waited",
    )
    for form in FORMS:
        export_view(owner, "made", form, tmp_path / form)
    [row] = parquet.read_table(tmp_path / "parquet").to_pylist()
    assert row["last_position"] == 9_007_199_254_740_993
    assert (row["percent"], row["day"], row["is_open"], row["note"]) == (
        Decimal("12.5"),
        date(2024, 1, 31),
        True,
        None,
    )
    assert row["made_at"].isoformat() == "2024-01-31T20:00:00+00:00"
    assert row["waited"] == "0:01:00"
    line = json.loads((tmp_path / "jsonl").read_text("utf-8"))
    assert (line["last_position"], line["percent"], line["day"]) == ("9007199254740993", 12.5, "2024-01-31")
    [cells] = csv.DictReader((tmp_path / "csv").open(encoding="utf-8", newline=""))
    assert (cells["last_position"], cells["percent"], cells["note"]) == ("9007199254740993", "12.5", "")


def test_no_cell_is_a_formula_and_rows_of_several_batches_are_all_there(
    owner: Database, tmp_path: Path
) -> None:
    rows = 2 * ROWS_AT_ONCE + 1
    make_view(owner, f"SELECT '=1+' || number AS text FROM generate_series(1, {rows}) AS number")
    for form in FORMS:
        assert export_view(owner, "made", form, tmp_path / form).rows == rows
    cells = list(csv.reader((tmp_path / "csv").open(encoding="utf-8", newline="")))
    assert (cells[1], cells[-1], len(cells)) == (["'=1+1"], [f"'=1+{rows}"], rows + 1)
    assert parquet.read_table(tmp_path / "parquet").num_rows == rows


def test_only_views_for_analysts_can_be_exported(owner: Database, tmp_path: Path) -> None:
    for name in ("payment_events", "daily_funnel; SELECT 1", "customer_keys", 'daily"funnel'):
        with pytest.raises(NotFound, match="daily_funnel") as refused:
            export_view(owner, name, "csv", tmp_path / "out")
        assert refused.value.code == "UNKNOWN_VIEW"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_file_that_was_there_and_nothing_else(owner: Database, tmp_path: Path) -> None:
    make_view(owner, "SELECT repeat('a', 1000) AS a FROM generate_series(1, 100)")
    path, before = tmp_path / "made.csv", resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_text("of yesterday", "utf-8")
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            export_view(owner, "made", "csv", path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [(each.name, each.read_text("utf-8")) for each in tmp_path.iterdir()] == [
        ("made.csv", "of yesterday")
    ]
