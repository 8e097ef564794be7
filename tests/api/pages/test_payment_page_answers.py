"""The payment page as answers: who gets it, who may post its forms, what it carries, and its two languages."""

import re
import string
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from freezegun import freeze_time

from api.brand_settings import contrast_with_white
from api.local.local_settings import local_settings
from api.pages.pay.texts import LANGUAGES, TEXTS
from api.setting_rules import ConfigurationError
from ledger import clock
from payments.checkout.payment_links import PREFIX
from tests.support.instance import Client, Instance, running_instance

FORM = {"do": "pay", "phone": "0712345678"}


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        yield running


@pytest.fixture
def path(instance: Instance) -> str:
    """The path of the page of a checkout of KES 100, without phone, lines and delivery."""
    made = instance.server().post("/api/payments/checkouts/", json={"amount": "100.00"}).json()
    return str(made["payment_url"]).removeprefix(instance.base_url)


@pytest.fixture
def client(instance: Instance) -> Client:
    client = instance.anonymous()
    client.headers["X-Forwarded-For"] = "203.0.113.9"
    return client


def session_of(path: str) -> UUID:
    """Return the session that the path of a page names."""
    return UUID(bytes=urlsafe_b64decode(path.split("/")[2].removeprefix(PREFIX))[:16])


def prompts(instance: Instance) -> int:
    return len(instance.simulator.prompts("254712345678"))


def test_every_text_is_in_both_languages_with_the_same_places() -> None:
    for name, texts in TEXTS.items():
        assert len(texts) == len(LANGUAGES)
        assert all(texts), name
        assert len(set(texts)) == len(texts), f"{name} is not translated"
        places = [
            {each for _, each, _, _ in string.Formatter().parse(text) if each is not None} for text in texts
        ]
        assert places[0] == places[1], name


