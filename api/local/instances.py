"""The running instance of a data folder, and the variables by which other commands reach it."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from api.local.folders import make_private_folder, take_lock, write_private_file
from api.local.problems import LocalRuntimeError

INSTANCE_FILE = "instance.json"
LOCK_FILE = "instance.lock"


@contextlib.contextmanager
def hold_instance(folder: Path) -> Iterator[None]:
    """Be the one instance of `folder` for a while; raise FolderBusy if another is running."""
    make_private_folder(folder)
    lock = take_lock(folder / LOCK_FILE, "Daftari")
    try:
        yield
    finally:
        (folder / INSTANCE_FILE).unlink(missing_ok=True)
        os.close(lock)


def publish_instance(folder: Path, variables: Mapping[str, str]) -> None:
    """Publish the variables that other commands need, to the owner of `folder` alone."""
    write_private_file(folder / INSTANCE_FILE, json.dumps(dict(variables)))


def running_instance(folder: Path) -> dict[str, str]:
    """Return the variables of the instance that runs on `folder` now, empty without one."""
    try:
        text = (folder / INSTANCE_FILE).read_text(encoding="utf-8")
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError as error:
        raise LocalRuntimeError(
            f"The data folder {folder} belongs to another user: type the command as that user, "
            "or set DAFTARI_DATA_DIR to a folder of yours."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        variables: dict[str, str] = json.loads(text)
        return variables
    finally:
        os.close(lock)
    return {}
