"""The real hledger for the test of the books' export: the system's own, else one installed now, else an error.

`python -m tests.support.hledger` does the installing and prints where it is.
"""

import os
import shutil
import subprocess
import sys

_APT_WITHIN_SECONDS = 600


class HledgerMissing(RuntimeError):
    """There is no hledger; the message has the line to type."""


def install_hledger() -> str:
    """Return the path of hledger, and install Debian's package first where there is none; raise HledgerMissing."""
    if shutil.which("hledger") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "hledger"]):
            subprocess.run(
                ["apt-get", "-qq", *command],
                env=environ,
                timeout=_APT_WITHIN_SECONDS,
                check=False,
                stdout=sys.stderr,
            )
    found = shutil.which("hledger")
    if found is None:
        raise HledgerMissing("There is no hledger: type `sudo apt-get install -y hledger`.")
    return found


if __name__ == "__main__":
    try:
        print(install_hledger())  # noqa: T201 - the answer of a command
    except HledgerMissing as missing:
        sys.exit(f"Error: {missing}")
