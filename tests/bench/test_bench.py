"""The bench itself still runs, the plain rows with it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.bench.__main__ import bench


@pytest.mark.system
def test_a_short_run_measures_daftari_and_the_plain_rows(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    options = ["--parts", "lifecycles,polls,open,floor", "--clients", "4", "--pairs", "1"]
    run = CliRunner().invoke(
        bench, [*options, "--lifecycles", "12", "--seconds", "1", "--output", str(output)]
    )
    assert run.exit_code == 0, run.output
    found = {(turn["part"], turn["subject"]) for turn in json.loads(output.read_text("utf-8"))["turns"]}
    assert {
        ("lifecycles", "Daftari"),
        ("lifecycles", "Daftari, with keys"),
        ("lifecycles", "plain rows"),
    } <= found
    assert {("polls", "bare view"), ("open", "Daftari"), ("floor", "lifecycle")} <= found
