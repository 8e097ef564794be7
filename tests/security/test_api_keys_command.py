"""`daftari api-keys`, beside a running instance."""

import base64
import re
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from payments.kept_copy import READ_EVERY_SECONDS
from tests.api.cli.support import daftari
from tests.support.instance import Client, Instance
from tests.support.waiting import wait_until

ME = "/api/audit/log/"
KEY = re.compile(r"Key   (dk_test_[0-9a-f]{48})   \(shown this once\)\nID    ([0-9a-f]{12})\n")

Types = Callable[..., CompletedProcess[str]]


@pytest.fixture
def types(instance: Instance) -> Types:
    master_key = base64.b64encode(instance.settings.daftari_master_key).decode()
    return lambda *arguments: daftari(
        "api-keys",
        *arguments,
        DATABASE_URL=instance.settings.database_url,
        DAFTARI_MASTER_KEY=master_key,
    )


def made(result: CompletedProcess[str]) -> tuple[str, str]:
    """Return the key and the id that a command printed."""
    assert result.returncode == 0, result.stderr
    found = KEY.match(result.stdout)
    assert found, result.stdout
    return found[1], found[2]


def status(instance: Instance, key: str) -> int:
    return Client(instance.base_url, key).get(ME).status_code


def test_a_key_is_made_used_rotated_and_revoked_beside_a_running_instance(
    instance: Instance, types: Types
) -> None:
    arguments = ("--role", "auditor", "--allow", "127.0.0.0/8", "--expires-days", "90", "--by", "9")
    key, key_id = made(types("create", "--name", "reports", *arguments))
    [line, more] = types("list").stdout.splitlines()
    assert re.fullmatch(rf"{key_id}  reports  auditor  dk_test_…{key[-4:]}  good until \S+ \S+ EAT", line), (
        line
    )
    assert re.fullmatch(r" +made \S+ \S+ EAT by cli:user:9; never used; from 127\.0\.0\.0/8", more), more
    assert status(instance, key) == 200

    after, after_id = made(types("rotate", key_id, "--grace", "24"))
    assert [status(instance, each) for each in (key, after)] == [200, 200]
    listed = types("list").stdout
    assert "last used" in listed
    assert not {key, after} & set(listed.split())

    assert types("revoke", key_id, "--reason", "Laptop stolen.", "--by", "9").returncode == 0
    wait_until(lambda: status(instance, key) == 401, "the key is refused", READ_EVERY_SECONDS + 5)
    assert status(instance, after) == 200
    assert f"{key_id}  reports  auditor  dk_test_…{key[-4:]}  revoked" in types("list").stdout

    _, entries = instance.services.audit_log.entries(subject="key:reports")
    assert [(each.kind, each.actor, each.reason, each.is_genuine) for each in reversed(entries)] == [
        ("api_key_created", "cli:user:9", "", True),
        ("api_key_rotated", "cli", "", True),
        ("api_key_revoked", "cli:user:9", "Laptop stolen.", True),
    ]
    assert entries[1].details["key_id"] == after_id


def test_a_name_is_given_once_and_a_key_is_followed_once(types: Types) -> None:
    _, key_id = made(types("create", "--name", "web-shop", "--role", "server"))
    again = types("create", "--name", "web-shop", "--role", "server")
    assert (again.returncode, again.stdout) == (1, "")
    assert "There is a key named web-shop, or there was one." in again.stderr
    assert types("revoke", key_id).returncode == 0
    assert types("create", "--name", "web-shop", "--role", "auditor").returncode == 1
    made(types("rotate", key_id, "--grace", "0"))
    assert "Another key follows this one already" in types("rotate", key_id).stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("create", "--name", "Web Shop", "--role", "server"), "Write 1 to 40 of a-z"),
        (("create", "--name", "a", "--role", "operator"), "'operator' is not one of"),
        (("create", "--name", "a", "--role", "server", "--allow", "10.0.0.1/8"), "host bits set"),
        (("rotate", "0123456789ab"), "There is no such key."),
        (("revoke", "0123456789ab"), "There is no such key."),
        (("rotate", "0123456789ab", "--grace", "721"), "721 is not in the range"),
    ],
)
def test_what_cannot_be_done_is_said(types: Types, arguments: tuple[str, ...], problem: str) -> None:
    refused = types(*arguments)
    assert refused.returncode != 0
    assert refused.stdout == ""
    assert problem in refused.stderr
