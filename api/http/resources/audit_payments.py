"""Auditors find payments, and see one as it is, as it was, and step by step."""

from datetime import datetime
from typing import Any
from uuid import UUID

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services, current_settings
from api.http.middleware.access_log import note_access, reads_personal_data
from api.http.middleware.auth import require_role
from api.http.schemas.audit_schemas import (
    FoundPayments,
    PaymentQuery,
    PaymentSteps,
    PersonalFilters,
    ShownPayment,
)
from api.http.schemas.pagination import AsOfQuery, Cursor, link_after
from api.http.schemas.payment_views import show_found, show_payment, show_steps, show_told, show_verified
from api.issued_tokens import Role
from ledger import clock
from ledger.application import no_such_session
from ledger.session.session import PaymentSession
from ledger.session.values import Evidence, Status
from ledger.store.listing import Key
from payments.verification.one_session import verify_session
from projections.history import Entry, history
from projections.history_steps import entries_until, folded, sessions_at, steps
from projections.payment_filters import Filters, FoundPayment, has_reference, is_named
from projections.payment_search import find_keys, find_payments

blueprint = ApiBlueprint("audit_payments", __name__, description="Find a payment, and see all of it.")


@blueprint.route("/api/audit/payments/", methods=["GET"])
@require_role(Role.AUDITOR)
@reads_personal_data("payments")
@blueprint.arguments(PersonalFilters, location="headers")
@blueprint.arguments(PaymentQuery, location="query")
@blueprint.response(200, FoundPayments)
def find(personal: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
    """Find payments.

    The newest first. Filters can be combined; a payment that changed within the last seconds may not be found by what
    is new. A page may be short, or even empty, before the end: follow `next` until it is null. Phone and
    CheckoutRequestID are headers, for URLs are kept by proxies; send them with `next` again. With `recorded_as_of` the
    payments are shown, and filtered by status and evidence, as they were at that time.
    """
    found, end = found_by(personal, query)
    return {"next": _next(end), "results": [show_found(each) for each in found]}


def found_by(personal: dict[str, Any], query: dict[str, Any]) -> tuple[list[FoundPayment], Key | None]:
    """Return a page of the payments that fit, the newest first, and the key of the next one, None at the end."""
    services, now, size = current_services(), clock.now(), query["page_size"]
    filters = _filters(personal, query)
    after = query["cursor"].key if "cursor" in query else None
    if "recorded_as_of" in query:
        found, end = _found_as_of(filters, after, size, min(query["recorded_as_of"], now))
    else:
        rows, end = find_payments(
            services.database, services.vault, filters, after=after, limit=size, now=now
        )
        # Rows carry no MAC: whoever can write them could make them say anything.
        known = [
            session
            for session in _folded([row.session_id for row in rows], None)
            if has_reference(session, filters, services.vault)
        ]
        found = [FoundPayment.of(session, now) for session in known]
        found = [each for each in found if each.fits(filters)]
    _note_search(filters, [str(each.session_id) for each in found])
    return found, end


@blueprint.route("/api/audit/payments/<uuid:session_id>/", methods=["GET"])
@require_role(Role.AUDITOR)
@reads_personal_data("payment")
@blueprint.arguments(AsOfQuery, location="query")
@blueprint.refuses("SESSION_NOT_FOUND")
@blueprint.response(200, ShownPayment)
def show_one(query: dict[str, Any], session_id: UUID) -> dict[str, Any]:
    """Show a payment.

    Its money, attempts, refunds and story, who acted, and whether what is stored of it can be believed. With `as_of` or
    `at_version` as it was; the verification is of all that is stored now. Where the first event is forged, only its
    story and the verification are there.
    """
    return view_of(session_id, query)


@blueprint.route("/api/audit/payments/<uuid:session_id>/steps/", methods=["GET"])
@require_role(Role.AUDITOR)
@reads_personal_data("steps of a payment, with M-Pesa's messages")
@blueprint.arguments(AsOfQuery, location="query")
@blueprint.refuses("SESSION_NOT_FOUND")
@blueprint.response(200, PaymentSteps)
def show_each_step(query: dict[str, Any], session_id: UUID) -> dict[str, Any]:
    """Show a payment step by step.

    After each event the state, what the buyer was shown at that moment, and M-Pesa's message that caused it, as it
    came: with the phone, unless it was erased.
    """
    services = current_services()
    walked = list(steps(entries_of(session_id, query)))
    shown = show_steps(walked, services.next_actions, services.worker.inbox)
    return {"session_id": session_id, "steps": list(shown)}


def view_of(session_id: UUID, query: dict[str, Any]) -> dict[str, Any]:
    """Return what ShownPayment shows, as of the query. Raises NotFound."""
    services = current_services()
    entries = entries_of(session_id, query)
    verified = verify_session(
        services.database,
        services.vault,
        session_id,
        prompt_seconds=current_settings().daftari_prompt_seconds,
    )
    walked, session = list(steps(entries)), folded(entries)
    shown = show_payment(session, walked, moment_of(entries, query)) if session else {}
    story = [show_told(step) for step in walked]
    return {**shown, "session_id": session_id, "story": story, "verification": show_verified(verified)}


def entries_of(session_id: UUID, query: dict[str, Any]) -> list[Entry]:
    """Return the events of a session up to the moment and the version of a query; raise NotFound without any."""
    services = current_services()
    entries = history(services.database, services.ledger.macs, session_id)
    known = entries_until(entries, as_of=query.get("as_of"), at_version=query.get("at_version"))
    if not known:
        raise no_such_session()
    return known


def moment_of(entries: list[Entry], query: dict[str, Any]) -> datetime:
    """Return the moment that the view is of: the one asked for, the record of the version asked for, or now."""
    if "as_of" in query:
        as_of: datetime = query["as_of"]
        return min(as_of, clock.now())
    return entries[-1].recorded_at if "at_version" in query else clock.now()


def _filters(personal: dict[str, Any], query: dict[str, Any]) -> Filters:
    phone = personal.get("phone")
    return Filters(
        receipt=query.get("receipt"),
        phone=phone.digits if phone else None,
        order_number=query.get("order_number"),
        checkout_reference=query.get("checkout_reference"),
        checkout_id=personal.get("checkout_id"),
        transaction_id=query.get("reference"),
        user_id=query.get("user"),
        day=query.get("day"),
        amount_cents=query.get("amount"),
        status=Status(query["status"]) if "status" in query else None,
        evidence=Evidence(query["evidence"]) if "evidence" in query else None,
    )


def _found_as_of(
    filters: Filters, after: Key | None, size: int, moment: datetime
) -> tuple[list[FoundPayment], Key | None]:
    services = current_services()
    ids, end = find_keys(services.database, services.vault, filters, after=after, limit=size, until=moment)
    known = [session for session in _folded(ids, moment) if is_named(session, filters, services.vault)]
    found = [FoundPayment.of(session, moment) for session in known]
    return [each for each in found if each.fits(filters)], end


def _folded(ids: list[UUID], as_of: datetime | None) -> list[PaymentSession]:
    """Return the sessions that genuine events recorded until a moment come to, in the order of their ids."""
    services = current_services()
    known = sessions_at(services.database, services.ledger.macs, ids, as_of)
    return [known[each] for each in ids if each in known]


def _note_search(filters: Filters, sessions: list[str]) -> None:
    """Say what was searched by, but not for; and whose payments a person's own number led to."""
    note_access(by=[name for name in Filters.__slots__ if getattr(filters, name) is not None])
    if filters.user_id is not None:
        note_access(user_id=filters.user_id)
    if filters.phone or filters.checkout_id:
        note_access(sessions=sessions)


def _next(end: Key | None) -> str | None:
    return link_after("cursor", str(Cursor(end, is_after=True))) if end else None
