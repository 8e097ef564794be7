"""A PostgreSQL with a streaming replica, which can take its place."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from api.local.accounts import account_for
from api.local.binaries import find_binaries
from api.local.folders import make_private_folder, write_private_file
from api.local.postgres import ClusterOptions, EmbeddedPostgres
from tests.support.waiting import wait_until
from tests.torture.server_settings import configure, execute

PROMOTED_WITHIN_SECONDS = 60
_COPIED_WITHIN_SECONDS = 120
_ENTERED_BY = "pg_hba.conf"
_HBA = "local all all trust\nlocal replication all trust\n"
"""Only the servers' account and root may enter the folders of the sockets."""

_PREPARE = (
    "ALTER SYSTEM SET hba_file = '{hba}'",
    "ALTER SYSTEM SET synchronous_commit = on",
)
_COMMIT_ON_BOTH = "SET synchronous_standby_names = '*'"
_COMMIT_ALONE = "RESET synchronous_standby_names"
_IS_REPLICATED = "SELECT pid FROM pg_stat_replication WHERE sync_state = 'sync'"


class ReplicatedPostgres:
    """Two servers: what the primary acknowledges the replica has too, until the replica is promoted.

    `pid` is of the primary. Do not start it a second time.
    """

    def __init__(self, folder: Path, options: ClusterOptions) -> None:
        self._folder = folder
        self._options = options
        self.primary = EmbeddedPostgres(folder / "first", options)
        self.replica = EmbeddedPostgres(folder / "second", options)

    @property
    def pid(self) -> int | None:
        """The process id of the primary while it runs, else None."""
        return self.primary.pid

    def answers(self) -> bool:
        """Return whether the primary accepts a connection now."""
        return self.primary.answers()

    @property
    def urls(self) -> list[str]:
        """The URLs of both, the replica's first: who takes the first host that answers finds a standby."""
        return [self.replica.database_url, self.primary.database_url]

    def start(self) -> str:
        """Start both, and return the URL that leads to both. Call this from the main thread."""
        make_private_folder(self._folder)
        write_private_file(self._folder / _ENTERED_BY, _HBA, mode=0o644)
        execute(self.primary.start(), *(line.format(hba=self._folder / _ENTERED_BY) for line in _PREPARE))
        self.primary.stop()
        primary_url = self.primary.start()
        self._copy(primary_url)
        self.replica.start()
        configure(primary_url, _COMMIT_ON_BOTH)
        wait_until(lambda: bool(execute(primary_url, _IS_REPLICATED)), "the replica has each commit")
        return of_several(self.urls)

    def promote(self) -> str:
        """Let the replica take writes, and wait for no replica of its own; return its URL once it does."""
        url = self.replica.database_url
        configure(url, _COMMIT_ALONE)
        execute(url, f"SELECT pg_promote(true, {PROMOTED_WITHIN_SECONDS})")
        self.primary, self.replica = self.replica, self.primary
        return url

    def commit_alone(self) -> None:
        """Let the primary wait for no replica."""
        configure(self.primary.database_url, _COMMIT_ALONE)

    def stop(self) -> None:
        """Stop both."""
        self.primary.stop()
        self.replica.stop()

    def _copy(self, primary_url: str) -> None:
        """Copy the primary's cluster to where the replica's is, as a standby of it."""
        cluster = self._folder / "second" / "postgres"
        make_private_folder(cluster.parent)
        cluster.mkdir(mode=0o700)
        account = account_for(self._folder / "first" / "postgres")
        if account.switches:
            os.chown(cluster, account.uid, account.gid)
        program = find_binaries(account, self._options.bin_folder).folder / "pg_basebackup"
        assert program.is_file(), f"There is no {program}: set DAFTARI_POSTGRES_BIN to a folder that has it."
        subprocess.run(
            [program, "-D", cluster, "-d", primary_url, "--write-recovery-conf", "--checkpoint=fast"],
            check=True,
            cwd="/",
            timeout=_COPIED_WITHIN_SECONDS,
            **account.subprocess_options(),
        )
        for lock_of_primary in cluster.glob(".s.PGSQL.*"):
            lock_of_primary.unlink()


def of_several(urls: Sequence[str]) -> str:
    """Return the URL that leads to several servers which differ in host and port."""
    queries = [dict(parse_qsl(urlsplit(url).query)) for url in urls]
    joined = {
        name: ",".join(query[name] for query in queries) for name in ("host", "port") if name in queries[0]
    }
    return urlunsplit(urlsplit(urls[0])._replace(query=urlencode(queries[0] | joined)))
