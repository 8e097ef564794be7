import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from api.local.accounts import account_for
from api.local.binaries import find_binaries
from api.local.folders import ROOT_FOLDER
from api.local.postgres import ClusterOptions, EmbeddedPostgres
from api.local.problems import DatabaseProblem, FolderBusy
from tests.support.database import reachable_folder
from tests.support.waiting import is_alive, wait_until

KEEPER = """
import sys, time
from pathlib import Path
from api.local.postgres import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, server.database_url, flush=True)
sys.stdin.read()
server.stop()
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root must hand PostgreSQL to another account")


@pytest.fixture(scope="module")
def initialised() -> Iterator[Path]:
    """A data folder with a cluster in it, to copy: making one is the slowest step."""
    folder = reachable_folder()
    with EmbeddedPostgres(folder):
        pass
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(initialised: Path, data_folder: Path) -> Path:
    subprocess.run(["cp", "-a", f"{initialised}/.", str(data_folder)], check=True)
    return data_folder


def keep(folder: Path) -> tuple[subprocess.Popen[str], int, str]:
    """Run a keeper of `folder` in a process of its own; return it, the server's process id and its URL."""
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert keeper.stdout
    pid, url = keeper.stdout.readline().split()
    return keeper, int(pid), url


def end(keeper: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> None:
    keeper.send_signal(how)
    keeper.communicate()


def test_a_new_folder_gets_a_server_that_answers(data_folder: Path) -> None:
    with EmbeddedPostgres(data_folder) as server, psycopg.connect(server.database_url) as connection:
        assert server.answers()
        assert connection.info.server_version >= 150000
        assert connection.info.dbname == "daftari"


def test_rows_are_there_again_after_a_stop(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.database_url) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (7,)


def test_a_folder_that_a_live_process_holds_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        with pytest.raises(FolderBusy, match="already running"):
            EmbeddedPostgres(folder).start()
        assert server.answers()


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's own")
def test_the_server_ends_with_a_parent_that_is_killed(folder: Path) -> None:
    keeper, pid, _ = keep(folder)
    end(keeper)
    wait_until(lambda: not is_alive(pid), "the orphaned server had ended")


@pytest.mark.system
def test_after_the_parent_was_killed_the_next_start_finds_every_committed_row(folder: Path) -> None:
    keeper, _, url = keep(folder)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    end(keeper)
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.database_url) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (7,)


@pytest.mark.system
def test_after_the_server_was_killed_the_next_start_finds_every_committed_row(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    with psycopg.connect(server.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.answers(), "the server was gone")
    server.stop()
    with EmbeddedPostgres(folder) as again, psycopg.connect(again.database_url) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (7,)


@pytest.mark.system
def test_a_server_that_outlived_its_parent_is_stopped_and_started_again(folder: Path) -> None:
    cluster = folder / "postgres"
    account = account_for(cluster)
    orphan = subprocess.Popen(
        [find_binaries(account).postgres, "-D", str(cluster)],
        cwd=cluster,
        stderr=subprocess.DEVNULL,
        **account.subprocess_options(),
    )
    wait_until((cluster / "postmaster.pid").exists, "the orphan had started")
    try:
        with EmbeddedPostgres(folder) as server:
            assert server.pid != orphan.pid
            assert server.answers()
    finally:
        orphan.wait(timeout=10)


def test_a_stale_pid_file_of_another_program_is_no_obstacle_and_that_program_lives(folder: Path) -> None:
    account = account_for(folder / "postgres")
    stranger = subprocess.Popen(["sleep", "60"], **account.subprocess_options())
    (folder / "postgres" / "postmaster.pid").write_text(f"{stranger.pid}\n{folder}/postgres\n")
    try:
        with EmbeddedPostgres(folder) as server:
            assert server.answers()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_interrupted_initialisation_starts_over(data_folder: Path) -> None:
    (data_folder / "postgres.unfinished").mkdir()
    (data_folder / "postgres.unfinished" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(data_folder) as server:
        assert server.answers()


@pytest.mark.system
def test_a_path_too_long_for_a_socket_gets_a_short_folder_for_it(folder: Path) -> None:
    long = folder / ("x" * 90)
    long.mkdir()
    (folder / "postgres").rename(long / "postgres")
    with EmbeddedPostgres(long) as server:
        assert server.answers()
        socket_folder = psycopg.conninfo.conninfo_to_dict(server.database_url)["host"]
    Path(str(socket_folder)).rmdir()


@as_root
def test_a_folder_that_only_root_may_enter_keeps_a_pointer_to_the_cluster(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        assert server.answers()
    cluster = Path((tmp_path / "cluster-location").read_text().strip())
    assert cluster.is_relative_to(ROOT_FOLDER)
    with EmbeddedPostgres(tmp_path) as server:
        assert server.answers()
    shutil.rmtree(cluster.parent)


def test_a_folder_without_programs_is_refused_with_what_to_type(folder: Path) -> None:
    with pytest.raises(DatabaseProblem, match=r"DAFTARI_POSTGRES_BIN is .*pip install"):
        EmbeddedPostgres(folder, ClusterOptions(bin_folder=folder)).start()


def pretend_programs(folder: Path, version: str) -> Path:
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name in ("postgres", "initdb"):
        (bin_folder / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (bin_folder / name).chmod(0o755)
    return bin_folder


def test_a_postgresql_that_is_too_old_is_refused_with_its_version(data_folder: Path) -> None:
    options = ClusterOptions(bin_folder=pretend_programs(data_folder, "13.4"))
    with pytest.raises(
        DatabaseProblem, match="needs PostgreSQL 15 or newer, and there is only PostgreSQL 13"
    ):
        EmbeddedPostgres(data_folder, options).start()


def test_data_of_another_major_version_is_refused_with_both_versions(folder: Path) -> None:
    options = ClusterOptions(bin_folder=pretend_programs(folder, "17.1"))
    with pytest.raises(DatabaseProblem, match=r"written by PostgreSQL \d+, and there is only PostgreSQL 17"):
        EmbeddedPostgres(folder, options).start()


def test_a_server_that_dies_at_its_start_is_reported_in_its_own_words(folder: Path) -> None:
    with (folder / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("max_connections = 'many'\n")
    with pytest.raises(DatabaseProblem, match=r"would not start: .*max_connections"):
        EmbeddedPostgres(folder).start()
