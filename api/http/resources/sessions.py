"""The checkout contract's five endpoints of payment sessions, and a session's own page and history."""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from flask import Response

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services, current_settings
from api.http.middleware.auth import Caller, admits_links, caller, require_role
from api.http.middleware.idempotency import idempotent_by_command, kept_answer, keyed_request
from api.http.middleware.proxies import payment_url
from api.http.middleware.session_owner import owner_of
from api.http.schemas.pagination import AsOfQuery, Page
from api.http.schemas.session_answers import (
    DUMP_EXTENSION,
    DUMP_PROMPT,
    DUMP_SESSION,
    show_created,
    show_extended,
    show_prompted,
)
from api.http.schemas.session_queries import LastEvent, LongPollQuery, SessionQuery
from api.http.schemas.session_schemas import (
    Extension,
    History,
    InitiateRequest,
    NewSession,
    PaymentUrl,
    Prompt,
    Session,
    SessionList,
    SessionStatus,
    show_listed,
    show_session,
    show_status_of,
)
from api.http.streaming.long_poll import EVENT_STREAM, stream, wait_for_change
from api.http.streaming.notifier import current_notifier
from api.issued_tokens import Role
from ledger import clock
from ledger.application import no_such_session
from ledger.errors import NotFound, wrong_fields
from ledger.session.session import PaymentSession
from ledger.session.values import Status
from ledger.store.caller_texts import line_texts_of
from ledger.store.vault import DELIVERY
from payments.checkout.next_action import NEW, NextAction
from payments.checkout.payment_links import make_link
from payments.services import Services
from projections import history, sessions
from projections.history_steps import entries_until, step_at, steps_at

blueprint = ApiBlueprint(
    "sessions", __name__, description="Pay first: a session for the cart, a prompt, a payment, an order."
)


SETTLED = ("SESSION_EXPIRED", "SESSION_FAILED", "SESSION_ALREADY_PAID")
NO_PROMPT = (
    "SESSION_NOT_FOUND",
    *SETTLED,
    "PAYMENT_IN_PROGRESS",
    "PHONE_BUSY",
    "PROMPTS_LIMITED",
    "TOO_MANY_ATTEMPTS",
    "OUT_OF_STOCK",
    "CONFLICT",
    "ERASED",
    "PAYMENT_REFUSED",
    "MPESA_UNAVAILABLE",
    "PAYMENTS_BUSY",
    "PAYMENTS_PAUSED",
    "SHOP_NOT_CONFIGURED",
    "SHOP_UNAVAILABLE",
)
"""Why a prompt was not sent."""

STATUS_EVENT = {
    "type": "object",
    "required": ["id", "data"],
    "properties": {
        "id": {"type": "string", "description": "The session's version."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/SessionStatus"},
        },
    },
}
"""One server-sent event of a stream, as JSON Schema."""

NO_SLOT = ("TOO_MANY_WAITING", "NO_ROOM_TO_WAIT")
"""Why a request may not wait for a change."""


@blueprint.route("/api/payments/sessions/", methods=["POST"])
@blueprint.hot
@blueprint.reports_unknown_names
@require_role(Role.CUSTOMER)
@idempotent_by_command
@blueprint.arguments(NewSession)
@blueprint.refuses(
    "CART_EMPTY",
    "AMOUNT_OUT_OF_RANGE",
    "OUT_OF_STOCK",
    "ERASED",
    "TOO_MANY_SESSIONS",
    "NO_CARTS",
    "SHOP_UNAVAILABLE",
)
@blueprint.response(201, Session)
def create_session(wanted: dict[str, Any]) -> Any:
    """Create a payment session.

    Prices a snapshot of the caller's cart. No stock is reserved and M-Pesa is not called yet.
    """
    services = current_services()
    keyed = keyed_request(DUMP_SESSION, partial(show_created, wanted["delivery"]))
    session = services.checkout.create(caller().user_id, wanted["delivery"], wanted["phone"], keyed)
    if answer := kept_answer(keyed):
        return answer
    next_action = NEW if session.version == 1 else _next_action(_own_row(session.id))
    return show_session(session, wanted["delivery"], next_action, clock.now())


@blueprint.route("/api/payments/sessions/", methods=["GET"])
@blueprint.reports_unknown_names
@require_role(Role.CUSTOMER)
@blueprint.arguments(SessionQuery, location="query")
@blueprint.response(200, SessionList)
def list_sessions(query: dict[str, Any]) -> dict[str, Any]:
    """List the caller's payment sessions.

    Newest first. Pages do not shift while new sessions are created. With `recorded_as_of` as they were at that time.
    """
    page: Page = query["page"]
    status, services, now = query.get("status"), current_services(), clock.now()
    moment = query.get("recorded_as_of")
    if moment is not None and status:
        raise wrong_fields({"recorded_as_of": ["Leave out `status`: of the past all are listed."]})
    count, rows = sessions.list_of_user(
        services.database,
        caller().user_id,
        page.place,
        status=Status(status) if status else None,
        now=now,
    )
    keys = [row.key for row in rows]
    if moment is not None:
        return page.show(count, _listed_as_of([row.session_id for row in rows], moment), keys)
    next_actions = services.next_actions.of(rows, now)
    listed = [show_listed(row, next_action) for row, next_action in zip(rows, next_actions, strict=True)]
    return page.show(count, listed, keys)


