"""A shop's own server opens sessions, finds them by its reference, and uses them as their buyer would."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zipfile import ZipFile

import pytest

from api.personal_data import build_customer_export
from ledger import clock
from ledger.identifiers import UNNAMED_USERS
from ledger.store.block_signer import BlockSigner
from payments.erasure.phones import phone_digests_of
from projections.history import for_auditor, history, timeline
from tests.api.pages.test_work import signed_in
from tests.scenarios.steps import PAYS_AT_ONCE, TOMATOES, approve, put_in_cart, put_on_shelf
from tests.support.erasures import erase
from tests.support.horizon import until_readable
from tests.support.instance import Client, Instance, running_instance

CHECKOUTS, SESSIONS = "/api/payments/checkouts/", "/api/payments/sessions/"
FLOUR = {"name": "Maize flour", "quantity": "3", "unit_price": "189.50", "product_id": "SKU-17", "unit": "pc"}
TOMATO = {"name": "Tomatoes", "quantity": "1.25", "unit_price": "140.00"}
ORIGIN = "https://shop.example"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder, DAFTARI_RETURN_ORIGINS=ORIGIN) as running:
        yield running


@pytest.fixture
def shop(instance: Instance) -> Client:
    """The API as the shop's server calls it."""
    return instance.server("web-shop")


def create(shop: Client, **body: Any) -> dict[str, Any]:
    answer = shop.post(CHECKOUTS, json=body)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def test_lines_of_the_shops_own_are_priced_and_shown(shop: Client) -> None:
    created = create(
        shop,
        reference="WEB-1",
        lines=[FLOUR, TOMATO],
        buyer={"id": "8841", "phone_number": "0712345678", "name": "John Doe"},
        delivery={"fee": "150.00", "detailed_address": "123 Main Street", "county_id": 1, "subcounty_id": 5},
        metadata={"basket": "b-99812"},
        success_url=f"{ORIGIN}/done",
        cancel_url=f"{ORIGIN}/cart?id=7#top",
    )
    first, second = created["cart_snapshot"]["items"]
    assert first == {
        "cart_item_id": None,
        "listing_id": None,
        "product_name": "Maize flour",
        "farm_name": "",
        "quantity": 3.0,
        "price_at_addition": 189.50,
        "subtotal": 568.50,
        "unit_of_measure": "pc",
        "product_id": "SKU-17",
    }
    assert (second["product_id"], second["subtotal"]) == (None, 175.00)
    assert created["cart_snapshot"]["rounding"] == 0.50
    assert (created["total_amount"], created["delivery_fee"]) == ("894.00", "150.00")
    assert created["user"] == 8841
    assert created["delivery_details"]["full_name"] == "John Doe"
    assert created["delivery_details"]["county_id"] == 1
    assert created["delivery_details"]["delivery_time_slot"] is None
    assert created["phone_number"] == "0712345678"
    assert (created["reference"], created["metadata"]) == ("WEB-1", {"basket": "b-99812"})
    assert (created["success_url"], created["cancel_url"]) == (f"{ORIGIN}/done", f"{ORIGIN}/cart?id=7#top")
    assert "/pay/pl_" in created["payment_url"]
    again = shop.get(f"{CHECKOUTS}{created['session_id']}/").json()
    assert again == created


def test_a_plain_amount_without_anything_else_is_enough(shop: Client) -> None:
    created = create(shop, amount="500")
    assert created["total_amount"] == "500.00"
    [line] = created["cart_snapshot"]["items"]
    assert (line["product_name"], line["quantity"], line["product_id"]) == ("Payment", 1.0, None)
    assert set(created["delivery_details"].values()) == {None}
    assert created["phone_number"] is None
    assert created["user"] in UNNAMED_USERS
    assert created["user"] != create(shop, amount="500")["user"]


def test_it_goes_the_way_of_any_session(instance: Instance, shop: Client) -> None:
    session_id = create(shop, reference="WEB-1", lines=[FLOUR])["session_id"]
    answer = shop.initiate(session_id)
    assert answer.json()["errors"] == {
        "phone_number": ["This session has no phone number of its own. Name one."]
    }
    assert shop.initiate(session_id, phone_number=PAYS_AT_ONCE).status_code == 200
    instance.work()
    assert shop.status(session_id)["session_status"] in ("paid", "order_created")
    assert "Paid" in shop.events(session_id)
    shown = shop.get(f"{SESSIONS}{session_id}/").json()
    assert shown["cart_snapshot"]["items"][0]["product_name"] == "Maize flour"
    assert "reference" not in shown


