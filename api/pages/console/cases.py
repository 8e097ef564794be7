"""One case with the facts to solve it, the choice of a session for an unmatched payment, and the closed cases."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from flask import render_template, request

from api.http.framework.services import current_services
from api.http.middleware.access_log import note_access, reads_personal_data
from api.http.middleware.auth import caller
from api.http.schemas.audit_schemas import UserNumber, is_in_calendar
from api.http.schemas.fields import Choice, Day
from api.http.schemas.pagination import Cursor, CursorText, KeysetQuery
from api.issued_tokens import Role
from api.pages import wording
from api.pages.console.blueprint import in_section, pages, read_query
from api.pages.console.case_words import (
    ACTION_NAMES,
    DECIDED,
    DECIDED_KINDS,
    DECISIONS,
    DONE,
)
from api.pages.console.navigation import CASES
from ledger import clock
from ledger.errors import InvalidValue, NotFound, Rejected
from ledger.session.session import PaymentSession
from ledger.store.audit_log import AuditEntry
from payments.exceptions import work_list
from payments.exceptions.actions import actions_of
from payments.exceptions.candidates import masked_phone, phones_of, shown_reference, typed_of
from payments.exceptions.closed_cases import Wanted, closed_cases, decided_about, kind_of
from payments.exceptions.next_steps import KIND_NAMES, Kind
from payments.exceptions.work_list import Case
from payments.operators.stakes import digests_of_payer
from payments.reconciliation.movements import OpenMovement
from projections.history_steps import sessions_at

OF_MOVEMENTS = (Kind.MONEY_UNKNOWN, Kind.MONEY_CLAIMED_TWICE, Kind.MONEY_WENT_BACK)
ONE = "/work/<kind>/<case_id>/"


class ClosedQuery(KeysetQuery):
    """Which decisions are wanted."""

    kind = Choice(list(DECIDED_KINDS))
    day = Day(validate=is_in_calendar)
    user = UserNumber()
    cursor = CursorText(UUID)


@pages.get("/work/closed/")
@in_section(CASES)
def show_closed() -> str:
    """Show what operators decided about cases, the latest first."""
    query = read_query(ClosedQuery)
    after = query["cursor"].key if "cursor" in query else None
    wanted = Wanted(query.get("kind"), query.get("day"), query.get("user"))
    found, end = closed_cases(current_services().audit_log, wanted, after=after, limit=query["page_size"])
    return render_template(
        "console/closed_cases.html",
        decisions=shown_decisions(found),
        cursor=str(Cursor(end, is_after=True)) if end else None,
        kinds=DECIDED_KINDS,
    )


@pages.route(ONE, methods=["GET", "POST"])
@in_section(CASES)
@reads_personal_data("case")
def show_case(kind: str, case_id: str) -> str:
    """Show a case whole. A form in it searches for the session of an unmatched payment: what is typed is in no URL."""
    known = _kind(kind)
    case = _find(known, case_id)
    payment, trouble = _payment(case)
    session = _session(case.session_id if case else None)
    now = clock.now()
    wanted, problem, searched = request.form.get("find", ""), "", []
    is_asked = payment is not None and known == Kind.MONEY_UNKNOWN
    if is_asked and payment and request.method == "POST":
        try:
            searched = current_services().candidates.found_by(wanted, payment, now)
        except InvalidValue as error:
            problem = error.message
    decisions = decisions_about(session, case=(known, case_id), payment=payment)
    if case is None and not decisions:
        raise NotFound("There is no such case.", code="CASE_NOT_FOUND")
    return render_template(
        "console/case.html",
        kind=known,
        case_id=case_id,
        case=case,
        actions=actions_of(case) if case and Role.OPERATOR in caller().roles else [],
        payment=payment,
        proposed=_proposed(case),
        trouble=trouble,
        typed=shown_reference(typed_of(payment.movement)) if payment else "",
        session=session,
        refund=session.refunds.get(case.number or 0)
        if case and session and case.subject == "refund"
        else None,
        phone=masked_phone(current_services().vault, session) if session else None,
        status=session.status_at(now) if session else None,
        candidates=current_services().candidates.of(payment, now) if is_asked and payment else [],
        is_asked=is_asked,
        searched=searched,
        find=wanted,
        problem=problem,
        decisions=shown_decisions(decisions),
        done=DONE.get(request.args.get("done", "")),
        now=now,
        **_words(),
    )


@pages.get(f"{ONE}allocate/<uuid:session_id>/")
@in_section(CASES, Role.OPERATOR)
@reads_personal_data("case")
def choose_session(kind: str, case_id: str, session_id: UUID) -> str:
    """Show a payment beside the session that it is to be allocated to, and what that would do."""
    case = _find(_kind(kind), case_id)
    payment, trouble = _payment(case)
    if kind != Kind.MONEY_UNKNOWN or case is None or payment is None:
        raise NotFound(trouble or "There is no such case.", code="CASE_NOT_FOUND")
    now = clock.now()
    return render_template(
        "console/allocate.html",
        case=case,
        payment=payment,
        typed=shown_reference(typed_of(payment.movement)),
        chosen=current_services().candidates.one(session_id, payment, now),
        now=now,
        **_words(),
    )


def shown_decisions(entries: list[AuditEntry]) -> list[dict[str, Any]]:
    """Return entries of the audit log as rows of a table: what it was about, what was decided, by whom and why."""
    return [_shown_decision(entry) for entry in entries]


def _shown_decision(entry: AuditEntry) -> dict[str, Any]:
    details, kind = entry.details, kind_of(entry)
    action = str(details.get("action", ""))
    cents = details.get("amount_cents")
    return {
        "at": entry.recorded_at,
        "about": DECIDED_KINDS.get(kind, kind),
        "kind": kind if kind in set(Kind) else None,
        "case_id": details.get("case_id"),
        "subject": entry.subject,
        "decided": DECIDED.get(action, wording.words_of(action)),
        "more": DECISIONS.get(entry.kind, ""),
        "session_id": _uuid(details.get("session")) or _session_in(entry.subject),
        "cents": cents if isinstance(cents, int) and cents > 0 else None,
        "by": entry.actor,
        "reason": entry.reason,
        "is_genuine": entry.is_genuine,
    }


def decisions_about(
    session: PaymentSession | None,
    *,
    case: tuple[Kind, str] | None = None,
    payment: OpenMovement | None = None,
) -> list[AuditEntry]:
    """Return what was decided about a case, a session, and what else was paid from the same phones."""
    services = current_services()
    payers = set(payment.payer_digests) if payment else set[str]()
    sessions = services.candidates.of_same_phone(session, clock.now()) if session else []
    for phone in phones_of(services.vault, session) if session else ():
        payers |= digests_of_payer(services.vault, phone)
    return decided_about(services.database, services.audit_log, sessions, case=case, payers=payers)


def open_cases_of(session_id: UUID) -> list[Case]:
    """Return the open cases of a session."""
    services, now = current_services(), clock.now()
    return work_list.open_cases(
        services.database, now, macs=services.ledger.macs, session_id=session_id, zone=clock.NAIROBI
    )


def _kind(text: str) -> Kind:
    if text not in set(Kind):
        raise NotFound("There is no such case.", code="CASE_NOT_FOUND")
    return Kind(text)


def _find(kind: Kind, case_id: str) -> Case | None:
    services, now = current_services(), clock.now()
    cases = work_list.open_cases(
        services.database,
        now,
        alarms=services.alarms.open(now),
        macs=services.ledger.macs,
        kind=kind,
        case_id=case_id,
        page_size=1,
        zone=clock.NAIROBI,
    )
    return cases[0] if cases else None


def _payment(case: Case | None) -> tuple[OpenMovement | None, str]:
    """Return what M-Pesa told of the payment that a case is about, or why that cannot be believed."""
    if case is None or case.kind not in OF_MOVEMENTS:
        return None, ""
    try:
        return current_services().candidates.payment(case.case_id), ""
    except Rejected as refusal:
        return None, refusal.message


def _proposed(case: Case | None) -> Mapping[str, Any]:
    """Return the arguments of the decision that a case proposes; none if it proposes none."""
    if case is None or case.kind != Kind.DECISION_PROPOSED:
        return {}
    with suppress(Rejected):
        return current_services().cases.proposal(case.case_id).arguments
    return {}


def _session(session_id: UUID | None) -> PaymentSession | None:
    """Return a session as its genuine events say; None without one."""
    if session_id is None:
        return None
    note_access(session_id=str(session_id))
    services = current_services()
    return sessions_at(services.database, services.ledger.macs, [session_id], None).get(session_id)


def _words() -> dict[str, Any]:
    return {
        "kind_names": KIND_NAMES,
        "action_names": ACTION_NAMES,
        "status_names": wording.STATUS_NAMES,
        "span": wording.span_between,
    }


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None


def _session_in(subject: str) -> UUID | None:
    """Return the session that the subject of a decision names, None if it names none."""
    for word in subject.replace(".", " ").split():
        found = _uuid(word)
        if found is not None:
            return found
    return None
