"""The account that runs PostgreSQL: it refuses root, so root uses an unprivileged account."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.local.problems import LocalRuntimeError

_ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user and its group, by number; `switches` says whether a child must change to it."""

    uid: int
    gid: int
    switches: bool

    def subprocess_options(self) -> dict[str, Any]:
        """Return the arguments of subprocess.Popen that run a program as this account."""
        if not self.switches:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def may_enter(self, folder: Path) -> bool:
        """Return whether this account can reach a file inside `folder`, judged by every folder above it."""
        return not self.switches or all(self._may_pass(place.stat()) for place in (folder, *folder.parents))

    def _may_pass(self, place: os.stat_result) -> bool:
        if place.st_uid == self.uid:
            return bool(place.st_mode & stat.S_IXUSR)
        if place.st_gid == self.gid:
            return bool(place.st_mode & stat.S_IXGRP)
        return bool(place.st_mode & stat.S_IXOTH)


def account_for(cluster: Path) -> Account:
    """Return the account for `cluster`: its owner if it exists, else ours, else an unprivileged one."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switches=False)
    if cluster.is_dir() and (owner := cluster.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, switches=True)
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, switches=True)
    raise LocalRuntimeError(
        "PostgreSQL refuses to run as root and this machine has neither a user postgres nor a user nobody: "
        "type `useradd --system postgres`, or run Daftari as an ordinary user."
    )
