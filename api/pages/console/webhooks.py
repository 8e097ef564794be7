"""The webhook endpoints of shops' servers with their deliveries: operators add, stop and repeat; auditors read.

It needs no script: each button is a form, which calls the same services as the API.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.http.framework.services import current_services
from api.http.middleware.auth import caller
from api.http.schemas.webhook_schemas import WebhookDeliveryQuery
from api.issued_tokens import Role
from api.pages.console.blueprint import in_section, pages, read_query
from api.pages.console.navigation import WEBHOOKS
from ledger import clock
from ledger.errors import NotFound, wrong_fields
from payments.webhooks.messages import MESSAGE_TYPES

MAX_DIGITS = 16
"""Of the number of a delivery."""

DONE = {
    "added": "Added: it is told of what happens from now on.",
    "enable": "Enabled: it goes on where it stopped.",
    "disable": "Disabled: it is sent nothing more.",
    "delete": "Deleted.",
    "since": "What was recorded since then is delivered again.",
    "again": "It is delivered again.",
}
REASONS = {
    "by_hand": "disabled by hand",
    "gone": "disabled: it answered that it is gone",
    "only_failures": "disabled: it took nothing for days",
}


@pages.get("/webhooks/")
@in_section(WEBHOOKS)
def show_webhooks() -> str:
    """Show the webhook endpoints, under the form to add one."""
    return _endpoints(DONE.get(request.args.get("done", "")))


@pages.post("/webhooks/")
@in_section(WEBHOOKS, Role.OPERATOR)
def add_webhook() -> str:
    """Add an endpoint of a key, or of none; the page that answers shows its secret once."""
    given = request.form
    types = [kind for kind in MESSAGE_TYPES if kind in given.getlist("events")]
    if not types:
        raise wrong_fields({"events": ["Tick at least one type."]})
    added, secret = current_services().webhook_endpoints.add(
        given.get("url", "").strip(), types, key=given.get("key", "").strip() or None, by=_actor()
    )
    return _endpoints(DONE["added"], secret=secret, secret_of=added.definition.url)


@pages.get("/webhooks/<uuid:endpoint_id>/")
@in_section(WEBHOOKS)
def show_webhook(endpoint_id: UUID) -> str:
    """Show an endpoint with its deliveries, the latest first."""
    return _endpoint(endpoint_id, DONE.get(request.args.get("done", "")))


@pages.post("/webhooks/<uuid:endpoint_id>/rotate/")
@in_section(WEBHOOKS, Role.OPERATOR)
def rotate_webhook(endpoint_id: UUID) -> str:
    """Give an endpoint a new secret; the page that answers shows it once."""
    _, secret = current_services().webhook_endpoints.rotate(endpoint_id, by=_actor())
    return _endpoint(endpoint_id, "For a day the secret before signs, too.", secret=secret)


@pages.post("/webhooks/<uuid:endpoint_id>/act/")
@in_section(WEBHOOKS, Role.OPERATOR)
def act_on_webhook(endpoint_id: UUID) -> AnyResponse:
    """Perform the action of a button, as the operator who is signed in."""
    endpoints, action = current_services().webhook_endpoints, request.form.get("action", "")
    acts: dict[str, Callable[[], object]] = {
        "enable": lambda: endpoints.change(endpoint_id, enabled=True, by=_actor()),
        "disable": lambda: endpoints.change(endpoint_id, enabled=False, by=_actor()),
        "delete": lambda: endpoints.delete(endpoint_id, by=_actor()),
        "since": lambda: endpoints.deliver_since(endpoint_id, _since(), by=_actor()),
        "again": lambda: _deliver_again(endpoint_id),
    }
    if action not in acts:
        raise NotFound("There is no such action.")
    acts[action]()
    if action == "delete":
        return redirect(url_for("console.show_webhooks", done=action), 303)
    return redirect(url_for("console.show_webhook", endpoint_id=endpoint_id, done=action), 303)


def _endpoints(done: str | None, *, secret: str = "", secret_of: str = "") -> str:
    return render_template(
        "console/webhooks.html",
        endpoints=current_services().webhook_endpoints.all(),
        types=MESSAGE_TYPES,
        acts=Role.OPERATOR in caller().roles,
        reasons=REASONS,
        done=done,
        secret=secret,
        secret_of=secret_of,
    )


def _endpoint(endpoint_id: UUID, done: str | None, *, secret: str = "") -> str:
    paging = {name: request.args[name] for name in ("before", "page_size") if name in request.args}
    services, query = current_services(), read_query(WebhookDeliveryQuery, paging)
    size = query["page_size"]
    endpoint = services.webhook_endpoints.find(endpoint_id)
    found = services.webhook_deliveries.page(endpoint_id, before=query.get("before"), limit=size + 1)
    return render_template(
        "console/webhook.html",
        endpoint=endpoint,
        deliveries=found[:size],
        older=found[size - 1].delivery_id if len(found) > size else None,
        acts=Role.OPERATOR in caller().roles,
        reasons=REASONS,
        done=done,
        secret=secret,
    )


def _since() -> datetime:
    """Return the moment of the form, which people write in the time of Nairobi. Raises InvalidValue."""
    try:
        return datetime.fromisoformat(request.form.get("text", "")).replace(tzinfo=clock.NAIROBI)
    except ValueError:
        raise wrong_fields({"since": ["Choose a day and a time."]}) from None


def _deliver_again(endpoint_id: UUID) -> None:
    given = request.form.get("delivery", "")
    number = int(given) if given.isascii() and given.isdigit() and len(given) <= MAX_DIGITS else 0
    current_services().webhook_deliveries.deliver_again(endpoint_id, number)


def _actor() -> str:
    return caller().actor
