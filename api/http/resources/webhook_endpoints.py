"""Webhook endpoints: a shop's server says where it is told of events, looks at deliveries, and has them repeated."""

from typing import Any
from uuid import UUID

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import caller, require_role
from api.http.middleware.idempotency import idempotent
from api.http.schemas.pagination import link_after
from api.http.schemas.webhook_schemas import (
    EndpointChange,
    EndpointList,
    EndpointWithSecret,
    NewEndpoint,
    Redelivery,
    ShownEndpoint,
    WebhookDeliveryList,
    WebhookDeliveryQuery,
    show_deliveries,
    show_endpoint,
)
from api.issued_tokens import Role
from ledger.errors import wrong_fields

ALL = "/api/webhook-endpoints/"
ONE = f"{ALL}<uuid:endpoint_id>/"
UNKNOWN = "WEBHOOK_ENDPOINT_NOT_FOUND"

blueprint = ApiBlueprint(
    "webhook_endpoints", __name__, description="Where shops' servers are told of events."
)


@blueprint.route(ALL, methods=["POST"])
@require_role(Role.SERVER, Role.OPERATOR)
@idempotent
@blueprint.arguments(NewEndpoint)
@blueprint.refuses("TOO_MANY_WEBHOOK_ENDPOINTS")
@blueprint.response(201, EndpointWithSecret)
def add_endpoint(wanted: dict[str, Any]) -> dict[str, Any]:
    """Add a webhook endpoint.

    It is told of what is recorded from now on: of the sessions that this key makes, and of carts; an operator's of all.
    The secret is shown this once.
    """
    here, endpoints = caller(), current_services().webhook_endpoints
    added, secret = endpoints.add(wanted["url"], wanted["events"], key=here.key, by=here.actor)
    return show_endpoint(added) | {"secret": secret}


@blueprint.route(ALL, methods=["GET"])
@require_role(Role.SERVER, Role.OPERATOR)
@blueprint.response(200, EndpointList)
def list_endpoints() -> dict[str, Any]:
    """List webhook endpoints.

    Those of this key; for an operator all.
    """
    return {"results": list(map(show_endpoint, current_services().webhook_endpoints.all(key=caller().key)))}


@blueprint.route(ONE, methods=["GET"])
@require_role(Role.SERVER, Role.OPERATOR)
@blueprint.refuses(UNKNOWN)
@blueprint.response(200, ShownEndpoint)
def show_one_endpoint(endpoint_id: UUID) -> dict[str, Any]:
    """Show a webhook endpoint."""
    return show_endpoint(current_services().webhook_endpoints.find(endpoint_id, key=caller().key))


@blueprint.route(ONE, methods=["PATCH"])
@require_role(Role.SERVER, Role.OPERATOR)
@idempotent
@blueprint.arguments(EndpointChange)
@blueprint.refuses(UNKNOWN)
@blueprint.response(200, ShownEndpoint)
def change_endpoint(wanted: dict[str, Any], endpoint_id: UUID) -> dict[str, Any]:
    """Change a webhook endpoint, disable it, or enable it again.

    One that is enabled again goes on where it stopped: it is sent what it missed, in order.
    """
    here, endpoints = caller(), current_services().webhook_endpoints
    return show_endpoint(endpoints.change(endpoint_id, **wanted, key=here.key, by=here.actor))


@blueprint.route(ONE, methods=["DELETE"])
@require_role(Role.SERVER, Role.OPERATOR)
@idempotent
@blueprint.refuses(UNKNOWN)
@blueprint.response(200, ShownEndpoint)
def delete_endpoint(endpoint_id: UUID) -> dict[str, Any]:
    """Delete a webhook endpoint.

    With its deliveries. Answers with what it was.
    """
    here, endpoints = caller(), current_services().webhook_endpoints
    known = endpoints.find(endpoint_id, key=here.key)
    endpoints.delete(endpoint_id, key=here.key, by=here.actor)
    return show_endpoint(known)


@blueprint.route(f"{ONE}rotate-secret/", methods=["POST"])
@require_role(Role.SERVER, Role.OPERATOR)
@idempotent
@blueprint.refuses(UNKNOWN)
@blueprint.response(200, EndpointWithSecret)
def rotate_secret(endpoint_id: UUID) -> dict[str, Any]:
    """Give a webhook endpoint a new secret.

    It is shown this once. For a day messages are signed by both, the new and the one before.
    """
    here, endpoints = caller(), current_services().webhook_endpoints
    rotated, secret = endpoints.rotate(endpoint_id, key=here.key, by=here.actor)
    return show_endpoint(rotated) | {"secret": secret}


@blueprint.route(f"{ONE}deliveries/", methods=["GET"])
@require_role(Role.SERVER, Role.OPERATOR)
@blueprint.arguments(WebhookDeliveryQuery, location="query")
@blueprint.refuses(UNKNOWN)
@blueprint.response(200, WebhookDeliveryList)
def list_deliveries(query: dict[str, Any], endpoint_id: UUID) -> dict[str, Any]:
    """List the deliveries of a webhook endpoint.

    The latest first; those that are over for 30 days.
    """
    services, size = current_services(), query["page_size"]
    services.webhook_endpoints.find(endpoint_id, key=caller().key)
    found = services.webhook_deliveries.page(endpoint_id, before=query.get("before"), limit=size + 1)
    shown = found[:size]
    more = link_after("before", str(shown[-1].delivery_id)) if len(found) > size else None
    return {"next": more, "results": show_deliveries(shown)}


@blueprint.route(f"{ONE}redeliver/", methods=["POST"])
@require_role(Role.SERVER, Role.OPERATOR)
@idempotent
@blueprint.arguments(Redelivery)
@blueprint.refuses(UNKNOWN, "WEBHOOK_DELIVERY_NOT_FOUND")
@blueprint.response(200, ShownEndpoint)
def redeliver(wanted: dict[str, Any], endpoint_id: UUID) -> dict[str, Any]:
    """Deliver again: one message, or all since a moment.

    Under the same `webhook-id`, in the order of each session. A disabled endpoint is sent them once it is enabled.
    """
    here, services = caller(), current_services()
    if len(wanted) != 1:
        raise wrong_fields({"since": ["Name one `delivery`, or a moment."]})
    if "since" in wanted:
        services.webhook_endpoints.deliver_since(endpoint_id, wanted["since"], key=here.key, by=here.actor)
    else:
        services.webhook_endpoints.find(endpoint_id, key=here.key)
        services.webhook_deliveries.deliver_again(endpoint_id, wanted["delivery"])
    return show_endpoint(services.webhook_endpoints.find(endpoint_id, key=here.key))
