"""The data folder of one machine: where it is, who owns it, and the files that only its owner may read."""

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
    """Return the folder for this user's data: the system's for root, the XDG data folder for everyone else."""
    if os.geteuid() == 0:
        return ROOT_FOLDER
    home = environ.get("XDG_DATA_HOME", "")
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "share"
    return base / "daftari"


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may read; raise LocalRuntimeError where that is not possible.

    Root's may be entered by others, so that PostgreSQL's account reaches its own part in it; secrets in it are
    files that only root may read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise LocalRuntimeError(
            f"The data folder {folder} cannot be made ({error.strerror}): "
            "set DAFTARI_DATA_DIR to a folder that you may write to."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise LocalRuntimeError(
            f"The data folder {folder} is not yours to write to: set DAFTARI_DATA_DIR to one that is."
        )


def write_private_file(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file whole or not at all; `mode` says who may read it, its owner alone unless told."""
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
    """Return what the file says, or write `content` if there is none; processes that race agree on one answer."""
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
    """Lock the file `path` and return the descriptor that keeps it locked until closed; raise FolderBusy.

    The lock goes with the process, however that ends. It is tried a few times, because whoever looks whether it is
    held holds it for a moment. `what` names its keeper in the message.
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
