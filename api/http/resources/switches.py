"""Switches: operators stop all prompts, or all refunds, in an incident; auditors read them."""

from dataclasses import asdict
from typing import Any

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import caller, require_role
from api.http.middleware.idempotency import idempotent
from api.http.schemas.fields import Moment, RequestSchema, ResponseSchema, Text
from api.issued_tokens import Role
from payments.operators.operator import Operator
from payments.refunds.notes import MAX_CHARACTERS, parse_note

ONE = "/api/switches/<string:name>/"

blueprint = ApiBlueprint("switches", __name__, description="What operators switch off in an incident.")


class SwitchReason(RequestSchema):
    """Why a switch is turned."""

    reason = Text(
        most=MAX_CHARACTERS,
        required=True,
        metadata={"description": "Buyers read it, and it is kept for ever: no phone number, no name."},
    )


class ShownSwitch(ResponseSchema):
    """How a switch stands."""

    name = fields.String(metadata={"example": "prompts"})
    is_on = fields.Boolean()
    reason = fields.String()
    changed_by = fields.String(allow_none=True)
    changed_at = Moment(allow_none=True)


class SwitchList(ResponseSchema):
    """Every switch."""

    results = fields.List(fields.Nested(ShownSwitch))


@blueprint.route("/api/switches/", methods=["GET"])
@require_role(Role.OPERATOR, Role.AUDITOR)
@blueprint.response(200, SwitchList)
def list_switches() -> dict[str, Any]:
    """Show how the switches stand.

    `prompts` are payment requests to phones, `refunds` are reversals through M-Pesa.
    """
    return _shown()


@blueprint.route(f"{ONE}off/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(SwitchReason)
@blueprint.response(200, SwitchList)
def switch_off(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Switch prompts or refunds off.

    All processes follow within about a second. What M-Pesa was sent before goes on; callbacks are booked as ever.
    """
    return _turn(name, body["reason"], is_on=False)


@blueprint.route(f"{ONE}on/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(SwitchReason)
@blueprint.response(200, SwitchList)
def switch_on(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Switch prompts or refunds on again."""
    return _turn(name, body["reason"], is_on=True)


def _turn(name: str, reason: str, *, is_on: bool) -> dict[str, Any]:
    note = parse_note(reason, "reason")
    current_services().switches.turn(name, is_on=is_on, reason=note, by=Operator(caller().user_id))
    return _shown()


def _shown() -> dict[str, Any]:
    return {"results": [asdict(state) for state in current_services().switches.states()]}
