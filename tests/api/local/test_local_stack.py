"""The programs of `daftari up`."""

import os
import subprocess
from pathlib import Path

from api.local.local_stack import daftari


def test_a_program_is_of_daftari_though_the_current_folder_has_packages_of_its_names(tmp_path: Path) -> None:
    for name in ("api", "payments", "shop"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('another program')")
    environ = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [*daftari("serve"), "--help"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Usage:" in ended.stdout