def test_its_time_can_be_chosen_and_extended(shop: Client) -> None:
    created = create(shop, amount="500", expires_in=60)
    assert shop.post(f"{SESSIONS}{created['session_id']}/extend_session/").status_code == 200


def test_a_reference_is_used_once_and_found_again(shop: Client) -> None:
    created = create(shop, reference="ADM-2041/2026-T1", amount="18500.00")
    refused = shop.post(CHECKOUTS, json={"reference": "ADM-2041/2026-T1", "amount": "18500.00"})
    assert (refused.status_code, refused.json()["error_code"]) == (409, "REFERENCE_USED")
    found = shop.get(CHECKOUTS, params={"reference": "ADM-2041/2026-T1"}).json()
    assert [each["session_id"] for each in found["results"]] == [created["session_id"]]
    assert found["results"][0]["reference"] == "ADM-2041/2026-T1"
    assert shop.get(CHECKOUTS, params={"reference": "ADM-2041"}).json() == {"next": None, "results": []}


def test_two_requests_at_once_with_one_reference_make_one_session(instance: Instance, shop: Client) -> None:
    def send(_: int) -> int:
        body = {"reference": "WEB-1", "amount": "100"}
        headers = {"Authorization": shop.headers["Authorization"]}
        return instance.anonymous().post(CHECKOUTS, json=body, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(send, range(8)))
    assert codes == [201] + [409] * 7
    assert len(shop.get(CHECKOUTS).json()["results"]) == 1


def test_the_list_pages_through_all_of_the_key(shop: Client) -> None:
    made = [create(shop, amount="100", reference=f"WEB-{number}")["session_id"] for number in range(5)]
    found, link = [], f"{CHECKOUTS}?page_size=2"
    while link:
        page = shop.get(link.removeprefix(shop._base_url)).json()
        found += [each["session_id"] for each in page["results"]]
        link = page["next"]
    assert found == made[::-1]


