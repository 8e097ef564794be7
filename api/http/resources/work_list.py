"""The work list: open cases, and what operators do about them. Auditors may read it."""

from typing import Any

from marshmallow import fields
from marshmallow.validate import Length

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.error_codes import ERROR_CODES
from api.http.framework.json import amount
from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import caller, require_role
from api.http.middleware.idempotency import idempotent
from api.http.schemas.fields import Choice, Moment, RequestSchema, ResponseSchema, Text, one_of
from api.http.schemas.pagination import Page, PagedList, PageQuery
from api.http.schemas.proposal_schemas import NEEDS_ANOTHER, NOT_YOURS, PROPOSED, ShownProposal, show_proposal
from api.issued_tokens import Role
from ledger import clock
from ledger.errors import NotFound
from payments.exceptions import work_list
from payments.exceptions.actions import actions_of
from payments.exceptions.next_steps import Kind
from payments.exceptions.resolutions import MAX_CLOSED_TOGETHER
from payments.exceptions.work_list import Case
from payments.operators.operator import Operator
from payments.operators.proposals import Proposal
from payments.refunds.notes import MAX_CHARACTERS

CANNOT_BE_DONE = (
    "CASE_NOT_FOUND",
    "CASE_NOT_OPEN",
    "CASE_NEEDS_MORE",
    "SESSION_NOT_FOUND",
    "REFUND_NOT_FOUND",
    "REFUND_NOT_DUE",
    "REFUND_WITHOUT_RECEIPT",
    "REFUND_UNDER_WAY",
    "ORDER_NOT_MADE",
    "REFUND_EXCEEDS_ORDER",
    "REFUND_IN_PART",
    "PAYOUT_KNOWN",
)
"""Why a proposal cannot be carried out any more."""

ONE = "/api/work-list/<string:kind>/<string:case_id>/"

blueprint = ApiBlueprint(
    "work_list", __name__, description="Open cases, and what operators can do about them."
)


class WorkQuery(PageQuery):
    """The query of the work list."""

    kind = Choice([str(kind) for kind in Kind], metadata={"description": "Only cases of this kind."})


class CaseAction(ResponseSchema):
    """A request that acts on a case: POST to the path, with a text in the named member."""

    name = fields.String(metadata={"example": "close"})
    path = fields.String()
    field = fields.String(allow_none=True, metadata={"example": "note"})


class ShownCase(ResponseSchema):
    """An open case."""

    kind = fields.String(validate=one_of(Kind))
    case_id = fields.String()
    session_id = fields.UUID(allow_none=True)
    since = Moment()
    age_seconds = fields.Integer()
    amount = fields.Decimal(allow_none=True)
    detail = fields.String()
    what_can_be_done = fields.String()
    actions = fields.List(fields.Nested(CaseAction))


class CaseTally(ResponseSchema):
    """How many cases of a kind are open, and the sum of the money that they name."""

    kind = fields.String(validate=one_of(Kind))
    count = fields.Integer()
    amount = fields.Decimal()


class WorkList(PagedList):
    """A page of open cases, the oldest first; `by_kind` counts all of them."""

    results = fields.List(fields.Nested(ShownCase))
    by_kind = fields.List(fields.Nested(CaseTally))


class CaseNote(RequestSchema):
    """What an operator found or did."""

    note = Text(
        most=MAX_CHARACTERS,
        required=True,
        metadata={
            "description": "What was found or done. It is kept for ever: write no phone number and no name."
        },
    )


class CasesNote(CaseNote):
    """Several cases of a kind, and what an operator found or did about all of them."""

    cases = fields.List(
        Text(most=200),
        required=True,
        validate=Length(1, MAX_CLOSED_TOGETHER, error=f"Name 1 to {MAX_CLOSED_TOGETHER} cases."),
        metadata={"description": "The ids of the cases, as listed."},
    )


class CaseNotClosed(ResponseSchema):
    """A case that could not be closed, and why."""

    case_id = fields.String()
    error_code = fields.String(validate=one_of(ERROR_CODES), metadata={"example": "OWN_PAYMENT"})
    message = fields.String()


