"""Views that only show how the framework treats a view."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from flask import request
from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.middleware.auth import caller, public, require_role
from api.http.middleware.idempotency import idempotent
from api.http.schemas.fields import (
    Choice,
    Day,
    DeliveryDay,
    Phone,
    RequestSchema,
    Text,
    TimeSlot,
    WholeNumber,
)
from api.http.schemas.pagination import PageQuery
from api.issued_tokens import Role
from ledger import errors

blueprint = ApiBlueprint("probes", __name__, description="Views for tests.", url_prefix="/api/probes")

REFUSALS: dict[str, Exception] = {
    "value": errors.InvalidValue("Look at the fields.", {"name": ["Write text."]}),
    "rejected": errors.Rejected("PROBE_REJECTED", "History says no."),
    "missing": errors.NotFound(),
    "conflict": errors.Conflict(),
    "busy": errors.Conflict(retry_after_seconds=3),
    "down": errors.Unavailable(),
    "fault": RuntimeError("the buyer at 254712345678 broke it"),
}

ran: list[str] = []
"""What the counted view was asked to do; a test empties it before it counts."""


class Inner(RequestSchema):
    phone_number = Phone(required=True)
    county_id = WholeNumber(required=True)


class Order(RequestSchema):
    """An order of a probe."""

    name = Text(required=True)
    delivery = fields.Nested(Inner, required=True)
    note = Text(least=0, most=500, allow_none=True)
    slot = TimeSlot()
    wanted_on = Day()
    deliver_on = DeliveryDay()
    colour = Choice(["red", "green"])


@blueprint.route("/who/")
@require_role(Role.CUSTOMER, Role.OPERATOR)
def who() -> dict[str, Any]:
    """Tell who is asking."""
    return {"user": caller().user_id, "roles": sorted(caller().roles)}


@blueprint.route("/actor/", methods=["GET", "POST"])
@require_role(Role.SERVER, Role.AUDITOR, Role.ANALYST)
def actor() -> dict[str, Any]:
    """Tell how the audit log names who is asking."""
    return {"actor": caller().actor}


@blueprint.route("/things/<uuid:session_id>/")
@blueprint.reports_unknown_names
def thing(session_id: UUID) -> dict[str, Any]:
    """Show a thing."""
    return {"session_id": session_id, "amount": Decimal("150.00")}


@blueprint.route("/orders/", methods=["POST"])
@idempotent
@blueprint.arguments(Order)
@blueprint.response(201)
def make_order(order: dict[str, Any]) -> dict[str, Any]:
    """Make an order."""
    return {"name": order["name"], "phone": str(order["delivery"]["phone_number"])}


@blueprint.route("/refusals/<kind>/", methods=["GET", "POST"])
def refuse(kind: str) -> None:
    """Refuse."""
    raise REFUSALS[kind]


@blueprint.route("/counted/", methods=["POST"])
@blueprint.reports_unknown_names
@idempotent
def counted() -> tuple[dict[str, Any], int]:
    """Count how often it ran; the body says with which status to answer, or which refusal to raise."""
    body = request.get_json()
    ran.append(body.get("say", ""))
    if "refuse" in body:
        raise REFUSALS[body["refuse"]]
    return {"ran": len(ran)}, body.get("status", 200)


@blueprint.route("/list/")
@blueprint.reports_unknown_names
@blueprint.arguments(PageQuery, location="query")
def listed(query: dict[str, Any]) -> dict[str, Any]:
    """List the numbers from 1 to 45."""
    page = query["page"]
    rows = list(range(1, 46))
    return page.show(len(rows), rows[page.offset : page.offset + page.size])  # type: ignore[no-any-return]


@blueprint.route("/callback/", methods=["POST"])
@public
def callback() -> dict[str, Any]:
    """Take a callback."""
    return {"ok": True}
