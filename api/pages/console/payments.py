"""Payments: the search, and one payment whole: for operators with what to do next, for auditors with its verification,
its evidence, and its events step by step beside M-Pesa's messages.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import caller
from api.http.resources.audit_payments import entries_of, found_by, view_of
from api.http.resources.evidence import evidence_of
from api.http.schemas.audit_schemas import PaymentQuery, PersonalFilters
from api.http.schemas.pagination import AsOfQuery, Cursor
from api.http.schemas.payment_views import show_found, show_steps
from api.issued_tokens import Role
from api.pages import wording
from api.pages.console import staff
from api.pages.console.blueprint import in_section, pages, read_query
from api.pages.console.case_words import ACTION_NAMES, DISCREPANCY_NAMES, DONE
from api.pages.console.cases import decisions_about, open_cases_of, shown_decisions
from api.pages.console.navigation import PAYMENTS
from ledger import clock
from ledger.errors import InvalidValue, NotFound, wrong_fields
from ledger.session.status_row import money_of_order
from ledger.session.values import Evidence, RefundStatus, Status
from payments.exceptions.actions import actions_of
from payments.exceptions.candidates import masked_phone
from payments.exceptions.next_steps import KIND_NAMES, next_steps
from projections.history_steps import Step, folded, sessions_at, steps

PERSONAL = {"phone": "Daftari-Phone", "checkout_id": "Daftari-Checkout-Request"}
"""The fields of the form that name a person, which no URL may hold, and what they are called in the API."""

_NOT_IN_A_URL = (
    "A phone and a CheckoutRequestID name a person and stand in no URL: search for them by the form."
)
UNWRITTEN = {*PERSONAL, "checkout_reference"}
"""The fields whose search leads to no URL: a shop may have put a name into its reference."""

SHOWN_FILTERS = ("receipt", "order_number", "reference", "user", "day", "amount", "status", "evidence")


@pages.get("/payments/")
@in_section(PAYMENTS)
def show_payments() -> tuple[str, int]:
    """Show the payments that fit the query, the newest first."""
    named = request.args.keys() & PERSONAL.keys()
    if named:
        raise wrong_fields({name: [_NOT_IN_A_URL] for name in named})
    return _found(request.args)


@pages.post("/payments/")
@in_section(PAYMENTS)
def search() -> AnyResponse | tuple[str, int]:
    """Search by what the form says. What names a person is searched by here, and all else by a URL that can be kept."""
    given = {name: text for name, text in request.form.items() if text.strip() and name != staff.PROOF}
    if given.keys() & UNWRITTEN:
        return _found(given)
    return redirect(url_for("console.show_payments", **given), 303)  # type: ignore[arg-type]  # names of fields


def _found(given: Mapping[str, str]) -> tuple[str, int]:
    """Return the page of a search, with its status; what is wrong with a field stands beside it."""
    try:
        personal = {PERSONAL[name]: text for name, text in given.items() if name in PERSONAL}
        others = {name: text for name, text in given.items() if name not in PERSONAL}
        shown = _search(read_query(PersonalFilters, personal), read_query(PaymentQuery, others))
    except InvalidValue as error:
        names = {api: name for name, api in PERSONAL.items()}
        errors = {names.get(field, field): " ".join(told) for field, told in error.errors.items()}
        return _page(given, errors=errors, results=[], cursor=None), 400
    return _page(given, errors={}, **shown), 200


@reads_personal_data("payments")
def _search(personal: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
    found, end = found_by(personal, query)
    return {
        "results": [show_found(each) for each in found],
        "cursor": str(Cursor(end, is_after=True)) if end else None,
    }


def _page(given: Mapping[str, str], **shown: Any) -> str:
    return render_template(
        "console/payments.html",
        given=given,
        is_personal=bool(given.keys() & UNWRITTEN),
        is_searched=any(given.get(name, "").strip() for name in (*SHOWN_FILTERS, *UNWRITTEN)),
        statuses=Status,
        evidences=Evidence,
        status_names=wording.STATUS_NAMES,
        **shown,
    )


@pages.get("/payments/<uuid:session_id>/")
@in_section(PAYMENTS)
@reads_personal_data("payment")
def show_payment(session_id: UUID) -> str:
    """Show a payment whole: money, attempts, refunds, story, and whether what is stored of it can be believed."""
    query = read_query(AsOfQuery, {name: text for name, text in request.args.items() if name != "done"})
    return render_template(
        "console/payment.html",
        payment=view_of(session_id, query),
        is_past=bool(query),
        audits=Role.AUDITOR in caller().roles,
        facts=None if query else _facts_for_operators(session_id),
        done=DONE.get(request.args.get("done", "")),
        status_names=wording.STATUS_NAMES,
        event_names=wording.EVENT_NAMES,
        kind_names=KIND_NAMES,
        discrepancy_names=DISCREPANCY_NAMES,
        action_names=ACTION_NAMES,
    )


def _facts_for_operators(session_id: UUID) -> dict[str, Any] | None:
    """Return what operators need beside a payment: the next steps, its open cases, what was decided, what can go back.

    None without a genuine event.
    """
    services, now = current_services(), clock.now()
    session = sessions_at(services.database, services.ledger.macs, [session_id], None).get(session_id)
    if session is None:
        return None
    acts = Role.OPERATOR in caller().roles
    money = money_of_order(session)
    return {
        "steps": list(next_steps(session, session.status_at(now))),
        "cases": [(case, actions_of(case) if acts else []) for case in open_cases_of(session_id)],
        "decisions": shown_decisions(decisions_about(session)),
        "phone": masked_phone(services.vault, session),
        "refunds_order": acts and session.order is not None and money.status != RefundStatus.REFUNDED,
    }


@pages.get("/payments/<uuid:session_id>/evidence.zip")
@in_section(PAYMENTS, Role.AUDITOR)
@reads_personal_data("evidence")
def take_evidence(session_id: UUID) -> Response:
    """Return the evidence pack of a payment, for someone who does not trust us."""
    return evidence_of(session_id, None)


@pages.get("/payments/<uuid:session_id>/timeline/")
@in_section(PAYMENTS, Role.AUDITOR)
@reads_personal_data("steps of a payment, with M-Pesa's messages")
def show_timeline(session_id: UUID) -> str:
    """Show one step of a payment: what it changed, what the buyer saw then, and M-Pesa's message beside it."""
    walked = list(steps(entries_of(session_id, {})))
    versions = {step.entry.version: place for place, step in enumerate(walked)}
    number = read_query(AsOfQuery).get("at_version", walked[-1].entry.version)
    if number not in versions:
        raise NotFound(f"This payment has no event of version {number}.")
    place = versions[number]
    before = walked[place - 1] if place else None
    return render_template(
        "console/timeline.html",
        session_id=session_id,
        walked=walked,
        step=_shown_step(walked[place]),
        notice=_buyers_notice(walked[: place + 1]),
        changes=_changes(before, walked[place]),
        before=before and before.entry.version,
        after=walked[place + 1].entry.version if place + 1 < len(walked) else None,
        status_names=wording.STATUS_NAMES,
        event_names=wording.EVENT_NAMES,
    )