@blueprint.route("/api/payments/sessions/<uuid:session_id>/", methods=["GET"])
@admits_links
@require_role(Role.CUSTOMER, Role.SERVER)
@blueprint.arguments(AsOfQuery, location="query")
@blueprint.refuses("SESSION_NOT_FOUND", "ERASED")
@blueprint.response(200, Session)
def show_one_session(query: dict[str, Any], session_id: UUID) -> dict[str, Any]:
    """Show a payment session.

    With `as_of` or `at_version` as it was; what only that moment knew, such as a limit of prompts, is left out then.
    Who has only the payment link is not told the delivery details and the phone number.
    """
    services, now = current_services(), clock.now()
    if query:
        entries, session = _past(session_id, query)
        now = min(query.get("as_of", entries[-1].recorded_at), now)
        step = step_at(entries, now)
        assert step is not None
        assert step.session_row is not None
        next_action = services.next_actions.as_recorded(step.session_row, now)
    else:
        session = services.ledger.session(session_id, user_id=owner_of(session_id))
        next_action = _next_action(_own_row(session_id))
    details = (
        json.loads(services.vault.decrypt(session.user_id, sealed, purpose=DELIVERY, row=session.id))
        if (sealed := session.delivery_sealed) and caller().only_session is None
        else None
    )
    return show_session(session, details, next_action, now, line_texts_of(services.vault, session))


@blueprint.route("/api/payments/sessions/<uuid:session_id>/initiate_payment/", methods=["POST"])
@blueprint.hot
@blueprint.reports_unknown_names
@admits_links
@require_role(Role.CUSTOMER, Role.SERVER)
@idempotent_by_command
@blueprint.arguments(InitiateRequest, required=False)
@blueprint.refuses(*NO_PROMPT)
@blueprint.response(200, Prompt)
@blueprint.alt_response(202, schema=Prompt, description="M-Pesa's answer was lost")  # type: ignore[untyped-decorator]  # flask-smorest has no types
def initiate_payment(wanted: dict[str, Any], session_id: UUID) -> Any:
    """Send a payment prompt.

    To the session's phone, or to another. 202 if M-Pesa's answer was lost: a prompt may be on the phone; poll the
    status.
    """
    keyed = keyed_request(DUMP_PROMPT, show_prompted)
    prompted = current_services().checkout.initiate(
        owner_of(session_id), session_id, wanted["phone_number"], keyed
    )
    return kept_answer(keyed) or show_prompted(prompted)[::-1]


@blueprint.route("/api/payments/sessions/<uuid:session_id>/status/", methods=["GET"])
@blueprint.reports_unknown_names
@admits_links
@require_role(Role.CUSTOMER, Role.SERVER)
@blueprint.arguments(LongPollQuery, location="query")
@blueprint.refuses("SESSION_NOT_FOUND", *NO_SLOT)
@blueprint.response(200, SessionStatus)
def show_status(long_poll: dict[str, Any], session_id: UUID) -> Any:
    """Show the status of a payment session.

    Reads one row and writes nothing, so poll it as often as is useful. With `wait`, the answer comes as soon as the
    session is beyond version `after`, or expires; otherwise after that many seconds, unchanged.
    """
    found = wait_for_change(
        current_notifier(), lambda: _own_row(session_id), long_poll.get("after"), long_poll["wait"]
    )
    return found if isinstance(found, Response) else show_status_of(found, _next_action(found))


@blueprint.lean_form_of(show_status, SessionStatus())
def read_statuses(
    services: Services, asked: Sequence[tuple[Caller, UUID]]
) -> list[dict[str, Any] | NotFound]:
    """Return the statuses of the readers' own sessions, as `show_status` does without waiting."""
    now = clock.now()
    rows = sessions.rows_of(services.database, {session_id for _, session_id in asked}, now)
    found = {
        row.session_id: (row, each)
        for row, each in zip(rows, services.next_actions.of(rows, now), strict=True)
    }
    return [
        show_status_of(*found[session_id])
        if session_id in found and found[session_id][0].user_id == reader.user_id
        else no_such_session()
        for reader, session_id in asked
    ]


