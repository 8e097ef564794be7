"""An embedded PostgreSQL: one cluster in a data folder, run as a direct child of the process that starts it."""

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg

from api.local import children, stale_server
from api.local.accounts import Account, account_for
from api.local.binaries import Binaries, find_binaries
from api.local.folders import ROOT_FOLDER, make_private_folder, take_lock, write_private_file
from api.local.problems import DatabaseProblem, LocalRuntimeError

DATABASE_NAME = "daftari"
OWNER = "daftari"
POINTER_FILE = "cluster-location"
LOG_FILE = "postgres.log"
LOCK_FILE = "postgres.lock"

_INCLUDE_FILE = "daftari.conf"
_HBA_FILE = "daftari_hba.conf"
_IDENT_FILE = "daftari_ident.conf"
_MAX_SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.5432.lock")
_START_WITHIN_SECONDS = 60
_STOP_WITHIN_SECONDS = 30
_INITDB_WITHIN_SECONDS = 120
_CONNECT_WITHIN_SECONDS = 5
_POLL_SECONDS = 0.02
_LOG_TAIL_LINES = 5

_SETTINGS = """\
# Rewritten at each start. Put your own settings into postgresql.conf, below the line that includes this file.
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
hba_file = '{cluster}/{hba_file}'
ident_file = '{cluster}/{ident_file}'
max_connections = {connections}
timezone = 'UTC'
jit = off
max_wal_size = '2GB'
checkpoint_timeout = '15min'
log_checkpoints = off
log_min_messages = log
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""
_HBA = f"""\
# Rewritten at each start. The account that runs Daftari is the superuser; other logins have a password.
# The databases that every login could enter, and where nothing is closed to analysts, are for the superuser alone.
local all {OWNER} peer map={OWNER}
local postgres,template1 all reject
local all all scram-sha-256
"""
_NOT_DURABLE = """\
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
shared_buffers = 32MB
"""


@dataclass(frozen=True)
class ClusterOptions:
    """How to run a cluster; `durable=False` can lose data in a power cut and is for tests only."""

    durable: bool = True
    connections: int = 200
    bin_folder: Path | None = None


class EmbeddedPostgres:
    """The PostgreSQL of one data folder; the process that starts it must stop it."""

    def __init__(self, data_folder: Path, options: ClusterOptions | None = None) -> None:
        self._folder = data_folder.absolute()
        self._options = options or ClusterOptions()
        self._child: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_new(self) -> bool:
        """Whether there is no cluster yet."""
        return _major_of(_cluster_folder(self._folder)) is None

    @property
    def database_url(self) -> str:
        """The URL of the running cluster's database, as its superuser; raise DatabaseProblem if it is not started."""
        if not self._url:
            raise DatabaseProblem("The embedded PostgreSQL is not started: call start() first.")
        return self._url

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs, else None."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> str:
        """Create the cluster if there is none, start it, and return its URL once it accepts a connection.

        Call it from the main thread. A stale server is stopped first. Raises FolderBusy if a live process holds the
        folder, DatabaseProblem if PostgreSQL is missing, too old or does not start, LocalRuntimeError if the folder
        cannot be used.
        """
        make_private_folder(self._folder)
        self._lock = take_lock(self._folder / LOCK_FILE, "PostgreSQL")
        try:
            self._url = self._start_locked()
        except BaseException:
            self.stop()
            raise
        return self._url

    def stop(self) -> None:
        """Stop the server by a fast shutdown and release the folder; harmless if it is not started."""
        if self._child is not None:
            children.stop(self._child, signal.SIGINT, _STOP_WITHIN_SECONDS)
            self._child = None
        self._url = ""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def answers(self) -> bool:
        """Return whether the server accepts a connection now: a process id alone proves nothing."""
        return self.pid is not None and _why_silent(self._url) is None

    def _start_locked(self) -> str:
        cluster = _cluster_folder(self._folder)
        account = account_for(cluster)
        stale_server.clear(cluster)
        binaries = find_binaries(account, self._options.bin_folder, _major_of(cluster))
        if _major_of(cluster) is None:
            _initialise(cluster, binaries, account, durable=self._options.durable)
        socket_folder = _socket_folder(cluster, account)
        self._write_settings(cluster, socket_folder)
        self._launch(cluster, binaries, account)
        self._wait_until_it_answers(_url(socket_folder, "postgres"))
        _make_database(_url(socket_folder, "postgres"))
        return _url(socket_folder, DATABASE_NAME)

    def _write_settings(self, cluster: Path, socket_folder: Path) -> None:
        settings = _SETTINGS.format(
            socket_folder=socket_folder,
            connections=self._options.connections,
            cluster=cluster,
            hba_file=_HBA_FILE,
            ident_file=_IDENT_FILE,
        )
        if not self._options.durable:
            settings += _NOT_DURABLE
        write_private_file(cluster / _INCLUDE_FILE, settings, mode=0o644)
        write_private_file(cluster / _HBA_FILE, _HBA, mode=0o644)
        us = pwd.getpwuid(os.geteuid()).pw_name.replace('"', '""')
        write_private_file(cluster / _IDENT_FILE, f'{OWNER} "{us}" {OWNER}\n', mode=0o644)

    def _launch(self, cluster: Path, binaries: Binaries, account: Account) -> None:
        log = self._folder / LOG_FILE
        if log.exists():
            log.replace(log.with_name(LOG_FILE + ".before"))
        with log.open("wb") as output:
            self._child = children.spawn(
                [binaries.postgres, "-D", str(cluster)],
                death_signal=signal.SIGINT,
                account=account,
                environ=_bare_environment(),
                folder=cluster,
                output=output,
            )

    def _wait_until_it_answers(self, url: str) -> None:
        deadline = time.monotonic() + _START_WITHIN_SECONDS
        reason: str | None = "no answer yet"
        while time.monotonic() < deadline:
            if self.pid is None:
                raise DatabaseProblem(f"PostgreSQL would not start: {self._log_tail()}")
            reason = _why_silent(url)
            if reason is None:
                return
            time.sleep(_POLL_SECONDS)
        raise DatabaseProblem(
            f"PostgreSQL did not answer within {_START_WITHIN_SECONDS} s ({reason}); "
            f"read {self._folder / LOG_FILE}, then start again."
        )

    def _log_tail(self) -> str:
        log = self._folder / LOG_FILE
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return f"{' / '.join(lines) or 'no output'} (read {log}, fix the cause, then start again)."


