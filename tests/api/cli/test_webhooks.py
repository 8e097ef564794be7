"""Webhook endpoints are added, listed, stopped and repeated from the command line."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from ledger.application import Ledger
from ledger.store.database import Database
from tests.api.cli.support import daftari
from tests.payments.webhooks.setting import Webhooks, ordered

Types = Callable[..., CompletedProcess[str]]
URL = "https://shop.example/hook"


@pytest.fixture
def types(database_url: str, data_folder: Path) -> Types:
    environ = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder)}
    # The key of the tests, so that what they make opens.
    environ["DAFTARI_MASTER_KEY"] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    return lambda *arguments: daftari("webhooks", *arguments, **environ)


def test_an_endpoint_lives_from_its_secret_to_its_end(types: Types) -> None:
    assert types("list").stdout.startswith("There are no webhook endpoints.")
    added = types("add", URL, "--event", "payment.paid", "--key", "web-shop", "--by", "9")
    line, secret = added.stdout.splitlines()
    endpoint_id, url = line.split()
    assert (url, secret[:6]) == (URL, "whsec_")
    listed = types("list").stdout
    assert f"{endpoint_id}  {URL}  enabled" in listed
    assert "of key web-shop; payment.paid; added" in listed
    assert secret not in listed
    assert types("rotate", endpoint_id).stdout.splitlines()[1] != secret
    assert types("disable", endpoint_id, "--by", "9").returncode == 0
    assert "disabled (by_hand) since" in types("list").stdout
    assert types("enable", endpoint_id).stdout == "It goes on where it stopped.\n"
    assert types("deliveries", endpoint_id).stdout == "There are no deliveries.\n"
    assert types("redeliver", endpoint_id, "--since", "2026-11-27T08:00:00Z").returncode == 0
    assert types("delete", endpoint_id).returncode == 0
    gone = types("disable", endpoint_id)
    assert (gone.returncode, gone.stderr) == (1, "Error: There is no such webhook endpoint.\n")


def test_deliveries_say_what_came_of_each(types: Types, ledger: Ledger, database: Database) -> None:
    webhooks = Webhooks(ledger, database)
    endpoint = webhooks.add("http://127.0.0.1:9/")
    session_id = ordered(ledger, receipt="LISTED")
    webhooks.work()
    [order, paid] = types("deliveries", str(endpoint.endpoint_id)).stdout.splitlines()
    assert f"payment.paid  {session_id} version 4  pending, 1 attempts; last" in paid
    assert "the connection failed; next" in paid
    assert order.endswith("pending, 0 attempts")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "http://127.0.0.1/"), "url: Write a URL that begins with https://."),
        (("add", URL, "--event", "payment.made"), "there is no type 'payment.made'"),
        (("redeliver", "7c9e6679-7425-40de-944b-e07fc1f90ae7"), "Name a DELIVERY, or a time by --since."),
        (
            ("redeliver", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "--since", "noon"),
            "write a time with its zone",
        ),
    ],
)
def test_what_is_wrong_is_said(types: Types, arguments: tuple[str, ...], told: str) -> None:
    result = types(*arguments)
    assert result.returncode != 0
    assert told in result.stderr
