"""People are notified from the command line."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.api.cli.support import daftari
from tests.support.http_receiver import http_receiver

Types = Callable[..., CompletedProcess[str]]


@pytest.fixture
def types(database_url: str, data_folder: Path) -> Types:
    environ = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder)}
    return lambda *arguments, **more: daftari("notify", *arguments, **environ, **more)


def test_without_a_destination_it_says_what_to_set(types: Types) -> None:
    result = types()
    assert result.returncode == 3
    assert "DAFTARI_NOTIFY is not set. Name who is notified, such as smtps://" in result.stderr


def test_without_a_case_nothing_is_sent_but_a_test(types: Types) -> None:
    with http_receiver() as receiver:
        nothing = types(DAFTARI_NOTIFY=receiver.url)
        assert (nothing.returncode, nothing.stdout, receiver.taken) == (
            0,
            "No open cases: nothing was sent.\n",
            [],
        )
        result = types("--test", DAFTARI_NOTIFY=receiver.url)
        assert (result.returncode, result.stdout) == (0, "1. webhook: sent, 0 open cases\n")
        assert len(receiver.taken) == 1


def test_a_destination_that_fails_is_named_by_number_and_the_command_fails(types: Types) -> None:
    with http_receiver() as receiver:
        result = types("--test", DAFTARI_NOTIFY=f"{receiver.refusing_url}; {receiver.url}")
        assert len(receiver.taken) == 1
    assert result.returncode == 4
    assert result.stdout.splitlines() == [
        "1. webhook: not sent: HTTP status 302",
        "2. webhook: sent, 0 open cases",
    ]
    assert "elsewhere" not in result.stdout + result.stderr
