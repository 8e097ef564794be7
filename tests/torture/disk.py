"""A small disk that can be filled and freed: a tmpfs, if mounting is allowed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOMY_BYTES = 4 << 30
_MOUNT_WITHIN_SECONDS = 10
_MAX_SPARE_PAGES = 64


class SmallDisk:
    """A mounted tmpfs. Filling it writes nothing: its limit is moved to what it holds already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Leave no room for one more page, or for a few if others write meanwhile."""
        for spare_pages in range(_MAX_SPARE_PAGES):
            figures = os.statvfs(self.folder)
            used_pages = figures.f_blocks - figures.f_bfree
            try:
                self._resize((used_pages + spare_pages) * figures.f_frsize)
            except subprocess.CalledProcessError:
                continue  # It holds more by now.
            return

    def free(self) -> None:
        """Give it room again."""
        self._resize(ROOMY_BYTES)

    def _resize(self, size_bytes: int) -> None:
        _run("mount", "-o", f"remount,size={size_bytes}", str(self.folder))


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk | None]:
    """Mount a disk on a new folder, unmount it in the end; yield None if mounting is not allowed."""
    folder.mkdir(mode=0o711)
    folder.chmod(0o711)
    try:
        options = f"size={ROOMY_BYTES},mode=0711"
        _run("mount", "-t", "tmpfs", "-o", options, "daftari-torture", str(folder))
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", "--lazy", str(folder))


def may_mount() -> bool:
    """Say whether mounting is worth a try: it takes root, and Linux."""
    return sys.platform == "linux" and os.geteuid() == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_MOUNT_WITHIN_SECONDS)
