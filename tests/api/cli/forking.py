"""Runs commands in processes that are forked from this one, which has imported what they need.

`python -m tests.api.cli.forking` reads one request a line from its standard input and answers with the exit code of the
command. To import a command's parts takes several times as long as to run most of them.
"""

import gc
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from api.cli import MODULES, main

IMPORTED_ONCE = (
    "api.http.middleware.auth",
    "api.http.middleware.logging",
    "api.cli.opened",
    "api.wiring",
    "daraja.simulator",
    "ledger.store.migrate",
    "shop.demo",
)


def serve() -> None:
    """Run one command after the other until the standard input ends."""
    for name in (*IMPORTED_ONCE, *(f"api.cli.{module}" for module in MODULES.values())):
        import_module(name)
    # A child that ends would else walk all that was imported, page by page copied for it: 0.3 s of the processor.
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(**json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(arguments: list[str], environ: dict[str, str], folder: str, output: str) -> NoReturn:
    """Be a command that was started with an environment, in a folder, saying what it says into two files."""
    for number, file in enumerate((os.devnull, f"{output}.out", f"{output}.err")):
        opened = os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - the end of the process closes it
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.exit(main(arguments, prog_name="python -m api.cli"))


if __name__ == "__main__":
    serve()
