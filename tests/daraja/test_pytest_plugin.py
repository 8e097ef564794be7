"""The pytest fixtures, as a project outside of this repository uses them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from daraja.simulator import Simulator, SimulatorSettings, create_simulator

pytestmark = pytest.mark.system

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"


def run_pytest(folder: Path, *tests: str) -> str:
    """Run tests in a folder of their own, beside a module called like one of ours; return what pytest says."""
    (folder / "api.py").write_text("raise AssertionError('the simulator needs none of these')")
    (folder / "pytest.ini").write_text("[pytest]\n")
    for number, test in enumerate(tests):
        (folder / f"test_{number}.py").write_text(test)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0"],
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ran.stdout + ran.stderr


def test_the_example_of_the_page_passes_in_a_project_of_its_own(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(import.+?)```", PAGE.read_text("utf-8"), re.DOTALL)
    plain = (
        "import urllib.request\n"
        "def test_health(daraja_simulator):\n"
        "    assert daraja_simulator.settings.shortcode == '174379'\n"
        "    url = f'{daraja_simulator.base_url}/simulator/api/health'\n"
        "    assert urllib.request.urlopen(url, timeout=5).status == 200\n"
    )
    said = run_pytest(tmp_path, example, plain)
    assert "2 passed" in said


def test_each_test_has_a_simulator_of_its_own_and_it_ends_with_the_test(tmp_path: Path) -> None:
    said = run_pytest(
        tmp_path,
        "import urllib.error, urllib.request\n"
        "import pytest\n"
        "seen = []\n"
        "@pytest.mark.parametrize('number', [1, 2])\n"
        "def test_it(daraja_simulator, number):\n"
        "    for url in seen:\n"
        "        with pytest.raises(urllib.error.URLError):\n"
        "            urllib.request.urlopen(url, timeout=5)\n"
        "    assert daraja_simulator.movements() == []\n"
        "    daraja_simulator.pay_by_hand('254712345678', 100, 'D7')\n"
        "    seen.append(daraja_simulator.base_url)\n",
    )
    assert "2 passed" in said


def test_here_it_serves_too(daraja_simulator: Simulator) -> None:
    assert daraja_simulator.base_url.startswith("http://127.0.0.1:")


def test_a_simulator_that_does_not_serve_has_no_base_url() -> None:
    simulator = create_simulator(SimulatorSettings())
    with pytest.raises(RuntimeError, match="start"):
        _ = simulator.base_url
