"""Child processes that do not outlive their parent, even if it is killed."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from api.local.accounts import Account

_PR_SET_PDEATHSIG = 1
_KILL_WAIT_SECONDS = 5


def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    account: Account | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    output: IO[bytes] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a direct child in a process session of its own, so that Ctrl-C reaches the parent alone.

    On Linux the kernel sends `death_signal` to the child when the calling thread ends, so call this from the main
    thread. Elsewhere the next start finds the child of a killed parent by its data folder or its port.
    """
    options = account.subprocess_options() if account else {}
    return subprocess.Popen(
        command,
        env=None if environ is None else dict(environ),
        cwd=folder,
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
        preexec_fn=_ask_for_death_signal(death_signal),  # noqa: PLW1509 - two system calls, no locks and no imports
        **options,
    )


def _ask_for_death_signal(death_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what the child does between fork and exec; it calls only what is already loaded."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask_the_kernel


def stop(child: subprocess.Popen[bytes], how: signal.Signals, within_seconds: float) -> bool:
    """Signal a child to end, kill it after `within_seconds`; return whether it ended without being killed."""
    if child.poll() is not None:
        return True
    child.send_signal(how)
    try:
        child.wait(within_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(_KILL_WAIT_SECONDS)
        return False
    return True
