"""Run `daftari` as people do: as a process, with an environment of its own."""

import base64
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from threading import Timer

from tests.support.keys import MASTER_KEY

CHECKOUT = Path(__file__).resolve().parents[3]
_WITHIN_SECONDS = 180


def daftari(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a process of its own, and return what it said.

    Without a data folder it gets one of its own: the default is that of whoever runs the tests.
    """
    with tempfile.TemporaryDirectory(prefix="daftari-said-") as folder:
        said = Path(folder, "said")
        request = {
            "arguments": arguments,
            "environ": {"DAFTARI_DATA_DIR": str(Path(folder, "data")), **environment(**environ)},
            "folder": str(CHECKOUT),
            "output": str(said),
        }
        exit_code = _ask(json.dumps(request))
        out, err = (said.with_suffix(end).read_text(encoding="utf-8") for end in (".out", ".err"))
    return subprocess.CompletedProcess(arguments, exit_code, out, err)


def environment(**environ: str) -> dict[str, str]:
    """Return this process's environment with some variables more; the master key is that of the test's ledger."""
    return {**os.environ, "DAFTARI_MASTER_KEY": base64.b64encode(MASTER_KEY).decode(), **environ}


def _ask(request: str) -> int:
    forking = _forking()
    assert forking.stdin is not None
    assert forking.stdout is not None
    too_long = Timer(_WITHIN_SECONDS, forking.kill)
    too_long.start()
    try:
        forking.stdin.write(request + "\n")
        forking.stdin.flush()
        exit_code = forking.stdout.readline()
        if not exit_code:
            _forking.cache_clear()
            raise AssertionError(f"The command did not end within {_WITHIN_SECONDS} s, or its process died.")
        return int(exit_code)
    finally:
        too_long.cancel()


@cache
def _forking() -> subprocess.Popen[str]:
    """Start the process that commands are forked from, once; it ends with ours."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.api.cli.forking"],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
