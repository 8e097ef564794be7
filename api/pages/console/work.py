"""The open cases with their actions, for operators; auditors only read.

It needs no script: each button is a form, which calls the same services as the API.
"""

from collections.abc import Callable
from uuid import UUID

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import caller
from api.http.schemas.pagination import MAX_PAGE
from api.issued_tokens import Role
from api.pages.console.blueprint import in_section, pages
from api.pages.console.case_words import ACTION_NAMES, DONE
from api.pages.console.navigation import CASES
from ledger import clock
from ledger.errors import LedgerError, NotFound
from ledger.money import Money
from payments.exceptions import work_list
from payments.exceptions.actions import actions_of
from payments.exceptions.next_steps import CLOSED_TOGETHER, KIND_NAMES, Kind
from payments.operators.operator import Operator
from payments.operators.proposals import Proposal
from payments.refunds.notes import parse_note
from payments.refunds.order_refunds import OrderRefundRequest, parse_session_id

CASES_SHOWN = 50

_WITHOUT_HISTORY = frozenset({Kind.DECISION_PROPOSED, Kind.SWITCHED_OFF})
"""Of these cases nothing is left to be shown once they are decided: what was decided is in the history of another."""


@pages.get("/work/")
@in_section(CASES)
@reads_personal_data("open cases")
def show_work() -> str:
    """Show the open cases."""
    here = caller()
    kind = Kind(request.args["kind"]) if request.args.get("kind") in set(Kind) else None
    number = min(max(request.args.get("page", 1, int), 1), MAX_PAGE)
    database, now = current_services().database, clock.now()
    alarms, macs = current_services().alarms.open(now), current_services().ledger.macs
    tallies = work_list.tally(database, now, alarms=alarms, macs=macs)
    count = sum(tally.cases for known, tally in tallies.items() if kind in (None, known))
    cases = work_list.open_cases(
        database,
        now,
        alarms=alarms,
        macs=macs,
        kind=kind,
        page=number,
        page_size=CASES_SHOWN,
        zone=clock.NAIROBI,
    )
    return render_template(
        "console/list.html",
        cases=[(case, actions_of(case) if Role.OPERATOR in here.roles else []) for case in cases],
        tallies={known: tally for known, tally in tallies.items() if tally.cases},
        kind=kind,
        number=number,
        count=count,
        has_more=number * CASES_SHOWN < count,
        acts=Role.OPERATOR in here.roles,
        together=kind in CLOSED_TOGETHER,
        kind_names=KIND_NAMES,
        action_names=ACTION_NAMES,
        done=DONE.get(request.args.get("done", "")),
    )


@pages.post("/work/act/")
@in_section(CASES, Role.OPERATOR)
def act() -> AnyResponse:
    """Perform the action of a button, as the operator who is signed in."""
    kind, action = request.form.get("kind", ""), request.form.get("action", "")
    if kind not in set(Kind) or action not in ACTION_NAMES:
        raise NotFound("There is no such action.")
    case_id, text = request.form.get("case_id", ""), request.form.get("text", "")
    done = _do(Kind(kind), case_id, action, text, Operator(caller().user_id))
    if request.form.get("page") == "case" and kind not in _WITHOUT_HISTORY:
        return redirect(url_for("console.show_case", kind=kind, case_id=case_id, done=done), 303)
    return redirect(url_for("console.show_work", kind=request.form.get("filter") or None, done=done), 303)


@pages.post("/work/close-together/")
@in_section(CASES, Role.OPERATOR)
def close_together() -> str:
    """Close the cases that were ticked, or all that the page shows, as the operator who is signed in."""
    kind, given = request.form.get("kind", ""), request.form
    if kind not in set(Kind):
        raise NotFound("There is no such action.")
    case_ids = given.getlist("shown" if given.get("which") == "shown" else "ticked")
    done = current_services().cases.close_together(
        Kind(kind), case_ids, by=Operator(caller().user_id), note=given.get("text", "")
    )
    return render_template("console/closed.html", closed=len(done.closed), left=done.refused, kind=kind)


@pages.post("/work/refund-order/")
@in_section(CASES, Role.OPERATOR)
def refund_order() -> AnyResponse:
    """Give money of an order back, as the operator who is signed in."""
    given = request.form.get
    wanted = OrderRefundRequest(
        session_id=parse_session_id(given("session", "")),
        amount_cents=_cents(given("amount", "")),
        payout_receipt=given("payout_receipt", ""),
        reason=given("reason", ""),
        restock="restock" in request.form,
    )
    done = current_services().order_refunds.refund(wanted, by=Operator(caller().user_id))
    name = "proposed" if isinstance(done, Proposal) else "refund-order"
    return redirect(url_for("console.show_payment", session_id=wanted.session_id, done=name), 303)


@pages.post("/work/switch-off/")
@in_section(CASES, Role.OPERATOR)
def switch_off() -> AnyResponse:
    """Stop all prompts or refunds, as the operator who is signed in."""
    _turn(
        request.form.get("name", ""), request.form.get("reason", ""), Operator(caller().user_id), is_on=False
    )
    return redirect(url_for("console.show_work", done="off"), 303)


def _turn(name: str, reason: str, by: Operator, *, is_on: bool) -> None:
    current_services().switches.turn(name, is_on=is_on, reason=parse_note(reason, "reason"), by=by)


def _cents(text: str) -> int | None:
    return Money.parse(text.strip()).cents if text.strip() else None


def _do(kind: Kind, case_id: str, action: str, text: str, by: Operator) -> str:
    """Do what a button says; return the name in DONE of what came of it."""
    cases = current_services().cases
    of_cases: dict[str, Callable[[], Proposal | None]] = {
        "refund": lambda: cases.refund(kind, case_id, by=by, note=text),
        "close": lambda: cases.close(kind, case_id, by=by, note=text),
        "retry": lambda: cases.retry(kind, case_id, by=by),
        "assign": lambda: cases.assign(kind, case_id, text, by=by),
        "withdraw": lambda: cases.withdraw(kind, case_id, by=by),
    }
    if kind == Kind.SWITCHED_OFF and action == "on":
        _turn(case_id, text, by, is_on=True)
        return action
    if kind == Kind.DECISION_PROPOSED and action == "approve":
        cases.approve(kind, case_id, by=by)
        return "approve-proposal"
    proposal = of_cases[action]() if action in of_cases else _decide_refund(case_id, action, text, by)
    return "proposed" if proposal else action


def _decide_refund(case_id: str, action: str, text: str, by: Operator) -> Proposal | None:
    refunds = current_services().refunds
    session_id, refund = _refund_of(case_id)
    decide: dict[str, Callable[[], Proposal | None]] = {
        "approve": lambda: refunds.approve(session_id, refund, by=by),
        "refuse": lambda: refunds.refuse(session_id, refund, by=by, reason=text),
        "returned": lambda: refunds.record_by_hand(session_id, refund, by=by, note=text),
        "not-sent": lambda: refunds.record_not_sent(session_id, refund, by=by, note=text),
    }
    return decide[action]()


def _refund_of(case_id: str) -> tuple[UUID, int]:
    session_id, _, number = case_id.partition(".refund.")
    try:
        return UUID(session_id), int(number)
    except ValueError:
        raise _no_refund() from None


def _no_refund() -> LedgerError:
    return NotFound("There is no such refund.", code="REFUND_NOT_FOUND")
