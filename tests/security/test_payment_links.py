"""What a payment link opens as a bearer token: its own session, for paying, and nothing else."""

import io
import logging
from uuid import UUID, uuid4

import pytest
import structlog

from api.http.middleware.logging import configure_logging
from payments.checkout.payment_links import PREFIX, make_link
from tests.security.operations import call, operations
from tests.security.world import OTHER, OWNER, World

SESSION = "/api/payments/sessions/{session_id}/"
OPENED = {
    f"GET {SESSION}",
    f"GET {SESSION}status/",
    f"GET {SESSION}stream/",
    f"POST {SESSION}initiate_payment/",
    f"POST {SESSION}extend_session/",
}


@pytest.fixture(scope="module")
def link(world: World) -> str:
    return make_link(world.instance.services.vault, UUID(world.known["session_id"]), OWNER)


def test_a_link_opens_its_session_for_paying_and_no_other_operation(world: World, link: str) -> None:
    opened = set()
    for operation in operations(world):
        if operation.is_public:
            continue
        answer = call(world, operation, link)
        shown = f"{operation}: {answer.status_code} {answer.text[:200]}"
        if str(operation) in OPENED:
            opened.add(str(operation))
            assert answer.status_code not in (401, 403, 404), shown
        else:
            assert answer.status_code == 403, shown
            assert answer.json()["error_code"] == "ROLE_REQUIRED", shown
    assert opened == OPENED


def test_a_link_is_404_for_another_session_of_the_same_buyer(world: World, link: str) -> None:
    client = world.instance.client(OWNER)
    other = next(
        row["session_id"]
        for row in client.get("/api/payments/sessions/").json()["results"]
        if row["session_id"] != world.known["session_id"]
    )
    for operation in operations(world):
        if str(operation) in OPENED:
            path = operation.path.replace("{session_id}", other)
            answer = world.instance.anonymous().request(
                operation.method.upper(), path, headers={"Authorization": f"Bearer {link}"}
            )
            assert answer.status_code == 404, f"{operation} {answer.text}"


def test_a_link_does_not_tell_where_the_buyer_lives_and_what_number_they_have(
    world: World, link: str
) -> None:
    headers = {"Authorization": f"Bearer {link}"}
    path = SESSION.format(session_id=world.known["session_id"])
    shown = world.instance.anonymous().get(path, headers=headers)
    assert shown.json()["total_amount"]
    for personal in ("John Doe", "0712345678", "254712345678", "Main Street"):
        assert personal not in shown.text
        assert personal in world.instance.client(OWNER).get(path).text or personal.startswith("254")


def test_the_owner_alone_is_told_the_address_and_it_is_the_links(world: World, link: str) -> None:
    path = f"{SESSION.format(session_id=world.known['session_id'])}payment_url/"
    told = world.instance.client(OWNER).get(path).json()
    assert told == {"payment_url": f"{world.instance.base_url}/pay/{link}/"}
    assert world.instance.client(OTHER).get(path).status_code == 404
    unknown = world.known["session_id"][:-4] + "0000"
    assert (
        world.instance.client(OWNER).get(path.replace(world.known["session_id"], unknown)).status_code == 404
    )


def test_links_that_are_none_of_ours_and_of_no_session(world: World, link: str) -> None:
    vault, client = world.instance.services.vault, world.instance.anonymous()
    path = f"{SESSION.format(session_id=world.known['session_id'])}status/"
    for place in range(len(PREFIX), len(link)):
        forged = f"{link[:place]}{'A' if link[place] != 'A' else 'B'}{link[place + 1 :]}"
        answer = client.get(path, headers={"Authorization": f"Bearer {forged}"})
        assert answer.status_code == 401, place
        assert link not in answer.text
        assert forged not in answer.text
    nowhere = uuid4()
    unknown = make_link(vault, nowhere, OWNER)
    answer = client.get(
        path.replace(world.known["session_id"], str(nowhere)), headers={"Authorization": f"Bearer {unknown}"}
    )
    assert answer.status_code == 404
    of_another = make_link(vault, UUID(world.known["session_id"]), OTHER)
    assert client.get(path, headers={"Authorization": f"Bearer {of_another}"}).status_code == 404


def test_a_link_of_an_erased_buyer_is_404(world: World) -> None:
    made, vault = world.instance.client(77), world.instance.services.vault
    made.put("/api/cart/items/123/", json={"quantity": "1"})
    session_id = made.create().json()["session_id"]
    link = make_link(vault, UUID(session_id), 77)
    path, headers = f"{SESSION.format(session_id=session_id)}status/", {"Authorization": f"Bearer {link}"}
    assert world.instance.anonymous().get(path, headers=headers).status_code == 200
    vault.erase(77)
    assert world.instance.anonymous().get(path, headers=headers).status_code == 404
    assert (
        world.instance.client(77).get(f"{SESSION.format(session_id=session_id)}payment_url/").status_code
        == 404
    )


def test_links_are_in_no_log(world: World, link: str) -> None:
    logged = io.StringIO()
    kept, level = structlog.get_config(), logging.getLogger().level
    try:
        configure_logging("json", logged)
        client = world.instance.anonymous()
        client.get(
            f"{SESSION.format(session_id=world.known['session_id'])}status/",
            headers={"Authorization": f"Bearer {link}"},
        )
        client.get(f"/pay/{link}/", headers={"Referer": f"{world.instance.base_url}/pay/{link}/"})
        client.get(f"/pay/{link}x/")
    finally:
        structlog.configure(**kept)
        logging.getLogger().setLevel(level)
    assert "request" in logged.getvalue()
    assert link not in logged.getvalue()
    assert PREFIX not in logged.getvalue()
