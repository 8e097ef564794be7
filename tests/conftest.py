"""The fixtures of all tests, and their one PostgreSQL server.

Time: freeze it with freezegun; `ledger.clock.now()` turns the fake datetimes into plain ones.
"""

import gc
import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from ledger.application import Ledger
from ledger.store import metadata
from ledger.store.database import Database
from tests.support.database import TestCluster, migrated_template, new_database, reachable_folder
from tests.support.freezing import know_modules_by_length
from tests.support.keys import key_ring
from tests.support.ports import free_port as find_free_port
from tests.support.proxy import DatabaseProxy, proxy_before
from tests.support.sharing import SharingScheduler
from tests.support.urls import compile_urls_once

# Hypothesis has no deadline, because a busy machine is no bug.
settings.register_profile("daftari", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("daftari")
compile_urls_once()
know_modules_by_length()

_KEPT = {"DAFTARI_POSTGRES_BIN", "DAFTARI_TEST_BROWSER"}
_SYSTEM_ALONE = Path(__file__).parent / "api" / "http" / "framework" / "test_every_identity.py"
"""Only `make test-system` runs it, and to collect it takes each process seconds."""

_SYSTEM = "mark.system"
"""Stands in each module with a test that only `make test-system` runs; the others are not imported then."""

_URL = pytest.StashKey[str]()
_SERVER_URL = "daftari_server_url"


def pytest_configure() -> None:
    """Remove our variables from the environment."""
    for name in list(os.environ):
        if name.startswith(("DAFTARI_", "MPESA_", "DATABASE_URL")) and name not in _KEPT:
            del os.environ[name]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module, and make no requests, whose tests are all deselected."""
    marked = config.option.markexpr
    if collection_path == _SYSTEM_ALONE:
        return marked == "not system" or None
    without = (
        collection_path.suffix == ".py"
        and marked == "system"
        and _SYSTEM not in collection_path.read_text("utf-8")
    )
    return without or None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector what is collected: it stays, and to walk it took half a second each time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests together that share something costly."""
    return SharingScheduler(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Start the server once, in the xdist controller, and pass its URL to each worker."""
    stash = node.config.stash
    if _URL not in stash:
        cluster = TestCluster()
        node.config.add_cleanup(cluster.stop)
        stash[_URL] = cluster.start()
    node.workerinput[_SERVER_URL] = stash[_URL]


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Undo what a command that runs in this process does to the log: it silences all but errors."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def _nobody_acts_yet() -> Iterator[None]:
    """Undo what a request in this thread said of who acts: the events of the next test are not its."""
    with metadata.caused_by():
        yield


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the run's PostgreSQL, as a user who may create databases and roles."""
    workerinput = getattr(request.config, "workerinput", None)
    if workerinput is not None:
        yield workerinput[_SERVER_URL]
        return
    cluster = TestCluster()
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def template_database(server_url: str) -> str:
    """The name of the migrated database that tests clone."""
    return migrated_template(server_url)


@pytest.fixture
def database_url(server_url: str, template_database: str) -> Iterator[str]:
    """The URL of a migrated, empty database that belongs to this test alone."""
    with new_database(server_url, template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """The URL of a database without any table of ours."""
    with new_database(server_url) as url:
        yield url


@pytest.fixture
def proxy(database_url: str) -> Iterator[DatabaseProxy]:
    """A proxy before that database."""
    with proxy_before(database_url) as between:
        yield between


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A pool on the test's own database."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """The ledger of the test's own database."""
    return Ledger(database, key_ring(database))


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A data folder that PostgreSQL's own account may enter."""
    folder = reachable_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def free_port() -> int:
    """A free port."""
    return find_free_port()
