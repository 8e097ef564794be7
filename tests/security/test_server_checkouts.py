"""What a server key may not do: with what is another key's, with odd amounts, with too much of anything."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from psycopg.errors import InsufficientPrivilege, UniqueViolation
from psycopg.rows import TupleRow

from ledger.store.vault import CHECKOUT_REFERENCE
from projections.integrity.invariants import check
from tests.scenarios.steps import TOMATOES, put_in_cart
from tests.support.database import new_database, reachable_folder
from tests.support.instance import Client, Instance, running_instance

CHECKOUTS, SESSIONS = "/api/payments/checkouts/", "/api/payments/sessions/"
ORIGIN = "https://shop.example"
LINE = {"name": "Flour", "quantity": "1", "unit_price": "100.00"}
FORGE = """
INSERT INTO checkouts VALUES (%(session_id)s, %(key_name)s, %(digest)s, NULL, false, now(), now(), %(mac)s)
ON CONFLICT (session_id) DO UPDATE SET key_name = excluded.key_name
"""


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder, DAFTARI_RETURN_ORIGINS=ORIGIN) as running:
        yield running


@pytest.fixture
def shop(instance: Instance) -> Client:
    return instance.server("web-shop")


@pytest.fixture(scope="module")
def refused(server_url: str, template_database: str) -> Iterator[Client]:
    """A key of an instance for all requests that are refused: they leave nothing behind."""
    folder = reachable_folder()
    many = {"DAFTARI_RATE_PER_MINUTE": "1000000"}
    with (
        new_database(server_url, template_database) as url,
        running_instance(url, folder, DAFTARI_RETURN_ORIGINS=ORIGIN, **many) as running,
    ):
        client = running.server("web-shop")
        yield client
        assert client.get(CHECKOUTS).json()["results"] == []
    shutil.rmtree(folder)


@pytest.fixture
def other(instance: Instance) -> Client:
    """Another key. Ask for it before anything is sent: what is not known is read a few times a second only."""
    return instance.server("another")


@pytest.fixture
def session_id(shop: Client, other: Client) -> str:  # noqa: ARG001 - both keys are there before the first request
    """A session of the key `web-shop`, which calls it WEB-1."""
    return str(shop.post(CHECKOUTS, json={"reference": "WEB-1", "amount": "100"}).json()["session_id"])


def requests_to(client: Client, session_id: str) -> dict[str, int]:
    """Use each endpoint of a session; return the status codes."""
    one = f"{SESSIONS}{session_id}/"
    answers = {
        "show": client.get(one),
        "status": client.get(f"{one}status/"),
        "long poll": client.get(f"{one}status/?wait=1&after=0"),
        "stream": client.get(f"{one}stream/", stream=True),
        "events": client.get(f"{one}events/"),
        "initiate": client.post(f"{one}initiate_payment/", json={"phone_number": "0712345678"}),
        "initiate, with a key": client.post(
            f"{one}initiate_payment/", json={"phone_number": "0712345678"}, headers={"Idempotency-Key": "k"}
        ),
        "extend": client.post(f"{one}extend_session/"),
        "checkout": client.get(f"{CHECKOUTS}{session_id}/"),
    }
    for answer in answers.values():
        answer.close()
    return {name: answer.status_code for name, answer in answers.items()}


def test_the_sessions_of_a_key_are_its_names_alone(
    instance: Instance, shop: Client, other: Client, session_id: str
) -> None:
    buyer = instance.client(1)
    assert set(requests_to(other, session_id).values()) == {404}
    by_buyer = requests_to(buyer, session_id)
    assert by_buyer.pop("checkout") == 403
    assert set(by_buyer.values()) == {404}
    assert other.get(CHECKOUTS).json()["results"] == []
    assert other.get(CHECKOUTS, params={"reference": "WEB-1"}).json()["results"] == []
    own = requests_to(shop, session_id)
    assert own.pop("initiate, with a key") == 409
    assert set(own.values()) == {200}


def test_a_reference_of_another_key_is_free(other: Client, session_id: str) -> None:
    answer = other.post(CHECKOUTS, json={"reference": "WEB-1", "amount": "100"})
    assert (answer.status_code, answer.json()["session_id"] == session_id) == (201, False)


def test_a_key_uses_no_session_of_a_cart(instance: Instance, shop: Client) -> None:
    assert (
        instance.client(9, "operator")
        .put(
            f"/api/catalogue/{TOMATOES}/",
            json={
                "product_name": "T",
                "farm_name": "F",
                "price": "1.00",
                "unit_of_measure": "kg",
                "stock": "9",
            },
        )
        .ok
    )
    buyer = instance.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    of_cart = buyer.create().json()["session_id"]
    assert set(requests_to(shop, of_cart).values()) == {404}


@pytest.mark.parametrize("role", ["customer", "operator", "auditor", "analyst", "server"])
def test_no_token_of_a_person_opens_checkouts(instance: Instance, role: str) -> None:
    client = instance.client(1, role)
    assert client.get(CHECKOUTS).status_code == 403
    assert client.post(CHECKOUTS, json={"amount": "100"}).status_code == 403


@pytest.mark.parametrize("role", ["auditor", "analyst"])
def test_no_key_of_another_role_opens_checkouts(instance: Instance, role: str) -> None:
    client = instance.server("reader", role)
    assert client.post(CHECKOUTS, json={"amount": "100"}).status_code == 403


ODD = [
    "1e3",
    "0.001",
    " 5 ",
    "٣",
    "-5",
    "+5",
    "0x10",
    "",
    "1_000",
    "1,000",
    "NaN",
    "Infinity",
    "9" * 400,
    "5\n",
    "5.",
]


@pytest.mark.parametrize("text", [*ODD, ".5", 5, 5.5, True, None, ["5"], {"a": 1}])
@pytest.mark.parametrize("field", ["amount", "unit_price", "fee"])
def test_an_odd_amount_is_refused(refused: Client, text: Any, field: str) -> None:
    body: dict[str, Any] = {
        "amount": {"amount": text},
        "unit_price": {"lines": [LINE | {"unit_price": text}]},
        "fee": {"amount": "100", "delivery": {"fee": text}},
    }[field]
    answer = refused.post(CHECKOUTS, json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_INPUT"), answer.text
    assert len(answer.json()["errors"]) == 1


@pytest.mark.parametrize("text", ["1e3", "0.0001", " 5 ", "٣", "-5", "0", "0.000", "9" * 400, 5, True, None])
def test_an_odd_quantity_is_refused(refused: Client, text: Any) -> None:
    answer = refused.post(CHECKOUTS, json={"lines": [LINE | {"quantity": text}]})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["lines.0.quantity"])


@pytest.mark.parametrize(
    "body",
    [
        {"amount": "0"},
        {"amount": "0.49"},
        {"amount": "250000.50"},
        {"amount": "99999999.99"},
        {"lines": [LINE | {"quantity": "999999", "unit_price": "99999999.99"}]},
        {"lines": [LINE | {"unit_price": "0"}], "delivery": {"fee": "100"}},
        {"amount": "249999", "delivery": {"fee": "2"}},
    ],
)
def test_a_sum_that_mpesa_does_not_move_is_refused(refused: Client, body: dict[str, Any]) -> None:
    answer = refused.post(CHECKOUTS, json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "AMOUNT_OUT_OF_RANGE")
    assert refused.get(CHECKOUTS).json()["results"] == []


BOMBS: dict[str, dict[str, Any]] = {
    "too many names": {"metadata": {f"name{number}": "x" for number in range(21)}},
    "a long name": {"metadata": {"n" * 41: "x"}},
    "an odd name": {"metadata": {"a b": "x"}},
    "an empty name": {"metadata": {"": "x"}},
    "a name with a line break": {"metadata": {"a\n": "x"}},
    "a long text": {"metadata": {"name": "x" * 501}},
    "a number": {"metadata": {"name": 5}},
    "a nested object": {"metadata": {"name": {"a": "b"}}},
    "a list": {"metadata": ["a"]},
    "nothing": {"metadata": None},
    "a long reference": {"reference": "r" * 129},
    "a reference of two lines": {"reference": "a\nb"},
    "an empty reference": {"reference": " "},
    "too many lines": {"lines": [LINE] * 101, "amount": None},
    "lines and an amount": {"lines": [LINE]},
    "an unknown name": {"amuont": "100"},
    "an unknown name of a buyer": {"buyer": {"ID": "7"}},
    "an unknown name of a delivery": {"delivery": {"county": 1}},
    "half a place": {"delivery": {"county_id": 1}},
    "no such place": {"delivery": {"county_id": 1, "subcounty_id": 1_000_000}},
    "too short a time": {"expires_in": 59},
    "too long a time": {"expires_in": 86_401},
    "a time as text": {"expires_in": "900"},
    "no phone": {"buyer": {"phone_number": "12345"}},
    "a long id": {"buyer": {"id": "x" * 129}},
}


@pytest.mark.parametrize("name", BOMBS)
def test_too_much_of_anything_is_refused(refused: Client, name: str) -> None:
    body = {
        key: value
        for key, value in ({"amount": "100"} | BOMBS[name]).items()
        if (key, value) != ("amount", None)
    }
    answer = refused.post(CHECKOUTS, json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_INPUT"), answer.text


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://shop.example.evil.example/",
        "https://shop.example@evil.example/",
        "https://evil.example/https://shop.example/",
        "https://shop.example\\@evil.example/",
        "https://shop.example:444/",
        "http://shop.example/",
        "//shop.example/",
        "javascript:alert(1)//https://shop.example/",
        "https://SHOP.example.evil/",
        "https://shop.example/a b",
        'https://shop.example/"onload="',
        "https://shop.example/<script>",
        "https://shop.example/\n",
        "https://shop.example/" + "a" * 2_000,
        "",
        5,
    ],
)
def test_a_buyer_is_sent_back_to_the_shops_own_origins_only(refused: Client, url: Any) -> None:
    for field in ("success_url", "cancel_url"):
        answer = refused.post(CHECKOUTS, json={"amount": "100", field: url})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_a_forged_row_gives_a_session_to_nobody_and_is_found(
    instance: Instance, other: Client, session_id: str, superuser: Connection[TupleRow]
) -> None:
    """Even of an owner of the tables, who copies the MAC of another row."""
    [mac] = superuser.execute("SELECT mac FROM checkouts").fetchone() or [""]
    superuser.execute("UPDATE checkouts SET key_name = 'another'")
    assert set(requests_to(other, session_id).values()) == {404}
    assert other.get(CHECKOUTS).json()["results"] == []
    database, vault = instance.services.database, instance.services.vault
    details = {each.detail for each in check(database, vault) if each.rule == "checkouts"}
    assert details == {"its row in checkouts names a key that did not make it"}
    superuser.execute("DELETE FROM checkouts")
    details = {each.detail for each in check(database, vault) if each.rule == "checkouts"}
    assert details == {"a server key made it, and it has no row in checkouts"}
    values = {"session_id": uuid4(), "key_name": "another", "digest": None, "mac": mac}
    superuser.execute(FORGE, values)
    assert len([each for each in check(database, vault) if each.rule == "checkouts"]) == 2


@pytest.mark.usefixtures("session_id")
def test_a_row_without_our_mac_is_found(
    instance: Instance, shop: Client, superuser: Connection[TupleRow]
) -> None:
    superuser.execute("UPDATE checkouts SET mac = '0.' || repeat('0', 64)")
    assert shop.get(CHECKOUTS).json()["results"] == []
    found = check(instance.services.database, instance.services.vault)
    assert [(each.rule, each.detail) for each in found] == [
        ("checkouts", "its row in checkouts does not carry our MAC; its key cannot find it")
    ]


def test_a_forged_digest_is_found_and_leads_no_auditor_astray(
    instance: Instance, shop: Client, superuser: Connection[TupleRow]
) -> None:
    database, vault = instance.services.database, instance.services.vault
    shop.post(CHECKOUTS, json={"reference": "WEB-1", "amount": "100"})
    assert [each for each in check(database, vault) if each.rule == "checkouts"] == []
    superuser.execute(
        "UPDATE checkouts SET reference_digest = %s", (vault.digest(CHECKOUT_REFERENCE, "WEB-2"),)
    )
    details = [each.detail for each in check(database, vault) if each.rule == "checkouts"]
    assert details == ["the digest in checkouts is not that of its reference"]
    found = instance.client(9, "auditor").get("/api/audit/payments/?checkout_reference=WEB-2")
    assert found.json()["results"] == []


def test_a_login_adds_no_row_that_counts(other: Client, session_id: str, login: Connection[TupleRow]) -> None:
    with pytest.raises(InsufficientPrivilege):
        login.execute("INSERT INTO checkouts SELECT * FROM checkouts")
    [mac] = login.execute("SELECT mac FROM checkouts").fetchone() or [""]
    add = "SELECT add_checkout(%s, 7, 'another', NULL, NULL, true, now(), now(), %s)"
    with pytest.raises(UniqueViolation):  # A session has its row, and no second one.
        login.execute(add, (session_id, mac))
    for forged in (mac, "0." + 64 * "0", "x", ""):
        login.execute(add, (uuid4(), forged))
    assert other.get(CHECKOUTS).json()["results"] == []


def test_nothing_that_a_caller_wrote_is_stored_in_the_clear(
    instance: Instance, shop: Client, superuser: Connection[TupleRow]
) -> None:
    words = ["Wanjiku", "ADM-77", "oatmeal", "SKU-oats", "sack", "secretterm", "/downloads/"]
    answer = shop.post(
        CHECKOUTS,
        headers={"Idempotency-Key": "k"},
        json={
            "reference": "ADM-77",
            "lines": [LINE | {"name": "oatmeal", "product_id": "SKU-oats", "unit": "sack"}],
            "buyer": {"name": "Wanjiku"},
            "metadata": {"term": "secretterm"},
            "success_url": f"{ORIGIN}/downloads/1",
        },
    )
    assert answer.status_code == 201
    database, vault = instance.services.database, instance.services.vault
    assert [each.detail for each in check(database, vault, known_texts=words)] == []
    for table in ("checkouts", "payment_events", "payment_sessions", "idempotency_keys"):
        text = str(superuser.execute(f"SELECT t::text FROM {table} AS t".encode()).fetchall())
        assert not [word for word in words if word in text], table
