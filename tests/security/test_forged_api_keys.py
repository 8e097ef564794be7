"""An API key that the application's login writes opens nothing, and no key does what is for people."""

from typing import Any

import psycopg
import pytest
import requests
from psycopg import Connection
from psycopg.rows import TupleRow

from payments.api_keys.api_key import TEST
from projections.integrity.invariants import check
from tests.api.pages.test_work import proof_in
from tests.support.instance import Client, Instance

ME = "/api/audit/log/"
ADD = """
INSERT INTO api_keys (key_id, name, role, prefix, last_four, digest, allowed_addresses, created_at, created_by,
                      expires_at, follows, mac)
SELECT %(key_id)s, name, %(role)s, prefix, last_four, %(digest)s, allowed_addresses, created_at, created_by, expires_at,
       key_id, %(mac)s
FROM api_keys
"""


@pytest.fixture
def genuine(instance: Instance) -> Client:
    """The client of a server's key, the only one there is."""
    return instance.server("web-shop")


def forge(login: Connection[TupleRow], **changed: Any) -> None:
    """Add a key that follows the genuine one, as an auditor's."""
    row = {"key_id": "f0f0f0f0f0f0", "role": "auditor", "digest": "0" * 64, "mac": "0." + "0" * 64}
    login.execute(ADD, row | changed)


def test_a_row_that_the_login_added_opens_nothing_and_is_named(
    instance: Instance, login: Connection[TupleRow], genuine: Client
) -> None:
    guess = TEST + "0" * 48
    [[mac]] = login.execute("SELECT mac FROM api_keys").fetchall()
    forge(login, digest=instance.services.vault.digest("api key", guess), mac=mac)
    assert Client(instance.base_url, guess).get(ME).status_code == 401, "though it knew the key of digests"
    assert genuine.get(ME).status_code == 403
    found = check(instance.services.database, instance.services.vault)
    assert [(each.rule, each.detail) for each in found] == [
        ("api keys", "API key f0f0f0f0f0f0 was not made by Daftari, or was altered; it is not accepted")
    ]


@pytest.mark.usefixtures("genuine")
def test_the_digest_of_a_key_has_one_row(login: Connection[TupleRow]) -> None:
    [[digest]] = login.execute("SELECT digest FROM api_keys").fetchall()
    with pytest.raises(psycopg.errors.UniqueViolation):
        forge(login, digest=digest)


@pytest.mark.parametrize(
    "change",
    [
        "role = 'auditor'",
        "name = 'another'",
        "allowed_addresses = '{0.0.0.0/0}'",
        "allowed_addresses = '{nonsense}'",
        "expires_at = 'infinity'",
        "prefix = 'dk_test_', created_at = now()",
        "mac = 'x'",
        "mac = '99999.00'",
    ],
)
def test_a_key_that_its_owner_altered_opens_nothing(
    instance: Instance, superuser: Connection[TupleRow], genuine: Client, change: str
) -> None:
    superuser.execute(f"UPDATE api_keys SET {change}".encode())
    assert genuine.get(ME).status_code == 401
    assert [each.rule for each in check(instance.services.database, instance.services.vault)] == ["api keys"]


def test_a_key_signs_nobody_in_to_the_console(instance: Instance) -> None:
    key = str(instance.server("reports", "auditor").headers["Authorization"])
    browser, console = requests.Session(), f"{instance.base_url}/console/"
    for token in (key, key.removeprefix("Bearer ")):
        form = {"token": token, "proof": proof_in(browser.get(console, timeout=10).text)}
        answer = browser.post(f"{console}sign-in/", data=form, timeout=10, allow_redirects=False)
        assert answer.status_code == 401
    browser.cookies.set("daftari_operator", key.removeprefix("Bearer "), path="/console/")
    assert "Sign in with your bearer token" in browser.get(console, timeout=10).text


def test_what_an_auditors_key_reads_is_recorded_under_its_name(instance: Instance) -> None:
    key = instance.server("reports", "auditor")
    assert key.get("/api/payments/refunds/", headers={"Daftari-Reason": "Monthly report."}).status_code == 200
    _, [entry] = instance.services.audit_log.entries(kind="access")
    assert (entry.actor, entry.reason, entry.details["what"]) == (
        "key:reports",
        "Monthly report.",
        "refunds",
    )
    analyst = instance.server("figures", "analyst")
    assert analyst.get("/api/payments/metrics/").status_code == 200
    assert analyst.get("/api/payments/refunds/").status_code == 403