def test_a_repeat_under_a_key_gets_the_first_answer(shop: Client) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    body = {
        "reference": "WEB-1",
        "lines": [FLOUR],
        "buyer": {"name": "John Doe"},
        "metadata": {"b": "1", "a": "2"},
    }
    first = shop.post(CHECKOUTS, json=body, headers=headers)
    again = shop.post(CHECKOUTS, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["Idempotency-Replayed"] == "true"
    other = shop.post(CHECKOUTS, json=body | {"reference": "WEB-2"}, headers=headers)
    assert (other.status_code, other.json()["error_code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_a_repeat_under_a_key_at_once_makes_one_session(instance: Instance, shop: Client) -> None:
    headers = {"Idempotency-Key": str(uuid4()), "Authorization": shop.headers["Authorization"]}

    def send(_: int) -> tuple[int, str]:
        body = {"reference": "WEB-1", "amount": "100"}
        answer = instance.anonymous().post(CHECKOUTS, json=body, headers=headers)
        return answer.status_code, answer.json().get("session_id") or answer.json()["error_code"]

    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(send, range(6)))
    assert len({session for code, session in answers if code == 201}) == 1
    assert {told for code, told in answers if code != 201} <= {"IDEMPOTENCY_KEY_IN_USE"}
    assert len(shop.get(CHECKOUTS).json()["results"]) == 1


def test_open_sessions_are_bounded_by_buyer_and_for_the_unnamed_by_key(
    database_url: str, data_folder: Path
) -> None:
    limits = {"DAFTARI_MAX_OPEN_SESSIONS": "2", "DAFTARI_MAX_UNNAMED_CHECKOUTS": "3"}
    with running_instance(database_url, data_folder, **limits) as instance:
        shop, other = instance.server("web-shop"), instance.server("donations")
        for _ in range(2):
            create(shop, amount="100", buyer={"id": "7"})
        for _ in range(3):
            create(shop, amount="100")
        for body in ({"amount": "100", "buyer": {"id": "7"}}, {"amount": "100"}):
            refused = shop.post(CHECKOUTS, json=body)
            assert (refused.status_code, refused.json()["error_code"]) == (429, "TOO_MANY_SESSIONS")
            assert int(refused.headers["Retry-After"]) > 0
        create(shop, amount="100", buyer={"id": "8"})
        create(other, amount="100")


def test_unnamed_buyers_on_one_phone_have_the_limits_of_one_user(instance: Instance, shop: Client) -> None:
    """A new session is no new stranger, who may prompt anybody's phone all the same."""
    codes = []
    for _ in range(3):
        session_id = create(shop, amount="100")["session_id"]
        answer = shop.initiate(session_id, phone_number="254700001032")
        codes.append(answer.status_code)
        instance.simulator.run_due()
        assert instance.simulator.wait_until_idle(20)
    assert codes == [200, 200, 429]


def test_that_one_unnamed_buyer_paid_lets_no_other_prompt_that_phone_without_end(
    instance: Instance, shop: Client
) -> None:
    phone, codes = "254712345678", []
    paid = create(shop, amount="100")["session_id"]
    assert shop.initiate(paid, phone_number=phone).status_code == 200
    approve(instance, phone)
    assert shop.status(paid)["session_status"] in ("paid", "order_created")
    for _ in range(3):
        answer = shop.initiate(create(shop, amount="100")["session_id"], phone_number=phone)
        codes.append(answer.status_code)
        if answer.status_code == 200:
            instance.simulator.cancel(instance.simulator.wait_for_prompt(phone).checkout_request_id)
            assert instance.simulator.wait_until_idle(20)
    assert codes == [200, 200, 429]


def test_a_buyer_named_by_the_server_uses_the_session_too(instance: Instance, shop: Client) -> None:
    session_id = create(shop, amount="100", buyer={"id": "7"})["session_id"]
    assert instance.client(7).status(session_id)["session_status"] == "pending"
    shown = instance.client(7).get(f"{SESSIONS}{session_id}/").json()
    assert "metadata" not in shown
    assert instance.client(8).get(f"{SESSIONS}{session_id}/status/").status_code == 404


def test_sessions_of_carts_are_shown_as_before(instance: Instance) -> None:
    put_on_shelf(instance, TOMATOES, stock="10")
    buyer = instance.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    [item] = buyer.create().json()["cart_snapshot"]["items"]
    assert "product_id" not in item


def test_auditors_find_it_by_its_reference_and_see_no_text_of_it(instance: Instance, shop: Client) -> None:
    created = create(shop, reference="ADM-2041", lines=[FLOUR])
    create(shop, reference="ADM-2042", amount="100")
    auditor, until = instance.client(9, "auditor"), clock.now().isoformat().replace("+00:00", "Z")
    for query in (
        {"checkout_reference": "ADM-2041"},
        {"checkout_reference": "ADM-2041", "recorded_as_of": until},
    ):
        found = auditor.get("/api/audit/payments/", params=query).json()["results"]
        assert [each["session_id"] for each in found] == [created["session_id"]]
    assert auditor.get("/api/audit/payments/?checkout_reference=adm-2041").json()["results"] == []
    story = auditor.get(f"/api/audit/payments/{created['session_id']}/").text
    assert '"caused_by":{"actor":"key:web-shop"' in story.replace(" ", "")
    for text in (story, auditor.get(f"/api/audit/payments/{created['session_id']}/steps/").text):
        assert "ADM-2041" not in text
        assert "Maize" not in text


def test_an_erasure_takes_all_that_the_caller_wrote(instance: Instance, shop: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    body = {
        "reference": "ADM-2041",
        "lines": [FLOUR],
        "buyer": {"id": "7", "name": "Jane Wanjiku"},
        "metadata": {"term": "1"},
        "success_url": f"{ORIGIN}/done",
    }
    created = shop.post(CHECKOUTS, json=body, headers=headers).json()
    unnamed = create(shop, reference="GIFT-1", amount="100")
    database, vault = instance.services.database, instance.services.vault
    for session, user in ((created, 7), (unnamed, unnamed["user"])):
        erase(database, vault, user)
        assert shop.get(f"{CHECKOUTS}{session['session_id']}/").status_code in (200, 410)
        assert shop.get(CHECKOUTS, params={"reference": session["reference"]}).json()["results"] == []
        listed = shop.get(CHECKOUTS).json()["results"]
        [left] = [each for each in listed if each["session_id"] == session["session_id"]]
        assert left["reference"] is None
    assert shop.get(f"{CHECKOUTS}{created['session_id']}/").json()["error_code"] == "ERASED"
    again = shop.post(CHECKOUTS, json=body, headers=headers)
    assert (again.status_code, again.json()["error_code"]) == (410, "ERASED")
    with database.connection() as connection:
        rows = connection.execute("SELECT reference_digest, sealed_urls FROM checkouts").fetchall()
    assert rows == [{"reference_digest": None, "sealed_urls": None}] * 2


def test_a_buyer_who_was_erased_is_refused_and_an_unnamed_one_is_not(
    instance: Instance, shop: Client
) -> None:
    erase(instance.services.database, instance.services.vault, 7)
    answer = shop.post(CHECKOUTS, json={"amount": "100", "buyer": {"id": "7"}})
    assert (answer.status_code, answer.json()["error_code"]) == (410, "ERASED")
    create(shop, amount="100")


def test_the_account_of_a_person_says_what_a_server_wrote_of_them(instance: Instance, shop: Client) -> None:
    create(
        shop,
        reference="ADM-2041",
        lines=[FLOUR],
        buyer={"id": "7", "name": "Jane Wanjiku"},
        metadata={"term": "first"},
        success_url=f"{ORIGIN}/done",
    )
    services, file = instance.services, BytesIO()
    export = build_customer_export(instance.settings, services.database, services.vault)
    export.write(7, file, by="user:41", reason="The customer asked by letter.")
    with ZipFile(file) as archive:
        text = archive.read("account.txt").decode()
    for known in ("ADM-2041", "Maize flour", "SKU-17", "Jane Wanjiku", "first", f"{ORIGIN}/done"):
        assert known in text


def test_the_staff_see_it_in_the_console_and_take_its_evidence(instance: Instance, shop: Client) -> None:
    session_id = create(shop, lines=[FLOUR, TOMATO], metadata={"a": "b"})["session_id"]
    assert shop.initiate(session_id, phone_number=PAYS_AT_ONCE).status_code == 200
    instance.work()
    services = instance.services
    until_readable(services.database)
    BlockSigner(services.database, lambda: services.vault.block_key).run()
    one = f"payments/{session_id}/"
    for role, pages in {
        "operator": ("work/", "payments/", one),
        "auditor": ("payments/", one, f"{one}timeline/"),
    }.items():
        browser, _ = signed_in(instance, token=instance.token(9, role))
        for page in pages:
            answer = browser.get(f"{instance.base_url}/console/{page}", timeout=10)
            assert answer.status_code == 200, page
    pack = instance.client(9, "auditor").get(f"/api/audit/payments/{session_id}/evidence/")
    assert pack.status_code == 200, pack.text
    with ZipFile(BytesIO(pack.content)) as archive:
        assert not [name for name in archive.namelist() if b"Maize" in archive.read(name)]


def test_a_buyer_has_the_name_that_the_shops_tokens_give_them(instance: Instance, shop: Client) -> None:
    name = "2f6c1f0e-6f0b-4a3d-9d53-0b6f6a1d9e11"
    first, second = (create(shop, amount="100", buyer={"id": name})["user"] for _ in range(2))
    assert first == second == instance.services.user_ids.user_id_of(name)
    assert first not in UNNAMED_USERS
    erase(instance.services.database, instance.services.vault, first)
    other = instance.services.user_ids.find(name)
    assert other is None
    refused = shop.post(CHECKOUTS, json={"amount": "100", "buyer": {"id": "a\x07b"}})
    assert list(refused.json()["errors"]) == ["buyer.id"]


def test_nobody_is_called_by_the_number_of_an_unnamed_buyer(instance: Instance, shop: Client) -> None:
    unnamed = str(create(shop, amount="100")["user"])
    refused = shop.post(CHECKOUTS, json={"amount": "100", "buyer": {"id": unnamed}})
    assert list(refused.json()["errors"]) == ["buyer.id"]
    assert instance.client(int(unnamed)).get(SESSIONS).status_code == 401


def test_an_erasure_leaves_no_count_of_the_number_that_an_unnamed_buyer_paid_from(
    instance: Instance, shop: Client
) -> None:
    created = create(shop, amount="100")
    assert shop.initiate(created["session_id"], phone_number=PAYS_AT_ONCE).status_code == 200
    instance.work()
    services, user = instance.services, created["user"]
    with services.database.connection() as connection:
        digests = phone_digests_of(connection, services.vault, user)
        held = "SELECT count(*) AS rows FROM prompt_counts WHERE phone_digest = ANY(%s)"
        assert connection.execute(held, (digests,)).fetchone() == {"rows": 1}
    erase(services.database, services.vault, user, digests)
    with services.database.connection() as connection:
        assert connection.execute(held, (digests,)).fetchone() == {"rows": 0}


def test_a_replay_tells_nothing_that_the_caller_wrote(instance: Instance, shop: Client) -> None:
    session_id = create(shop, reference="ADM-2041", lines=[FLOUR], metadata={"term": "first"})["session_id"]
    services = instance.services
    entries = history(services.database, services.ledger.macs, UUID(session_id))
    told = "\n".join([*timeline(entries), *(str(for_auditor(entry)) for entry in entries)])
    assert "key:web-shop" in told
    assert not [text for text in ("ADM-2041", "Maize", "SKU-17", "first", "sealed") if text in told]