def _cluster_folder(data_folder: Path) -> Path:
    """Return the cluster's folder: in the data folder, or elsewhere if its account cannot enter that."""
    pointer = data_folder / POINTER_FILE
    if pointer.exists():
        return Path(pointer.read_text(encoding="utf-8").strip())
    cluster = data_folder / "postgres"
    if cluster.exists():
        return cluster
    account = account_for(cluster)
    if not account.may_enter(data_folder):
        cluster = _folder_within_reach() / "postgres"
        write_private_file(pointer, f"{cluster}\n")
    return cluster


def _folder_within_reach() -> Path:
    folder = ROOT_FOLDER / "clusters" / secrets.token_hex(8)
    folder.mkdir(parents=True)
    for place in (folder, folder.parent, ROOT_FOLDER):
        place.chmod(0o711)
    return folder


def _major_of(cluster: Path) -> int | None:
    try:
        return int((cluster / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def _initialise(cluster: Path, binaries: Binaries, account: Account, *, durable: bool) -> None:
    """Create the cluster next to its place and move it there whole, so that a crash leaves no half of one."""
    unfinished = cluster.with_name(cluster.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if account.switches:
        os.chown(unfinished, account.uid, account.gid)
    command = [
        binaries.initdb,
        "-D",
        str(unfinished),
        "-U",
        OWNER,
        "-A",
        "reject",  # _HBA says who may log in instead.
        "-E",
        "UTF8",
        "--no-locale",
    ]
    answer = subprocess.run(
        command if durable else [*command, "--no-sync"],
        capture_output=True,
        text=True,
        timeout=_INITDB_WITHIN_SECONDS,
        check=False,
        env=_bare_environment(),
        cwd=unfinished,
        start_new_session=True,  # Ctrl-C reaches the parent alone, which stops once this is done.
        **account.subprocess_options(),
    )
    if answer.returncode:
        raise DatabaseProblem(f"PostgreSQL could not create its data in {cluster}: {answer.stderr.strip()}")
    with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(f"\ninclude '{_INCLUDE_FILE}'\n")
    unfinished.rename(cluster)


def _socket_folder(cluster: Path, account: Account) -> Path:
    """Return a folder for the socket: the cluster itself, or a short one if its path is too long for an address."""
    if len(os.fsencode(cluster)) <= _MAX_SOCKET_FOLDER_BYTES:
        return cluster
    digest = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir(), f"daftari-{digest}")
    if len(os.fsencode(folder)) > _MAX_SOCKET_FOLDER_BYTES:
        folder = Path("/tmp", folder.name)  # noqa: S108 - the name is ours, and the owner is checked below
    try:
        folder.mkdir(mode=0o700)
        if account.switches:
            os.chown(folder, account.uid, account.gid)
    except FileExistsError:
        if folder.is_symlink() or folder.stat().st_uid != account.uid:
            raise LocalRuntimeError(
                f"{folder} belongs to another user, but PostgreSQL needs it for its socket: "
                "remove it, or set DAFTARI_DATA_DIR to a shorter path."
            ) from None
    return folder


def _url(socket_folder: Path, database: str) -> str:
    return f"postgresql://{OWNER}@/{database}?host={quote(str(socket_folder), safe='')}"


def _why_silent(url: str) -> str | None:
    """Try one connection; return None if it is accepted, else the reason."""
    try:
        psycopg.connect(url, connect_timeout=_CONNECT_WITHIN_SECONDS).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return None


def _make_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE_NAME])
        if known.fetchone() is None:
            connection.execute(f'CREATE DATABASE "{DATABASE_NAME}"')


def _bare_environment() -> dict[str, str]:
    """Return an environment without our variables, secrets among them."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
