"""Refunds that a shop's server asks for: of the orders of its own sessions. It decides about none."""

from typing import Any
from uuid import UUID

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import caller, require_role
from api.http.middleware.idempotency import idempotent, request_name
from api.http.middleware.session_owner import owner_of
from api.http.schemas.server_refund_schemas import (
    AnsweredRefund,
    AskedRefund,
    SessionRefundList,
    show_session_refund,
    show_waiting,
)
from api.issued_tokens import Role
from payments.operators.proposals import Proposal
from projections.refunds import refunds_of

PATH = "/api/payments/sessions/<uuid:session_id>/refunds/"

blueprint = ApiBlueprint(
    "session_refunds", __name__, description="Refunds that a shop's server asks for, of its own sessions."
)


@blueprint.route(PATH, methods=["POST"])
@require_role(Role.SERVER)
@idempotent
@blueprint.arguments(AskedRefund)
@blueprint.refuses("SESSION_NOT_FOUND", "ORDER_NOT_MADE", "REFUND_EXCEEDS_ORDER", "CONFLICT")
@blueprint.response(200, AnsweredRefund)
@blueprint.alt_response(202, schema=AnsweredRefund, description="An operator has to approve it")  # type: ignore[untyped-decorator]  # flask-smorest has no types
def ask_for_refund(wanted: dict[str, Any], session_id: UUID) -> Any:
    """Ask for a refund of the order.

    The whole goes back by reversal. 202 if an operator has to approve it: where approvals are not automatic
    (`DAFTARI_REFUND_POLICY`), and from `DAFTARI_FOUR_EYES_FROM` on.
    """
    owner_of(session_id)
    services, here = current_services(), caller()
    asked = services.order_refunds.ask(
        session_id, wanted["reason"], key_name=str(here.key), request=request_name()
    )
    if isinstance(asked, Proposal):
        return {"refund": None, "waiting": show_waiting(asked)}, 202
    return {"refund": show_session_refund(services.refunds.find(session_id, asked)), "waiting": None}


@blueprint.route(PATH, methods=["GET"])
@require_role(Role.SERVER)
@blueprint.refuses("SESSION_NOT_FOUND")
@blueprint.response(200, SessionRefundList)
def list_session_refunds(session_id: UUID) -> dict[str, Any]:
    """List the refunds of a session.

    By number, of the order and of what was paid too much or too late.
    """
    owner_of(session_id)
    services = current_services()
    found = refunds_of(services.database, session_id)
    return {
        "results": [show_session_refund(found[number]) for number in sorted(found)],
        "waiting": show_waiting(services.order_refunds.waiting(session_id)),
    }
