"""Refunds: operators decide, auditors read. The worker sends what was approved."""

from typing import Any
from uuid import UUID

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import caller, require_role
from api.http.middleware.idempotency import idempotent, request_name
from api.http.schemas.pagination import Page
from api.http.schemas.proposal_schemas import NOT_YOURS, PROPOSED, show_proposal
from api.http.schemas.refund_schemas import (
    DecidedRefund,
    OrderRefund,
    RefundedOrder,
    RefundList,
    RefundNote,
    RefundQuery,
    RefundReason,
    ShownRefund,
    show_refund,
)
from api.issued_tokens import Role
from ledger.errors import wrong_fields
from ledger.money import CENTS_PER_SHILLING
from ledger.session.values import RefundState
from payments.operators.operator import Operator
from payments.operators.proposals import Proposal
from payments.refunds.order_refunds import OrderRefundRequest

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

    Newest first. A decision shows in the list within a second. With `recorded_as_of` as they were at that time.
    """
    page: Page = query["page"]
    state = RefundState(query["state"]) if query.get("state") else None
    service, moment = current_services().refunds, query.get("recorded_as_of")
    if moment is not None and state is not None:
        raise wrong_fields({"recorded_as_of": ["Leave out `state`: of the past all are listed."]})
    count, found = service.list(page.place, state=state, recorded_as_of=moment)
    return page.show(count, [show_refund(refund) for refund in found], [refund.key for refund in found])


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
@blueprint.refuses("REFUND_NOT_FOUND", "REFUND_NOT_DUE", "REFUND_WITHOUT_RECEIPT", *NOT_YOURS, "CONFLICT")
@blueprint.response(200, DecidedRefund)
@blueprint.alt_response(202, schema=DecidedRefund, description=PROPOSED)  # type: ignore[untyped-decorator]  # flask-smorest has no types
def approve_refund(session_id: UUID, refund: int) -> Any:
    """Approve a refund through M-Pesa.

    The worker sends it once. Of two operators who decide at the same moment one gets 409.
    """
    proposal = current_services().refunds.approve(session_id, refund, by=_operator())
    return _decided(session_id, refund, proposal)


@blueprint.route(f"{ONE}refuse/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(RefundReason)
@blueprint.refuses("REFUND_NOT_FOUND", "REFUND_NOT_DUE", "OWN_PAYMENT", "CONFLICT")
@blueprint.response(200, DecidedRefund)
def refuse_refund(wanted: dict[str, Any], session_id: UUID, refund: int) -> Any:
    """Hold a refund for now.

    The case stays open: it may be approved later, or returned by other means.
    """
    current_services().refunds.refuse(session_id, refund, by=_operator(), reason=wanted["reason"])
    return _decided(session_id, refund)


@blueprint.route(f"{ONE}returned/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(RefundNote)
@blueprint.refuses("REFUND_NOT_FOUND", "REFUND_NOT_DUE", "REFUND_UNDER_WAY", *NOT_YOURS, "CONFLICT")
@blueprint.response(200, DecidedRefund)
@blueprint.alt_response(202, schema=DecidedRefund, description=PROPOSED)  # type: ignore[untyped-decorator]  # as above
def record_return(wanted: dict[str, Any], session_id: UUID, refund: int) -> Any:
    """Record that the money went back by other means.

    Refused while M-Pesa is expected to report the result, because the money might go back twice.
    """
    proposal = current_services().refunds.record_by_hand(
        session_id, refund, by=_operator(), note=wanted["note"]
    )
    return _decided(session_id, refund, proposal)


@blueprint.route(f"{ONE}not-sent/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(RefundNote)
@blueprint.refuses("REFUND_NOT_FOUND", "REFUND_NOT_DUE", "REFUND_UNDER_WAY", "OWN_PAYMENT", "CONFLICT")
@blueprint.response(200, DecidedRefund)
def record_not_sent(wanted: dict[str, Any], session_id: UUID, refund: int) -> Any:
    """Record that a refund in doubt did not go back.

    It is due again. Look at the statement first: money that is sent twice is lost.
    """
    current_services().refunds.record_not_sent(session_id, refund, by=_operator(), note=wanted["note"])
    return _decided(session_id, refund)


@blueprint.route("/api/payments/sessions/<uuid:session_id>/refund/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(OrderRefund)
@blueprint.refuses(
    "SESSION_NOT_FOUND",
    "ORDER_NOT_MADE",
    "REFUND_EXCEEDS_ORDER",
    "REFUND_IN_PART",
    "PAYOUT_KNOWN",
    *NOT_YOURS,
    "CONFLICT",
)
@blueprint.response(200, RefundedOrder)
@blueprint.alt_response(202, schema=RefundedOrder, description=PROPOSED)  # type: ignore[untyped-decorator]  # as above
def refund_order(wanted: dict[str, Any], session_id: UUID) -> Any:
    """Give money of an order back.

    The whole is reversed by the worker, as an approved refund. A part, or a whole that was sent outside, is recorded by
    the receipt of its payout. The session stays `order_created`; its `refund_status` says how far it is.
    """
    services = current_services()
    given = OrderRefundRequest(
        session_id=session_id,
        amount_cents=None if wanted["amount"] is None else int(wanted["amount"] * CENTS_PER_SHILLING),
        payout_receipt=wanted["payout_receipt"],
        reason=wanted["reason"],
        restock=wanted["restock"],
    )
    done = services.order_refunds.refund(given, by=_operator(), request=request_name())
    if isinstance(done, Proposal):
        return {"refund": None, "proposal": show_proposal(done)}, 202
    return {"refund": show_refund(services.refunds.find(session_id, done)), "proposal": None}


def _decided(session_id: UUID, refund: int, proposal: Proposal | None = None) -> Any:
    shown = show_refund(current_services().refunds.find(session_id, refund))
    if proposal is None:
        return shown | {"proposal": None}
    return shown | {"proposal": show_proposal(proposal)}, 202


def _operator() -> Operator:
    return Operator(caller().user_id)
