"""A shop that names its users by UUIDs: each has carts and sessions of their own, and can be shut out and erased."""

from base64 import b64encode
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from freezegun import freeze_time

from ledger import clock
from payments.kept_copy import READ_EVERY_SECONDS
from payments.users.user_ids import FIRST, LAST
from tests.api.cli.support import daftari
from tests.scenarios.steps import TOMATOES, put_in_cart
from tests.support.instance import Client, Instance
from tests.support.waiting import wait_until

WANJIRU, KAMAU = str(uuid4()), str(uuid4())


def buyer(instance: Instance, sub: str, **claims: Any) -> Client:
    claims = {"sub": sub, "roles": ["customer"], "exp": clock.now().timestamp() + 600} | claims
    return Client(instance.base_url, jwt.encode(claims, instance.settings.daftari_jwt_secret))


def types(instance: Instance, *arguments: str) -> str:
    master_key = b64encode(instance.settings.daftari_master_key).decode()
    done = daftari(*arguments, DATABASE_URL=instance.settings.database_url, DAFTARI_MASTER_KEY=master_key)
    assert done.returncode == 0, done.stderr
    return done.stdout


def session_of(instance: Instance, sub: str) -> tuple[Client, str]:
    client = buyer(instance, sub)
    put_in_cart(client, TOMATOES, "2")
    session_id: str = client.create().json()["session_id"]
    return client, session_id


def test_users_by_text_have_sessions_of_their_own(instance: Instance) -> None:
    wanjiru, session_id = session_of(instance, WANJIRU)
    assert wanjiru.initiate(session_id).status_code == 200
    shown = buyer(instance, WANJIRU, jti="another token").get(f"/api/payments/sessions/{session_id}/").json()
    assert FIRST <= shown["user"] <= LAST
    path = f"/api/payments/sessions/{session_id}/"
    assert [
        buyer(instance, other).get(path + part).status_code
        for other in (KAMAU, "7", WANJIRU.upper())
        for part in ("", "status/")
    ] == [404] * 6
    assert buyer(instance, str(shown["user"])).get(path).status_code == 401


def test_a_user_by_text_is_shut_out_by_it(instance: Instance) -> None:
    dated = {"iat": clock.now().timestamp() - 1}
    assert [buyer(instance, each, **dated).get("/api/cart/").status_code for each in (WANJIRU, KAMAU)] == [
        200,
        200,
    ]
    types(instance, "revoke-tokens", WANJIRU, "--reason", "Lost phone.", "--by", "9")
    wait_until(
        lambda: buyer(instance, WANJIRU, **dated).get("/api/cart/").status_code == 401,
        "the tokens are refused",
        READ_EVERY_SECONDS + 5,
    )
    assert buyer(instance, KAMAU, **dated).get("/api/cart/").status_code == 200


@pytest.mark.parametrize("command", ["erase-customer", "export-customer", "legal-hold"])
def test_who_was_never_named_is_not_found(instance: Instance, command: str) -> None:
    master_key = b64encode(instance.settings.daftari_master_key).decode()
    more = () if command == "erase-customer" else ("--by", "9", "--reason", "By letter.")
    refused = daftari(
        command,
        KAMAU,
        *more,
        DATABASE_URL=instance.settings.database_url,
        DAFTARI_MASTER_KEY=master_key,
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "There is no such user" in refused.stderr


def test_a_user_by_text_gets_their_account_and_is_erased(instance: Instance, tmp_path: Any) -> None:
    with freeze_time(clock.now() - timedelta(hours=2)):  # Its time has passed when the erasure is asked for.
        _, session_id = session_of(instance, WANJIRU)
    account = tmp_path / "account.zip"
    by = ("--by", "41", "--reason", "By letter.")
    assert "user_texts 1" in types(instance, "export-customer", WANJIRU, *by, "-o", str(account))
    types(instance, "erase-customer", WANJIRU, "--propose", *by)
    types(instance, "erase-customer", WANJIRU, "--approve", "--by", "42")
    with instance.services.database.connection() as connection:
        assert connection.execute("SELECT FROM user_texts").rowcount == 0
        assert connection.execute("SELECT FROM customer_keys WHERE wrapped_key IS NULL").rowcount == 1
    instance.services.user_ids._known.clear()
    again = buyer(instance, WANJIRU, jti="after")
    assert again.get(f"/api/payments/sessions/{session_id}/").status_code == 404
    assert again.get("/api/payments/sessions/").json()["count"] == 0


def test_a_buyer_whom_nobody_named_gets_their_account_and_is_erased_by_number(
    instance: Instance, tmp_path: Any
) -> None:
    with freeze_time(clock.now() - timedelta(hours=2)):
        shop = instance.server("web-shop")
        body = {"amount": "100", "buyer": {"phone_number": "0712345678", "name": "John Doe"}}
        created = shop.post("/api/payments/checkouts/", json=body).json()
    number, by = str(created["user"]), ("--by", "41", "--reason", "By letter.")
    assert "checkouts 1" in types(
        instance, "export-customer", number, *by, "-o", str(tmp_path / "account.zip")
    )
    types(instance, "revoke-tokens", number, "--reason", "By mistake.", "--by", "9")
    types(instance, "erase-customer", number, "--propose", *by)
    types(instance, "erase-customer", number, "--approve", "--by", "42")
    shown = shop.get(f"/api/payments/checkouts/{created['session_id']}/")
    assert shown.json()["error_code"] == "ERASED"
