"""The data folder of a machine, its private files and its locks."""

import fcntl
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from api.local.problems import FolderBusy, LocalRuntimeError

ROOT_FOLDER = Path("/var/lib/daftari")

_LOCK_TRIES = 5
_BETWEEN_TRIES_SECONDS = 0.05


def default_data_folder(environ: Mapping[str, str]) -> Path:
    """Return the default data folder: the system's for root, the XDG data folder for other users."""
    if os.geteuid() == 0:
        return ROOT_FOLDER
    home = environ.get("XDG_DATA_HOME", "")
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "share"
    return base / "daftari"


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner can read; raise LocalRuntimeError.

    Others can enter root's, so that PostgreSQL's account reaches its part of it; secrets in it are files that only
    root can read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise LocalRuntimeError(
            f"The data folder {folder} cannot be created ({error.strerror}): "
            "set DAFTARI_DATA_DIR to a folder that you can write to."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise LocalRuntimeError(
            f"The data folder {folder} is not writable: set DAFTARI_DATA_DIR to one that is."
        )


def write_private_file(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file atomically; by default only its owner can read it."""
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def read_or_make_private_file(path: Path, content: str) -> str:
    """Return the file's content, written as `content` if the file is missing; racing processes get the same."""
    make_private_folder(path.parent)
    if not path.exists():
        candidate = path.with_name(f".{path.name}.{os.getpid()}")
        write_private_file(candidate, content)
        try:
            os.link(candidate, path)
        except FileExistsError:
            pass
        finally:
            candidate.unlink()
    return path.read_text(encoding="utf-8")


def take_lock(path: Path, what: str) -> int:
    """Lock the file `path` and return the descriptor that holds the lock until it is closed; raise FolderBusy.

    The lock ends with the process. It is tried a few times, because a process that probes the lock holds it for a
    moment. `what` names the holder in the message.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_BETWEEN_TRIES_SECONDS)
        else:
            return descriptor
    os.close(descriptor)
    raise FolderBusy(
        f"{what} is already running on {path.parent}: stop it first (Ctrl-C where it runs), "
        "or set DAFTARI_DATA_DIR to another folder."
    )