def test_the_page_is_kept_out_of_caches_frames_and_referers(client: Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    shown = client.get(path).text
    assert "style=" not in shown
    assert "<script>" not in shown


def test_a_link_with_any_letter_changed_is_404(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200
    start = path.index(PREFIX)
    for place in range(start, len(path) - 1):
        forged = f"{path[:place]}{'A' if path[place] != 'A' else 'B'}{path[place + 1 :]}"
        answer = client.get(forged)
        assert answer.status_code == 404, place
        assert "There is no such payment" in answer.text
        assert client.post(forged, data=FORM).status_code == 404


def test_a_token_of_somebody_else_neither_helps_nor_harms(
    instance: Instance, client: Client, path: str
) -> None:
    token = {"Authorization": f"Bearer {instance.token(5)}"}
    assert client.get(path, headers=token).status_code == 200
    assert (
        instance.client(5).get(f"/api/payments/sessions/{session_of(path)}/payment_url/").status_code == 404
    )


def test_forms_of_other_sites_are_refused(instance: Instance, client: Client, path: str) -> None:
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
    ):
        assert client.post(path, data=FORM, headers=headers).status_code == 403
    assert prompts(instance) == 0
    answer = client.post(path, data=FORM, headers={"Sec-Fetch-Site": "same-origin"}, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, path)
    assert prompts(instance) == 1
    client.post(path, data=FORM, headers={"Origin": instance.base_url})
    client.post(path, data=FORM)
    assert prompts(instance) == 1, "while a prompt is live there is no other"


def test_a_link_sends_no_more_prompts_to_a_number_than_the_limit(
    database_url: str, data_folder: Path
) -> None:
    with running_instance(database_url, data_folder, DAFTARI_PROMPTS_PER_NUMBER="2") as instance:
        server, client = instance.server(), instance.anonymous()
        answers = []
        for _ in range(3):
            made = server.post("/api/payments/checkouts/", json={"amount": "100.00"}).json()
            answer = client.post(f"{made['payment_url'].removeprefix(instance.base_url)}?lang=sw", data=FORM)
            answers.append(answer)
            for prompt in instance.simulator.prompts("254712345678"):
                if prompt.is_open:
                    instance.simulator.cancel(prompt.checkout_request_id)
            instance.work()
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert TEXTS["PROMPTS_LIMITED"][1] in answers[-1].text


def test_a_buyer_whose_own_number_gets_no_prompt_now_gives_another(
    database_url: str, data_folder: Path
) -> None:
    with running_instance(database_url, data_folder, DAFTARI_PROMPTS_PER_NUMBER="1") as instance:
        server, client = instance.server(), instance.anonymous()
        body = {"amount": "100.00", "buyer": {"id": "66", "phone_number": "0712345678"}}
        first, second = (
            str(server.post("/api/payments/checkouts/", json=body).json()["payment_url"]) for _ in range(2)
        )
        client.post(first.removeprefix(instance.base_url), data={"do": "pay"})
        page = second.removeprefix(instance.base_url)
        shown = client.get(page).text
        assert TEXTS["another_says"][0] in shown
        assert re.search(r'<input id="phone"[^>]* required', shown), (
            "an empty field would mean the own number"
        )
        assert client.post(page, data={"do": "pay", "phone": "0722000001"}).status_code == 200
        assert len(instance.simulator.prompts("254722000001")) == prompts(instance) == 1


def test_who_has_a_link_shares_the_limits_of_its_buyer_from_all_addresses(
    database_url: str, data_folder: Path
) -> None:
    limits = {"DAFTARI_RATE_PER_MINUTE": "3", "DAFTARI_READS_PER_MINUTE": "4", "DAFTARI_TRUSTED_PROXIES": "1"}
    with freeze_time(clock.now()), running_instance(database_url, data_folder, **limits) as instance:
        client = instance.anonymous()

        def sent(method: str, address: str, to: str) -> tuple[int, str]:
            data = {"do": "pay", "phone": "12"} if method == "POST" else None
            answer = client.request(method, to, data=data, headers={"X-Forwarded-For": address})
            return answer.status_code, answer.text

        server = instance.server()
        made = [
            server.post("/api/payments/checkouts/", json={"amount": "100.00"}).json()["payment_url"]
            for _ in range(2)
        ]
        first, second = (url.removeprefix(instance.base_url) for url in made)
        presses = [sent("POST", f"203.0.113.{number}", f"{first}?lang=sw") for number in range(5)]
        assert [status for status, _ in presses] == [400, 400, 400, 429, 429]
        assert TEXTS["RATE_LIMITED"][1] in presses[-1][1]
        reads = [sent("GET", f"203.0.113.{number}", first)[0] for number in range(5)]
        assert reads == [200, 200, 200, 200, 429]
        assert sent("POST", "203.0.113.1", second)[0] == 400, "another buyer is not held back"

        status = f"/api/payments/sessions/{session_of(second)}/status/"
        headers = {"Authorization": f"Bearer {second.split('/')[2]}"}
        tokens = [client.get(status, headers=headers).status_code for _ in range(5)]
        assert tokens == [200, 200, 200, 200, 429]
        forged = [sent("GET", "203.0.113.99", f"/pay/{PREFIX}{'A' * 56}/")[0] for _ in range(5)]
        assert forged == [404, 404, 404, 404, 429], "who has no link is counted by their address"


def test_a_refused_press_says_why_and_a_wrong_number_is_never_shown_again(client: Client, path: str) -> None:
    answer = client.post(path, data={"do": "pay", "phone": "0712 abc"})
    assert answer.status_code == 400
    assert TEXTS["INVALID_INPUT"][0] in answer.text
    assert "0712 abc" not in answer.text
    assert client.post(path, data={"do": "pay", "phone": ""}).status_code == 400
    assert client.post(path, data={"do": "extend"}).status_code == 200


def test_the_page_of_an_erased_buyer_is_404(instance: Instance, client: Client) -> None:
    body = {"amount": "100.00", "buyer": {"id": "66", "phone_number": "0712345678"}}
    made = instance.server().post("/api/payments/checkouts/", json=body).json()
    path = made["payment_url"].removeprefix(instance.base_url)
    assert client.get(path).status_code == 200
    instance.services.vault.erase(made["user"])
    assert client.get(path).status_code == 404
    assert client.post(path, data=FORM).status_code == 404


def test_the_shops_logo_and_colour_are_served(database_url: str, data_folder: Path) -> None:
    logo = data_folder / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    with running_instance(
        database_url, data_folder, DAFTARI_SHOP_LOGO=str(logo), DAFTARI_SHOP_COLOUR="#7A1F5C"
    ) as instance:
        client = instance.anonymous()
        assert "--brand: #7a1f5c" in client.get("/pay/brand.css").text
        shown = client.get("/pay/logo")
        assert shown.headers["Content-Type"].startswith("image/svg+xml")
        assert "default-src 'none'" in shown.headers["Content-Security-Policy"]


@pytest.mark.parametrize("wrong", ["yellow", "#ffd400", "#12345", "#0f6b46;}"])
def test_a_colour_on_which_white_cannot_be_read_is_refused_at_startup(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="DAFTARI_SHOP_COLOUR"):
        local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_SHOP_COLOUR": wrong})
    assert contrast_with_white("#0f6b46") > 4.5
