import subprocess
import sys
from pathlib import Path

import pytest

from api.local import bootstrap


def test_a_missing_venv_module_is_reported_with_the_line_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"type `sudo apt-get install -y python3.*-venv`"):
        bootstrap.install_venv_package(sys.executable)


def test_a_step_that_fails_ends_it_all_and_names_the_command() -> None:
    with pytest.raises(SystemExit, match="-c raise SystemExit"):
        bootstrap.run([sys.executable, "-c", "raise SystemExit(7)"])


def test_this_python_is_used_when_it_is_new_enough() -> None:
    assert bootstrap.find_python() == sys.executable


def test_it_needs_nothing_but_the_standard_library() -> None:
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import runpy; runpy.run_path({bootstrap.__file__!r})"],
        check=False,
    )
    assert answer.returncode == 0
