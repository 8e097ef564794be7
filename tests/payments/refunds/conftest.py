"""A running instance whose M-Pesa answers as a test scripts it, and refunds that are due."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time

from tests.daraja.client import scripted
from tests.daraja.client.scripted import Script
from tests.payments.refunds.steps import OAUTH_REPLY, Clock, Till
from tests.support.instance import running_instance

MORNING = "2026-11-16T07:30:00Z"

OpenTill = Callable[..., Till]


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock that stands still."""
    with freeze_time(MORNING) as frozen:
        assert isinstance(frozen, Clock)
        yield frozen


@pytest.fixture
def script() -> Iterator[Script]:
    script, stop = scripted.serve()
    script.at(scripted.OAUTH, OAUTH_REPLY)
    yield script
    stop()


@pytest.fixture
def open_till(clock: Clock, script: Script, database_url: str, data_folder: Path) -> Iterator[OpenTill]:
    """Return a function that runs an instance with some variables."""
    running = []

    def open_one(**variables: str) -> Till:
        context = running_instance(database_url, data_folder, MPESA_BASE_URL=script.base_url, **variables)
        running.append(context)
        return Till(context.__enter__(), script, clock)

    yield open_one
    for context in running:
        context.__exit__(None, None, None)


@pytest.fixture
def till(open_till: OpenTill) -> Till:
    """An instance whose operators approve refunds."""
    return open_till()