class CasesClosed(ResponseSchema):
    """Which cases were closed, and which were not."""

    closed = fields.List(fields.String())
    not_closed = fields.List(fields.Nested(CaseNotClosed))


class CaseOwner(RequestSchema):
    """The session to allocate the payment to."""

    session = fields.String(required=True, metadata={"example": "550e8400-e29b-41d4-a716-446655440000"})


class CaseDone(ResponseSchema):
    """Confirmation of an action on a case; `proposal` is what waits for a second person, null if nothing does."""

    status = fields.String(metadata={"example": "success"})
    message = fields.String()
    proposal = fields.Nested(ShownProposal, allow_none=True)


@blueprint.route("/api/work-list/", methods=["GET"])
@require_role(Role.OPERATOR, Role.AUDITOR)
@reads_personal_data("open cases")
@blueprint.arguments(WorkQuery, location="query")
@blueprint.response(200, WorkList)
def show_work_list(query: dict[str, Any]) -> dict[str, Any]:
    """List the open cases.

    The oldest first: refunds due or in doubt, discrepancies between sources, unmatched payments, dead-lettered messages
    and events. A case that was just closed may be listed for a second more.
    """
    page: Page = query["page"]
    kind = Kind(query["kind"]) if query.get("kind") else None
    database, now = current_services().database, clock.now()
    alarms, macs = current_services().alarms.open(now), current_services().ledger.macs
    tallies = work_list.tally(database, now, alarms=alarms, macs=macs)
    count = sum(tally.cases for known, tally in tallies.items() if kind in (None, known))
    cases = work_list.open_cases(
        database, now, alarms=alarms, macs=macs, kind=kind, page=page.number, page_size=page.size
    )
    by_kind = [
        {"kind": known, "count": tally.cases, "amount": amount(tally.money_cents)}
        for known, tally in tallies.items()
    ]
    return page.show(count, [_show_case(case) for case in cases]) | {"by_kind": by_kind}


