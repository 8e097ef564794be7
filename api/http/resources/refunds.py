"""Refunds: operators decide, auditors read. The worker sends what was approved."""

from typing import Any
from uuid import UUID

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import Role, caller, require_role
from api.http.middleware.idempotency import idempotent
from api.http.schemas.pagination import Page
from api.http.schemas.refund_schemas import (
    RefundList,
    RefundNote,
    RefundQuery,
    RefundReason,
    ShownRefund,
    show_refund,
)
from ledger.session.values import RefundState
from payments.refunds.decisions import operator

ONE = "/api/payments/refunds/<uuid:session_id>/<int:refund>/"

blueprint = ApiBlueprint(
    "refunds", __name__, description="Sums that must go back to the payer, or have gone back."
)


@blueprint.route("/api/payments/refunds/", methods=["GET"])
@require_role(Role.OPERATOR, Role.AUDITOR)
@reads_personal_data("refunds")
@blueprint.arguments(RefundQuery, location="query")
@blueprint.response(200, RefundList)
def list_refunds(query: dict[str, Any]) -> dict[str, Any]:
    """List refunds.

    Newest first. A decision shows in the list within a second.
    """
    page: Page = query["page"]
    state = RefundState(query["state"]) if query.get("state") else None
    count, found = current_services().refunds.list(
        state=state, limit=page.size, offset=page.offset, as_of=page.as_of
    )
    return page.show(count, [show_refund(refund) for refund in found])


@blueprint.route(ONE, methods=["GET"])
@require_role(Role.OPERATOR, Role.AUDITOR)
@reads_personal_data("refund")
@blueprint.refuses("REFUND_NOT_FOUND")
@blueprint.response(200, ShownRefund)
def show_one_refund(session_id: UUID, refund: int) -> dict[str, Any]:
    """Show a refund."""
    return show_refund(current_services().refunds.find(session_id, refund))


@blueprint.route(f"{ONE}approve/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.refuses("REFUND_NOT_FOUND", "REFUND_NOT_DUE", "REFUND_WITHOUT_RECEIPT", "CONFLICT")
@blueprint.response(200, ShownRefund)
def approve_refund(session_id: UUID, refund: int) -> dict[str, Any]:
    """Approve a refund through M-Pesa.

    The worker sends it once. Of two operators who decide at the same moment one gets 409.
    """
    return show_refund(current_services().refunds.approve(session_id, refund, by=_operator()))


@blueprint.route(f"{ONE}refuse/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(RefundReason)
@blueprint.refuses("REFUND_NOT_FOUND", "REFUND_NOT_DUE", "CONFLICT")
@blueprint.response(200, ShownRefund)
def refuse_refund(wanted: dict[str, Any], session_id: UUID, refund: int) -> dict[str, Any]:
    """Hold a refund for now.

    The case stays open: it may be approved later, or returned by other means.
    """
    return show_refund(
        current_services().refunds.refuse(session_id, refund, by=_operator(), reason=wanted["reason"])
    )


@blueprint.route(f"{ONE}returned/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(RefundNote)
@blueprint.refuses("REFUND_NOT_FOUND", "REFUND_NOT_DUE", "REFUND_UNDER_WAY", "CONFLICT")
@blueprint.response(200, ShownRefund)
def record_return(wanted: dict[str, Any], session_id: UUID, refund: int) -> dict[str, Any]:
    """Record that the money went back by other means.

    Refused while M-Pesa is expected to report the result, because the money might go back twice.
    """
    return show_refund(
        current_services().refunds.record_by_hand(session_id, refund, by=_operator(), note=wanted["note"])
    )


@blueprint.route(f"{ONE}not-sent/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(RefundNote)
@blueprint.refuses("REFUND_NOT_FOUND", "REFUND_NOT_DUE", "REFUND_UNDER_WAY", "CONFLICT")
@blueprint.response(200, ShownRefund)
def record_not_sent(wanted: dict[str, Any], session_id: UUID, refund: int) -> dict[str, Any]:
    """Record that a refund in doubt did not go back.

    It is due again. Look at the statement first: money that is sent twice is lost.
    """
    return show_refund(
        current_services().refunds.record_not_sent(session_id, refund, by=_operator(), note=wanted["note"])
    )


def _operator() -> str:
    return operator(caller().user_id)