@blueprint.route("/api/payments/sessions/<uuid:session_id>/stream/", methods=["GET"])
@admits_links
@require_role(Role.CUSTOMER, Role.SERVER)
@blueprint.arguments(LastEvent, location="headers")
@blueprint.refuses("SESSION_NOT_FOUND", "INVALID_INPUT", *NO_SLOT)
@blueprint.response(200, STATUS_EVENT, content_type=EVENT_STREAM)
@blueprint.alt_response(204, description="Every change was seen, and no more will come")  # type: ignore[untyped-decorator]  # as above
def stream_status(last_event: dict[str, Any], session_id: UUID) -> Any:
    """Stream the status of a payment session.

    Server-sent events: the status now, then after each change, with the session's version as the event's id. Ends when
    the session is settled, after some minutes, or when the token expires: connect again with `Last-Event-ID` to go on.
    """
    return stream_to(session_id, caller(), last_event.get("last_event_id"))


@blueprint.route("/api/payments/sessions/<uuid:session_id>/extend_session/", methods=["POST"])
@blueprint.hot
@blueprint.reports_unknown_names
@admits_links
@require_role(Role.CUSTOMER, Role.SERVER)
@idempotent_by_command
@blueprint.refuses("SESSION_NOT_FOUND", *SETTLED, "EXTENSION_LIMIT_REACHED", "CONFLICT")
@blueprint.response(200, Extension)
def extend_session(session_id: UUID) -> Any:
    """Extend a payment session.

    The new time counts from the present expiry; a session can be extended a few times only.
    """
    keyed = keyed_request(DUMP_EXTENSION, show_extended)
    session = current_services().checkout.extend(owner_of(session_id), session_id, keyed)
    return kept_answer(keyed) or show_extended(session)[::-1]


@blueprint.route("/api/payments/sessions/<uuid:session_id>/events/", methods=["GET"])
@require_role(Role.CUSTOMER, Role.SERVER)
@blueprint.arguments(AsOfQuery, location="query")
@blueprint.refuses("SESSION_NOT_FOUND")
@blueprint.response(200, History)
def show_events(query: dict[str, Any], session_id: UUID) -> dict[str, Any]:
    """Show a payment session's history.

    Every event, oldest first, as its owner may see it; with `as_of` or `at_version` those until then.
    """
    entries, _ = _past(session_id, query)
    return {"session_id": session_id, "events": history.for_owner(entries)}


@blueprint.route("/api/payments/sessions/<uuid:session_id>/payment_url/", methods=["GET"])
@require_role(Role.CUSTOMER, Role.SERVER)
@blueprint.refuses("SESSION_NOT_FOUND")
@blueprint.response(200, PaymentUrl)
def show_payment_url(session_id: UUID) -> dict[str, Any]:
    """Show the address of a session's payment page.

    Whoever has it can pay there, and sees amount, lines and status: give it to nobody but the buyer. It is always the
    same, and is a bearer token too, `pl_…`, for this session alone.
    """
    row, services = _own_row(session_id), current_services()
    if services.vault.is_erased(row.user_id):
        raise no_such_session()
    return {"payment_url": payment_url(make_link(services.vault, session_id, row.user_id))}


def stream_to(session_id: UUID, reader: Caller, seen: int | None) -> Response:
    """Answer with a stream of the reader's own session, beyond version `seen`, while their token is valid.

    Raises NotFound and Unavailable.
    """
    row = _own_row(session_id, reader)
    seconds = reader.seconds_left(current_settings().daftari_stream_seconds)
    return stream(current_notifier(), row, _next_action(row), seen, seconds, show_status_of)


def _past(session_id: UUID, query: dict[str, Any]) -> tuple[list[history.Entry], PaymentSession]:
    """Return the events of the caller's own session until then, and the session that they come to."""
    services, user_id = current_services(), owner_of(session_id)
    rows = history.rows_of_events(services.database, session_id)
    session = services.ledger.session_of_rows(session_id, rows, user_id)
    entries = entries_until(history.entries_of_genuine(rows), **query)
    if not entries:
        raise no_such_session()
    if len(entries) < len(rows):
        session = services.ledger.session_of_rows(session_id, rows[: len(entries)], user_id)
    return entries, session


def _listed_as_of(session_ids: list[UUID], moment: datetime) -> list[dict[str, Any]]:
    services = current_services()
    known = steps_at(services.database, services.ledger.macs, session_ids, moment)
    rows = [known[each].session_row for each in session_ids if each in known]
    return [show_listed(row, services.next_actions.as_recorded(row, moment)) for row in rows if row]


def _own_row(session_id: UUID, reader: Caller | None = None) -> sessions.SessionRow:
    owner = owner_of(session_id, reader)
    row = sessions.status_of(current_services().database, session_id, owner, clock.now())
    if row is None:
        raise no_such_session()
    return row


def _next_action(row: sessions.SessionRow) -> NextAction:
    return current_services().next_actions.of([row], clock.now())[0]
