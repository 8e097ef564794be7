"""The quick start works as it is written: each block is pasted into a shell in an empty folder."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.cli.support import CHECKOUT
from tests.api.cli.test_up import Instance, start
from tests.support.database import reachable_folder
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PAGE = CHECKOUT / "docs" / "quickstart.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
VENV_OF_THE_TESTS = """mkdir -p .venv/bin
printf '#!/bin/sh\\nexec "$TESTS_PYTHON" "$@"\\n' > .venv/bin/python
chmod +x .venv/bin/python
"""
PROMISED = re.findall(r"^    (WEBHOOK .*)$", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.fixture
def running() -> Iterator[tuple[Instance, Path]]:
    """What `make run` runs, and a folder."""
    folder = reachable_folder()
    environ = {
        "DAFTARI_DATA_DIR": str(folder / "data"),
        "DAFTARI_PORT": str(free_port()),
        "DAFTARI_SIMULATOR_PORT": str(free_port()),
        "DAFTARI_MASTER_KEY": "",
    }
    instance = start(folder, environ)
    yield instance, folder
    instance.stop(signal.SIGTERM)
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.system
def test_every_line_can_be_pasted_and_the_first_webhook_arrives(running: tuple[Instance, Path]) -> None:
    instance, folder = running
    empty = folder / "mine"
    empty.mkdir()
    # What takes the place of an index of packages: the venv of these tests, which has the library.
    offline = {".venv/bin/pip install standardwebhooks\n": "", "python3 -m venv .venv\n": VENV_OF_THE_TESTS}
    blocks = BLOCKS
    for line, instead in offline.items():
        assert line in "".join(blocks)
        blocks = [block.replace(line, instead) for block in blocks]
    bin_folder = Path(sys.executable).parent
    environ = {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "HOME": str(empty),
        "DAFTARI_DATA_DIR": instance.environ["DAFTARI_DATA_DIR"],
        "DAFTARI_URL": instance.url,
        "HOOK_PORT": str(free_port()),
        "TESTS_PYTHON": sys.executable,
        "PYTHONPATH": str(CHECKOUT),
    }
    with (empty / "said").open("w") as said:
        shell = subprocess.Popen(
            ["bash", "-e", "-u", "-o", "pipefail"],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=empty,
            env=environ,
            start_new_session=True,
        )
        try:
            assert shell.stdin is not None
            for block in blocks:
                shell.stdin.write(block)
                shell.stdin.flush()
                if "--forward-to" in block:  # The page says to wait for this.
                    wait_until(
                        lambda: "Messages are signed" in (empty / "said").read_text(), "it listens", 60
                    )
            wait_until(lambda: len(webhooks(empty)) == len(PROMISED), "both arrived", within_seconds=60)
        except AssertionError as error:
            raise AssertionError((empty / "said").read_text()) from error
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    assert webhooks(empty) == PROMISED


def webhooks(folder: Path) -> list[str]:
    return re.findall(r"^WEBHOOK .*$", (folder / "said").read_text(), re.MULTILINE)
