import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from api.local import bootstrap
from tests.api.cli.support import CHECKOUT

LOCK = CHECKOUT / "requirements.txt"

OLD_PYTHON = f"""#!{sys.executable}
import runpy, sys
sys.version_info = (3, 6, 15)
if sys.argv[1] == "-I":
    sys.argv[:] = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
INACTIVE_SHIM = "#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n"


def make_run(folder: Path, python: str) -> str:
    """Type `make run` where python3 is a certain program and there is no other; return what is said of the failure."""
    fake = folder / "python3"
    fake.write_text(python)
    fake.chmod(0o755)
    result = subprocess.run(
        [shutil.which("make") or "make", "PYTHON=python3", f"VENV={folder}/venv", "run"],
        cwd=CHECKOUT,
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_python_that_is_too_old_says_what_to_type(tmp_path: Path) -> None:
    assert "python3 is 3.6.15: install a newer one" in make_run(tmp_path, OLD_PYTHON)


def test_a_shim_without_an_active_version_says_what_to_type(tmp_path: Path) -> None:
    assert "Error: python3 does not run: install Python 3.11" in make_run(tmp_path, INACTIVE_SHIM)


def test_the_python_of_the_system_is_used_if_it_is_new_enough(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)
    usable = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    has_own = shutil.which("/usr/bin/python3") and not subprocess.call(["/usr/bin/python3", "-c", usable])
    chosen = subprocess.run(
        [shutil.which("make") or "make", "--eval=chosen: ; @echo $(PYTHON)", "chosen"],
        cwd=CHECKOUT,
        env={"PATH": f"{tmp_path}:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert chosen == ("/usr/bin/python3" if has_own else "python3")


def test_an_old_python_can_read_the_bootstrap() -> None:
    tree = ast.parse(Path(bootstrap.__file__).read_text(encoding="utf-8"), feature_version=(3, 6))
    assert not [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]


def test_a_missing_venv_module_is_reported_with_the_line_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"type `sudo apt-get install -y python3.*-venv`"):
        bootstrap.install_venv_package(sys.executable)


def test_packages_are_counted_as_they_arrive(capfd: pytest.CaptureFixture[str]) -> None:
    bootstrap.install_lock([sys.executable, "-c", "print('Collecting a\\nCollecting b')"], LOCK)
    said = capfd.readouterr().err
    assert "packages of requirements.txt. This takes a minute or two" in said
    assert "\r  2 of " in said


def test_packages_that_cannot_be_installed_point_to_the_network() -> None:
    with pytest.raises(SystemExit, match="has a network connection, then try again"):
        bootstrap.install_lock([sys.executable, "-c", "raise SystemExit(1)"], LOCK)


def test_a_step_that_fails_ends_it_all_and_names_the_command() -> None:
    with pytest.raises(SystemExit, match="-c raise SystemExit"):
        bootstrap.run([sys.executable, "-c", "raise SystemExit(7)"])


def test_this_python_is_used_if_it_is_new_enough() -> None:
    assert bootstrap.find_python() == sys.executable


def test_it_needs_nothing_but_the_standard_library() -> None:
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import runpy; runpy.run_path({bootstrap.__file__!r})"],
        check=False,
    )
    assert answer.returncode == 0
