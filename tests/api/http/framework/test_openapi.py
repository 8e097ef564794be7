import json
import re
from collections.abc import Callable, Iterator
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from flask.testing import FlaskClient
from freezegun import freeze_time

from api.http.framework.error_codes import ERROR_CODES
from api.http.schemas.fields import DeliveryDay
from tests.api.http.framework.test_conformance import document as whole_document

Bearer = Callable[..., dict[str, str]]


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    answer = client.get("/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    made: dict[str, Any] = json.loads(answer.data)
    return made


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "Daftari"
    assert document["info"]["version"]


def test_operations_name_the_roles_that_may_call_them(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert paths["/api/probes/who/"]["get"]["security"] == [{"bearerToken": []}]
    assert paths["/api/probes/who/"]["get"]["x-roles"] == ["customer", "operator"]
    assert paths["/metrics"]["get"]["security"] == [{"bearerToken": []}]
    assert paths["/api/probes/callback/"]["post"]["security"] == []
    assert paths["/healthz"]["get"]["security"] == []
    assert document["components"]["securitySchemes"]["bearerToken"]["scheme"] == "bearer"


def test_operations_that_take_an_idempotency_key_say_so(document: dict[str, Any]) -> None:
    named = [p["name"] for p in document["paths"]["/api/probes/orders/"]["post"]["parameters"]]
    assert named == ["Idempotency-Key"]
    assert "parameters" not in document["paths"]["/api/probes/callback/"]["post"]


def test_the_document_is_the_same_each_time(client: FlaskClient) -> None:
    assert len({client.get(path).data for path in ("/openapi.json", "/openapi.json")}) == 1


def test_errors_are_documented_in_both_forms(document: dict[str, Any]) -> None:
    refused = document["paths"]["/api/probes/orders/"]["post"]["responses"]
    for status in ("400", "401", "409", "413", "415", "422", "429", "500", "503"):
        assert {form: media["schema"]["$ref"] for form, media in refused[status]["content"].items()} == {
            "application/json": "#/components/schemas/Error",
            "application/problem+json": "#/components/schemas/Problem",
        }
    assert "IDEMPOTENCY_KEY_IN_USE" in refused["409"]["description"]
    error = document["components"]["schemas"]["Error"]
    assert set(error["required"]) == {"status", "message", "error_code"}


def test_an_operation_documents_what_it_can_refuse_and_nothing_else(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert set(paths["/healthz"]["get"]["responses"]) == {"200", "400", "429", "500", "503"}
    assert set(paths["/api/orders/{order_id}/"]["get"]["responses"]) == {
        "200", "400", "401", "403", "404", "429", "500", "503"
    }  # fmt: skip
    prompt = paths["/api/payments/sessions/{session_id}/initiate_payment/"]["post"]
    assert "PHONE_BUSY" in prompt["responses"]["409"]["description"]
    assert prompt["requestBody"]["required"] is False


def test_every_key_of_an_answer_is_promised(document: dict[str, Any]) -> None:
    for name in ("Session", "SessionStatus", "SessionList", "Prompt", "Extension", "Metrics", "ShownOrder"):
        schema = document["components"]["schemas"][name]
        assert schema["required"] == sorted(schema["properties"])


def test_bodies_are_documented_with_their_bounds(document: dict[str, Any]) -> None:
    order = document["components"]["schemas"]["Order"]
    assert order["properties"]["name"]["maxLength"] == 100
    assert order["properties"]["slot"] == {"$ref": "#/components/schemas/TimeSlot"}
    assert document["components"]["schemas"]["TimeSlot"]["enum"] == ["morning", "afternoon", "evening"]
    inner = document["components"]["schemas"]["Inner"]
    assert inner["properties"]["county_id"] == {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}


def test_every_documented_address_refuses_a_stranger_or_is_public(
    client: FlaskClient, document: dict[str, Any]
) -> None:
    for path, item in document["paths"].items():
        for method in set(item) & {"get", "post", "put", "delete"}:
            if item[method]["security"]:
                shown = path.replace("{", "").replace("}", "")
                assert client.open(shown, method=method.upper()).status_code == 401


@pytest.mark.parametrize("moment", ["2024-02-28 22:30:00", "2031-12-31 23:59:59"])
def test_the_day_in_a_printed_request_is_accepted_on_any_day(client: FlaskClient, moment: str) -> None:
    with freeze_time(moment):
        page = unescape(client.get("/docs/").text)
        (day,) = set(re.findall(r'"deliver_on":"([^"]*)"', page))
        assert DeliveryDay().deserialize(day).isoformat() == day


def test_every_operation_has_an_id_of_its_own_that_never_changes() -> None:
    ids = [operation["operationId"] for _, operation in operations(whole_document())]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+([A-Z0-9][a-z0-9]*)+", each) for each in ids)
    assert set(ids) >= {
        "createSession", "listSessions", "showSession", "initiatePayment", "showSessionStatus", "streamSessionStatus",
        "extendSession", "showSessionEvents", "listCatalogue", "showListing", "showCart", "putCartItem",
        "deleteCartItem", "listCounties", "listSubcounties", "showOrder", "listRefunds", "findPayments", "showMetrics",
    }  # fmt: skip


def test_the_document_names_the_server_that_clients_reach(client: FlaskClient) -> None:
    for host in ("localhost:8000", "127.0.0.1:9000"):
        answer = client.get("/openapi.json", headers={"Host": host})
        assert answer.get_json()["servers"] == [{"url": f"http://{host}"}]


def test_every_enum_has_a_name() -> None:
    """A generator of clients makes a type of each enum without one, wherever it stands."""
    made = whole_document()
    named = {name for name, schema in made["components"]["schemas"].items() if "enum" in schema}
    assert named >= {"SessionState", "RefundStatus", "Evidence", "ErrorCode", "TimeSlot", "CaseKind"}
    for name in named:
        assert json.dumps(made).count(f'"#/components/schemas/{name}"') > 0, name
        del made["components"]["schemas"][name]
    inline = [enum for enum in enums(made) if len(enum) > 1]
    assert inline == [], "Name it in api/http/schemas/named_enums.py."


def test_no_field_of_a_body_is_taken_for_one_that_is_always_there() -> None:
    schemas = whole_document()["components"]["schemas"]
    assert not [
        (name, field)
        for name, schema in schemas.items()
        for field, part in schema.get("properties", {}).items()
        if "default" in part
    ]
    assert schemas["NewSession"]["required"] == ["delivery_details"]
    assert "required" not in schemas["InitiateRequest"]
    assert schemas["OrderRefund"]["properties"]["restock"]["description"].endswith(
        "false where it is left out."
    )


def operations(made: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (method, operation)
        for item in made["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]


def enums(node: Any) -> Iterator[list[Any]]:
    """Yield the enums that stand in a document."""
    if isinstance(node, dict):
        if isinstance(node.get("enum"), list):
            yield node["enum"]
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from enums(part)


class Page(HTMLParser):
    """The links, anchors and outside addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert "style" not in given
        self.anchors.add(given.get("id", ""))
        if tag == "a":
            self.links.add(given["href"])
        self.loaded |= {given[name] for name in ("src", "href") if name in given and tag != "a"}


def test_the_page_shows_every_operation_with_a_curl_command(
    client: FlaskClient, document: dict[str, Any]
) -> None:
    text = client.get("/docs/").text
    for path in document["paths"]:
        assert path in text
    assert text.count('<pre class="call" tabindex="0"><code>curl') == sum(
        len(set(item) - {"parameters"}) for item in document["paths"].values()
    )
    assert "Idempotency-Key (header)" in text
    assert "delivery.phone_number" in text


def test_the_page_loads_only_from_here_and_its_links_lead_somewhere(client: FlaskClient) -> None:
    page = Page(client.get("/docs/").text)
    assert page.loaded == {"data:,", "/docs/static/docs.css"}
    assert client.get("/docs/static/docs.css").mimetype == "text/css"
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= page.anchors
    assert [
        link for link in page.links if not link.startswith(("#", "/openapi.json", "http://", "https://"))
    ] == []
    assert set(ERROR_CODES) <= page.anchors


def test_the_host_header_cannot_inject_a_script(client: FlaskClient) -> None:
    text = client.get("/docs/", headers={"Host": 'x"><script>alert(1)</script>'}).text
    assert "<script>" not in text