@blueprint.route(f"{ONE}close/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(CaseNote)
@blueprint.refuses("CASE_NOT_FOUND", "CASE_NOT_OPEN", "CASE_NEEDS_MORE", *NOT_YOURS, "CONFLICT")
@blueprint.response(200, CaseDone)
@blueprint.alt_response(202, schema=CaseDone, description=PROPOSED)  # type: ignore[untyped-decorator]  # flask-smorest has no types
def close_case(body: dict[str, Any], kind: str, case_id: str) -> Any:
    """Close a case with a note of what was found or done.

    For discrepancies, attempts in doubt, dead-lettered messages and events, unmatched payments and gaps. Of two
    operators who close one, one gets 409.
    """
    proposal = current_services().cases.close(_kind(kind), case_id, by=_operator(), note=body["note"])
    return _done("The case is closed.", proposal)


@blueprint.route("/api/work-list/<string:kind>/close/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(CasesNote)
@blueprint.refuses("CASE_NOT_FOUND", "CASE_NEEDS_MORE")
@blueprint.response(200, CasesClosed)
def close_cases(body: dict[str, Any], kind: str) -> dict[str, Any]:
    """Close several cases of a kind with one note.

    For discrepancies, dead-lettered messages and events, and gaps; others are closed one by one, since each is a
    decision about money. Each is a decision of its own; those that could not be closed, the operator's own among them,
    are named with the reason.
    """
    done = current_services().cases.close_together(
        _kind(kind), body["cases"], by=_operator(), note=body["note"]
    )
    return {
        "closed": done.closed,
        "not_closed": [
            {"case_id": case_id, "error_code": refusal.code, "message": refusal.message}
            for case_id, refusal in done.refused.items()
        ],
    }


@blueprint.route(f"{ONE}assign/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(CaseOwner)
@blueprint.refuses(
    "CASE_NOT_FOUND", "CASE_NOT_OPEN", "CASE_NEEDS_MORE", "SESSION_NOT_FOUND", *NOT_YOURS, "CONFLICT"
)
@blueprint.response(200, CaseDone)
@blueprint.alt_response(202, schema=CaseDone, description=PROPOSED)  # type: ignore[untyped-decorator]  # as above
def assign_case(body: dict[str, Any], kind: str, case_id: str) -> Any:
    """Allocate an unmatched payment to a session.

    It becomes the receipt of a payment without one, settles an attempt in doubt, or is one payment more, for which a
    refund is due. Of two operators who allocate it, one gets 409.
    """
    proposal = current_services().cases.assign(_kind(kind), case_id, body["session"], by=_operator())
    return _done("Payment allocated.", proposal)


@blueprint.route(f"{ONE}retry/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.refuses("CASE_NOT_FOUND", "CASE_NOT_OPEN", "CASE_NEEDS_MORE", "OWN_PAYMENT")
@blueprint.response(200, CaseDone)
def retry_case(kind: str, case_id: str) -> Any:
    """Retry a dead-lettered message or event.

    The worker takes it within seconds. If it fails again, it comes back to the list.
    """
    current_services().cases.retry(_kind(kind), case_id, by=_operator())
    return _done("It will be tried again.")


@blueprint.route(f"{ONE}approve/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.refuses(*CANNOT_BE_DONE, *NOT_YOURS, "CONFLICT")
@blueprint.response(200, CaseDone)
def approve_case(kind: str, case_id: str) -> Any:
    """Approve what another operator, or the refund policy, proposed.

    It is decided again by what is known now, and carried out at once. The proposer, and the buyer, cannot approve it.
    """
    current_services().cases.approve(_kind(kind), case_id, by=_operator())
    return _done("Approved and carried out.")


@blueprint.route(f"{ONE}withdraw/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.refuses("CASE_NOT_FOUND", "CASE_NOT_OPEN", "CASE_NEEDS_MORE")
@blueprint.response(200, CaseDone)
def withdraw_case(kind: str, case_id: str) -> Any:
    """Withdraw what was proposed.

    Nothing is done; what it was about stays open.
    """
    current_services().cases.withdraw(_kind(kind), case_id, by=_operator())
    return _done("Withdrawn.")


@blueprint.route(f"{ONE}refund/", methods=["POST"])
@require_role(Role.OPERATOR)
@idempotent
@blueprint.arguments(CaseNote)
@blueprint.refuses(
    "CASE_NOT_FOUND", "CASE_NOT_OPEN", "CASE_NEEDS_MORE", "SESSION_NOT_FOUND", "OWN_PAYMENT", "CONFLICT"
)
@blueprint.response(200, CaseDone)
def refund_case(body: dict[str, Any], kind: str, case_id: str) -> Any:
    """Give up the order of a session that was paid and got none.

    The session fails and its money becomes a refund due, about which is decided like about any other. If the shop has
    made the order after all, the order is recorded and the answer is 409.
    """
    current_services().cases.refund(_kind(kind), case_id, by=_operator(), note=body["note"])
    return _done("The order is given up, and the money is due back.")


def _operator() -> Operator:
    return Operator(caller().user_id)


def _done(message: str, proposal: Proposal | None = None) -> Any:
    if proposal is None:
        return {"status": "success", "message": message, "proposal": None}
    return {"status": "proposed", "message": NEEDS_ANOTHER, "proposal": show_proposal(proposal)}, 202


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        raise NotFound("There is no such kind of case.", code="CASE_NOT_FOUND") from None


def _show_case(case: Case) -> dict[str, Any]:
    return {
        "kind": case.kind,
        "case_id": case.case_id,
        "session_id": case.session_id,
        "since": case.since,
        "age_seconds": int(case.age.total_seconds()),
        "amount": None if case.money_cents is None else amount(case.money_cents),
        "detail": case.detail,
        "what_can_be_done": case.what_can_be_done,
        "actions": actions_of(case),
    }