def _shown_step(step: Step) -> dict[str, Any]:
    services = current_services()
    [shown] = show_steps([step], services.next_actions, services.worker.inbox)
    return shown


def _buyers_notice(walked: list[Step]) -> wording.Notice | None:
    """Return what the payment's page said after the last of these steps; None where an event is forged."""
    last, session = walked[-1], folded([step.entry for step in walked])
    if last.session_row is None or session is None:
        return None
    moment = last.entry.recorded_at
    next_action = current_services().next_actions.as_recorded(last.session_row, moment)
    return wording.notice_of(session, session.status_at(moment), next_action, "their phone")


def _changes(before: Step | None, step: Step) -> list[tuple[str, str, str]]:
    """Return what a step changed in the state: the name, the value before, the value after."""
    old, new = (before.state if before else None) or {}, step.state or {}
    return [
        (wording.words_of(name), _value(name, old.get(name)), _value(name, value))
        for name, value in new.items()
        if value != old.get(name) and not name.endswith("_sealed")
    ]


def _value(name: str, value: Any) -> str:
    if value is None:
        return wording.NOTHING
    if name == "session_status":
        return wording.STATUS_NAMES[Status(value)]
    if name.endswith("_cents"):
        return wording.shillings(value)
    return wording.moment_to_the_second(value) if hasattr(value, "astimezone") else str(value)
