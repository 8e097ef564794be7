"""The work page: the open cases with their actions, for operators; auditors only read. Also in production.

It needs no script: each button is a form, which calls the same services as the API.
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.http.framework.error_responses import refusal_of
from api.http.framework.services import current_services
from api.http.middleware.access_log import record_access
from api.http.middleware.auth import Role
from api.http.schemas.pagination import MAX_PAGE
from api.pages import operators, wording
from ledger import clock
from ledger.errors import InvalidValue, LedgerError, NotFound
from payments.exceptions import work_list
from payments.exceptions.actions import actions_of
from payments.exceptions.work_list import Kind
from payments.refunds.decisions import operator

CASES_SHOWN = 50

KIND_NAMES = {
    Kind.REFUND_DUE: "Refund due",
    Kind.REFUND_HELD: "Refund held",
    Kind.REFUND_IN_DOUBT: "Refund in doubt",
    Kind.REFUND_UNDER_WAY: "Refund overdue",
    Kind.CONTRADICTION: "Discrepancy",
    Kind.ATTEMPT_IN_DOUBT: "Payment in doubt",
    Kind.RECEIPT_MISSING: "Receipt missing",
    Kind.ORDER_MISSING: "Order missing",
    Kind.MONEY_UNKNOWN: "Unmatched payment",
    Kind.MONEY_CLAIMED_TWICE: "Payment claimed twice",
    Kind.MONEY_WENT_BACK: "Payment reversed",
    Kind.MESSAGE_DEAD_LETTERED: "Inbound message dead-lettered",
    Kind.EVENT_DEAD_LETTERED: "Event dead-lettered",
    Kind.PULL_GAP: "Pull gap",
    Kind.MPESA_SET_UP: "M-Pesa setup rejected",
}
ACTION_NAMES = {
    "approve": "Approve refund",
    "refuse": "Hold",
    "returned": "Returned by other means",
    "not-sent": "Was not sent",
    "close": "Close",
    "retry": "Try again",
    "assign": "Allocate to this session",
    "refund": "Give up the order and refund",
}
DONE = {
    "approve": "Approved: the worker requests the refund.",
    "refuse": "Held, with your reason.",
    "returned": "Recorded as returned.",
    "not-sent": "Recorded as not sent: it is due again.",
    "close": "Closed.",
    "retry": "It will be tried again.",
    "assign": "Payment allocated.",
    "refund": "The order is given up, and the money is due back.",
}

pages = Blueprint(
    "work", __name__, template_folder="templates", static_folder="static", static_url_path="/work/static"
)
for show in (wording.shillings, wording.moment, wording.age, wording.case_detail):
    pages.add_app_template_filter(show)


@pages.after_request
def keep_out_of_caches(response: AnyResponse) -> AnyResponse:
    """Keep pages out of caches: they name sessions and amounts."""
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response


@pages.errorhandler(Exception)
def show_error(error: Exception) -> tuple[str, int, Mapping[str, str]]:
    """Show a refusal, or a fault, as a page."""
    refusal = refusal_of(error)
    messages = [refusal.message]
    if isinstance(error, InvalidValue):
        messages = [message for found in error.errors.values() for message in found] or messages
    return render_template("work/error.html", messages=messages), refusal.status, refusal.headers


@pages.get("/work/")
def show_work() -> AnyResponse | str:
    """Show the open cases, or the form to sign in."""
    here = operators.signed_in()
    if here is None:
        return _sign_in_form()
    record_access(here, "open cases", {})
    kind = Kind(request.args["kind"]) if request.args.get("kind") in set(Kind) else None
    number = min(max(request.args.get("page", 1, int), 1), MAX_PAGE)
    database, now = current_services().database, clock.now()
    tallies = work_list.tally(database, now)
    count = sum(tally.cases for known, tally in tallies.items() if kind in (None, known))
    cases = work_list.open_cases(database, now, kind=kind, page=number, page_size=CASES_SHOWN)
    return render_template(
        "work/list.html",
        cases=[(case, actions_of(case) if Role.OPERATOR in here.roles else []) for case in cases],
        tallies={known: tally for known, tally in tallies.items() if tally.cases},
        kind=kind,
        number=number,
        count=count,
        has_more=number * CASES_SHOWN < count,
        proof=operators.proof_of(operators.form_secret()),
        kind_names=KIND_NAMES,
        action_names=ACTION_NAMES,
        done=DONE.get(request.args.get("done", "")),
    )


def _sign_in_form() -> AnyResponse:
    secret = operators.form_secret()
    shown = render_template(
        "work/sign_in.html", demo=operators.has_demo_operator(), proof=operators.proof_of(secret)
    )
    response = make_response(shown)
    if operators.COOKIE not in request.cookies:
        operators.know_browser(response, secret)
    return response


@pages.post("/work/sign-in/")
def sign_in() -> AnyResponse:
    """Take an operator's or auditor's token, or in development the demo operator's."""
    operators.require_proof()
    given = request.form.get("token", "")
    token = operators.demo_token() if "demo" in request.form else operators.check(given)
    response = redirect(url_for("work.show_work"), 303)
    operators.sign_in(response, token)
    return response


@pages.post("/work/sign-out/")
def sign_out() -> AnyResponse:
    """Sign out, for good: the token is refused from now on, in a cookie that was kept and in the API too."""
    operators.require_proof()
    response = redirect(url_for("work.show_work"), 303)
    if (here := operators.signed_in()) is not None:
        here.revoke_own_token(current_services().revocations)
    operators.sign_out(response)
    return response


@pages.post("/work/act/")
def act() -> AnyResponse:
    """Perform the action of a button, as the operator who is signed in."""
    here = operators.signed_in_operator()
    if here is None:
        return redirect(url_for("work.show_work"), 303)
    operators.require_proof()
    kind, action = request.form.get("kind", ""), request.form.get("action", "")
    if kind not in set(Kind) or action not in DONE:
        raise NotFound("There is no such action.")
    _do(
        Kind(kind),
        request.form.get("case_id", ""),
        action,
        request.form.get("text", ""),
        operator(here.user_id),
    )
    return redirect(url_for("work.show_work", kind=request.form.get("filter") or None, done=action), 303)


def _do(kind: Kind, case_id: str, action: str, text: str, by: str) -> None:
    services = current_services()
    if action == "close":
        services.cases.close(kind, case_id, by=by, note=text)
    elif action == "retry":
        services.cases.retry(kind, case_id)
    elif action == "assign":
        services.cases.assign(kind, case_id, text, by=by)
    elif action == "refund":
        services.cases.refund(kind, case_id, by=by, note=text)
    else:
        session_id, refund = _refund_of(case_id)
        decide: dict[str, Callable[[], Any]] = {
            "approve": lambda: services.refunds.approve(session_id, refund, by=by),
            "refuse": lambda: services.refunds.refuse(session_id, refund, by=by, reason=text),
            "returned": lambda: services.refunds.record_by_hand(session_id, refund, by=by, note=text),
            "not-sent": lambda: services.refunds.record_not_sent(session_id, refund, by=by, note=text),
        }
        decide[action]()


def _refund_of(case_id: str) -> tuple[UUID, int]:
    session_id, _, number = case_id.partition(".refund.")
    try:
        return UUID(session_id), int(number)
    except ValueError:
        raise _no_refund() from None


def _no_refund() -> LedgerError:
    return NotFound("There is no such refund.", code="REFUND_NOT_FOUND")
