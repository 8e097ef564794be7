"""The scripts under examples/ run as they are, on what the commands that they name have written."""

import subprocess
import sys
from datetime import date
from pathlib import Path

from payments.sample.chunks import Sample
from payments.sample.generation import Store, generate
from projections.export.view_export import export_view
from tests.support.keys import MASTER_KEY

FUNNEL = Path(__file__).resolve().parents[2] / "examples" / "funnel.py"


def test_the_funnel_is_drawn_from_exported_views(database_url: str, tmp_path: Path) -> None:
    store = Store(database_url, MASTER_KEY)
    generate(store, Sample(120, 5, date(2024, 1, 1), date(2024, 1, 14), at_once=120), 1)
    files = [tmp_path / f"{view}.parquet" for view in ("daily_funnel", "payment_sessions")]
    with store.opened() as (database, _):
        for path in files:
            export_view(database, path.stem, "parquet", path)
    drawn = subprocess.run(
        [sys.executable, FUNNEL, *files], capture_output=True, text=True, check=True
    ).stdout
    assert drawn.count("Week of 2024-01-") == 2
    created = [int(line.split()[2]) for line in drawn.splitlines() if line.startswith("  created")]
    assert sum(created) == 120
    assert "created  " + "█" * 50 in drawn
    assert "CANCELLED_BY_USER" in drawn.partition("Why sessions were lost")[2]
