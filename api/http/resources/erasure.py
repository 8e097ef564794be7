"""Erasure of a customer's personal data: planned, proposed by one operator, approved by another."""

from typing import Any

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import caller, require_role
from api.http.middleware.idempotency import idempotent
from api.http.schemas.fields import RequestSchema, ResponseSchema, Text
from api.issued_tokens import Role
from payments.erasure.erasures import ErasurePlan
from payments.refunds.notes import MAX_CHARACTERS

ONE = "/api/customers/<int:user_id>/erasure/"

blueprint = ApiBlueprint("erasure", __name__, description="Erasure of customers' personal data.")


class ErasureReason(RequestSchema):
    """Why a customer is erased; it is kept for ever, so it names no one."""

    reason = Text(most=MAX_CHARACTERS, required=True)


class ShownPlan(ResponseSchema):
    """What an erasure would do, and what stands against it."""

    user = fields.Integer()
    counts = fields.Dict(keys=fields.String(), values=fields.Integer())
    obstacles = fields.List(fields.String())
    proposed_by = fields.String(allow_none=True)
    is_erased = fields.Boolean()


@blueprint.route(ONE, methods=["GET"])
@require_role(Role.OPERATOR)
@reads_personal_data("what an erasure would destroy")
@blueprint.response(200, ShownPlan)
def plan_erasure(user_id: int) -> dict[str, Any]:
    """Show what erasing a customer would do.

    Changes nothing: how many rows of each kind there are, and what stands against it.
    """
    return _show(current_services().erasures.plan(user_id))


@blueprint.route(ONE, methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(ErasureReason)
@blueprint.refuses("ERASURE_REFUSED", "ERASURE_NEEDS_ANOTHER", "ERASED")
@blueprint.response(200, ShownPlan)
def propose_erasure(body: dict[str, Any], user_id: int) -> dict[str, Any]:
    """Propose to erase a customer.

    Another operator approves it. Nothing is erased before.
    """
    return _show(current_services().erasures.propose(user_id, by=_actor(), reason=body["reason"]))


@blueprint.route(f"{ONE}approve/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.refuses("ERASURE_REFUSED", "ERASURE_NOT_PROPOSED", "ERASURE_NEEDS_ANOTHER", "ERASED")
@blueprint.response(200, ShownPlan)
def approve_erasure(user_id: int) -> dict[str, Any]:
    """Erase a customer whom another operator proposed.

    For ever: the key is destroyed, and no process shows the data after 3 seconds.
    """
    erasures = current_services().erasures
    erasures.approve(user_id, by=_actor())
    return _show(erasures.plan(user_id))


def _actor() -> str:
    return caller().actor


def _show(plan: ErasurePlan) -> dict[str, Any]:
    return {
        "user": plan.user_id,
        "counts": plan.counts,
        "obstacles": list(plan.obstacles),
        "proposed_by": plan.proposed_by,
        "is_erased": plan.is_erased,
    }
