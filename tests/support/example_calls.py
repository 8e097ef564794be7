"""The calls of checkout clients and servers that are examples in /openapi.json, on a running instance, call by call.

`make examples` writes their answers into the examples, each beside its request.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import requests
import structlog

from api.http.framework.document_parts import EXAMPLES
from shop.demo import make_buyers
from tests.scenarios.steps import approve
from tests.support.database import migrated_database, reachable_folder
from tests.support.instance import Client, Instance, running_instance

BUYER = 1
MAX_ENTRIES = 8
PUBLIC_URL = "https://pay.example.com"
TAGS = frozenset(
    {
        "sessions",
        "catalogue",
        "cart",
        "places",
        "orders",
        "checkouts",
        "session_refunds",
        "events",
        "webhook_endpoints",
    }
)
"""The groups of operations that are for checkout clients and servers, but for those that are for operators."""

Call = tuple[str, int, Any]
"""The id of an operation, and the status and content that it was answered with."""


class Caller:
    """Sends the request of an operation as the document shows it."""

    def __init__(self, client: Client) -> None:
        self._http = client
        self.document: dict[str, Any] = client.get("/openapi.json").json()
        self._operations = {
            operation["operationId"]: (method, path, operation)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
            if method != "parameters"
        }

    def call(self, operation_id: str, *, query: dict[str, Any] | None = None, **names: Any) -> Call:
        """Send the request of the operation's example, with these values in its path and query."""
        method, path, operation = self._operations[operation_id]
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        answer = self._http.request(
            method, path.format(**names), params=query, json=body.get("example"), stream=True
        )
        with closing(answer):
            assert answer.status_code < 300, (operation_id, answer.text)
            return operation_id, answer.status_code, _content(answer)


def purchase(instance: Instance) -> Iterator[Call]:
    """Buy what is in the cart, by the calls of a checkout client, and yield each with its answer."""
    caller = Caller(instance.client(BUYER))
    yield caller.call("listCatalogue", query={"page_size": 1})
    yield caller.call("showListing", listing_id=123)
    yield caller.call("listCounties")
    yield caller.call("listSubcounties", county_id=1)
    yield caller.call("deleteCartItem", listing_id=124)
    yield caller.call("deleteCartItem", listing_id=125)
    yield caller.call("putCartItem", listing_id=123)
    yield caller.call("showCart")
    yield (created := caller.call("createSession"))
    session = {"session_id": created[-1]["session_id"]}
    yield caller.call("extendSession", **session)
    yield caller.call("showPaymentUrl", **session)
    yield caller.call("initiatePayment", **session)
    yield caller.call("showSessionStatus", **session)
    yield caller.call("streamSessionStatus", **session)
    approve(instance)
    instance.work()
    yield caller.call("listSessions")
    yield (shown := caller.call("showSession", **session))
    yield caller.call("showSessionEvents", **session)
    yield caller.call("showOrder", order_id=shown[-1]["order"]["order_id"])


def sale(instance: Instance) -> Iterator[Call]:
    """Sell by the calls of a shop's own server, and yield each with its answer."""
    caller = Caller(instance.server())
    yield (added := caller.call("addWebhookEndpoint"))
    endpoint = {"endpoint_id": added[-1]["id"]}
    yield caller.call("listWebhookEndpoints")
    yield caller.call("showWebhookEndpoint", **endpoint)
    yield caller.call("changeWebhookEndpoint", **endpoint)
    yield caller.call("rotateWebhookSecret", **endpoint)
    yield (created := caller.call("createCheckout"))
    session = {"session_id": created[-1]["session_id"]}
    caller.call("initiatePayment", **session)
    approve(instance)
    instance.work()
    yield caller.call("listCheckouts")
    yield caller.call("showCheckout", **session)
    yield caller.call("listMessages")
    yield caller.call("askForRefund", **session)
    yield caller.call("listSessionRefunds", **session)
    yield caller.call("listWebhookDeliveries", **endpoint)
    yield caller.call("redeliverWebhooks", **endpoint)
    yield caller.call("deleteWebhookEndpoint", **endpoint)


@contextmanager
def shop_instance(database_url: str, folder: Path) -> Iterator[Instance]:
    """Run an instance with the demo shop and the filled cart of its first buyer."""
    with running_instance(database_url, folder) as running:
        assert list(make_buyers(running.services.database, 1, BUYER))
        yield running


def _content(answer: requests.Response) -> Any:
    """Return what an answer holds: JSON, or the first event of a stream."""
    if not answer.headers["Content-Type"].startswith("text/event-stream"):
        return answer.json(parse_float=Decimal)
    event: dict[str, str] = {}
    for line in answer.iter_lines(decode_unicode=True):
        name, _, value = line.partition(": ")
        if name in ("id", "data"):
            event[name] = value
        if event and not line:
            break
    return event


def write(calls: Iterator[Call], base_url: str) -> None:
    """Write answers into the files of the examples, with an address in place of the `base_url` of a test."""
    for operation_id, status, content in calls:
        file = EXAMPLES / f"{operation_id}.json"
        kept = json.loads(file.read_text("utf-8")) if file.exists() else {}
        made = json.dumps(
            kept | {"status": status, "answer": _shortened(content)}, indent=2, default="@{}@".format
        )
        # Amounts keep both of their decimals, which only text does on the way into a file.
        made = re.sub(r'"@([0-9.]+)@"', r"\1", made).replace(base_url, PUBLIC_URL)
        file.write_text(made + "\n", "utf-8")


def _shortened(content: Any) -> Any:
    """Return what an answer holds with the first entries of each list."""
    if isinstance(content, dict):
        return {name: _shortened(part) for name, part in content.items()}
    return [_shortened(part) for part in content[:MAX_ENTRIES]] if isinstance(content, list) else content


def main() -> None:
    """Write the examples from a purchase and a sale of the moment."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = reachable_folder()
    try:
        with migrated_database() as database_url, shop_instance(database_url, folder) as instance:
            write(chain(purchase(instance), sale(instance)), instance.base_url)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
