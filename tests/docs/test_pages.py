import configparser
import re
from pathlib import Path

from api.settings import described_settings

ROOT = Path(__file__).resolve().parents[2]


def first_column(document: str) -> list[str]:
    text = (ROOT / "docs" / document).read_text("utf-8")
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_the_configuration_page_shows_every_setting_with_its_default_and_meaning() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    for name, default, meaning in described_settings():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert meaning in line
        assert default in line


def test_the_configuration_page_shows_no_setting_that_does_not_exist() -> None:
    assert set(first_column("configuration.md")) == {name for name, _, _ in described_settings()}


def test_every_direct_dependency_has_its_reason() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    named = {re.split(r"[\[<>=]", line)[0] for text in lists for line in text.split()}
    assert set(first_column("dependencies.md")) == named


def test_the_locks_pin_and_hash_everything_and_name_no_index() -> None:
    for name in ("requirements.txt", "requirements-test.txt"):
        lock = (ROOT / name).read_text("utf-8")
        pinned = re.findall(r"^[a-z0-9-]+(?:\[[a-z,]+\])?==\S+.*\\$", lock, re.MULTILINE)
        unpinned = [line for line in lock.splitlines() if re.match(r"[a-z0-9]", line) and "==" not in line]
        assert len(pinned) > 30
        assert unpinned == []
        assert "--index-url" not in lock
        assert "://" not in lock


def test_what_runs_is_locked_to_the_same_versions_as_what_is_tested() -> None:
    run, test = (
        set(re.findall(r"^[a-z0-9-]+==[^ ;]+", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        for name in ("requirements.txt", "requirements-test.txt")
    )
    assert run <= test
