"""Checkouts: sessions that a shop's own server opens, with a key, and finds again by its own reference."""

from typing import Any
from uuid import UUID

from api.http.framework import json
from api.http.framework.application import WholeResponse
from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import caller, require_role
from api.http.middleware.idempotency import idempotent_by_session, keyed_request
from api.http.middleware.proxies import payment_url
from api.http.middleware.session_owner import owner_of
from api.http.schemas.checkout_schemas import (
    Checkout,
    CheckoutList,
    CheckoutQuery,
    NewCheckout,
    show_checkout,
)
from api.http.schemas.pagination import Cursor, link_after
from api.http.schemas.session_schemas import show_listed
from api.issued_tokens import Role
from ledger import clock
from ledger.errors import NotAllowed
from ledger.session.session import PaymentSession
from payments.checkout.checkout_rows import CheckoutRow
from payments.checkout.next_action import NEW
from payments.checkout.payment_links import make_link
from payments.checkout.server_checkouts import CheckoutTexts, WantedCheckout
from projections import history, sessions

blueprint = ApiBlueprint(
    "checkouts", __name__, description="Sessions that a shop's own server opens, with lines of its own."
)

_CHECKOUT = Checkout()


@blueprint.route("/api/payments/checkouts/", methods=["POST"])
@require_role(Role.SERVER)
@idempotent_by_session(lambda kept: _shown_again(UUID(kept["session_id"])))
@blueprint.arguments(NewCheckout)
@blueprint.refuses("AMOUNT_OUT_OF_RANGE", "REFERENCE_USED", "TOO_MANY_SESSIONS", "ERASED", "CONFLICT")
@blueprint.response(201, Checkout)
def create_checkout(wanted: WantedCheckout) -> dict[str, Any]:
    """Create a checkout.

    A payment session for lines of your own, or for a plain amount. Send the buyer to `payment_url`, or prompt them by
    `initiate_payment` of the session: its endpoints are open to every key of this one's name.
    """
    keyed = keyed_request(dict, lambda session: (201, {"session_id": str(session.id)}))
    session = current_services().server_checkouts.create(_key_name(), wanted, keyed)
    return _show_created(session, CheckoutTexts.wanted(wanted))


@blueprint.route("/api/payments/checkouts/", methods=["GET"])
@require_role(Role.SERVER)
@blueprint.arguments(CheckoutQuery, location="query")
@blueprint.response(200, CheckoutList)
def list_checkouts(query: dict[str, Any]) -> dict[str, Any]:
    """List the checkouts of this key's name.

    The newest first; with `reference` the one that was created with it.
    """
    rows, after = current_services().server_checkouts.rows, query.get("cursor")
    if "reference" in query:
        return {"next": None, "results": _listed(rows.of_reference(_key_name(), query["reference"]))}
    size = query["page_size"]
    found = rows.page(_key_name(), after.key if after else None, size + 1)
    end = Cursor(found[size - 1].key, is_after=True) if len(found) > size else None
    return {
        "next": link_after("cursor", str(end)) if end else None,
        "results": _listed(found[:size]),
    }


@blueprint.route("/api/payments/checkouts/<uuid:session_id>/", methods=["GET"])
@require_role(Role.SERVER)
@blueprint.refuses("SESSION_NOT_FOUND", "ERASED")
@blueprint.response(200, Checkout)
def show_one_checkout(session_id: UUID) -> dict[str, Any]:
    """Show a checkout, with the reference and the metadata that it was created with."""
    services, now = current_services(), clock.now()
    session = services.ledger.session(session_id, user_id=owner_of(session_id))
    rows = sessions.rows_of(services.database, [session_id], now)
    [next_action] = services.next_actions.of(rows, now)
    texts = services.server_checkouts.texts_of(session)
    return show_checkout(session, texts, _payment_url(session), next_action, now)


def _key_name() -> str:
    """Return the name of the key that sends this request. Raises NotAllowed for a token, which has none."""
    name = caller().key
    if name is None:
        raise NotAllowed("ROLE_REQUIRED", "This needs a server key.")
    return name


def _show_created(session: PaymentSession, texts: CheckoutTexts) -> dict[str, Any]:
    return show_checkout(session, texts, _payment_url(session), NEW, session.created_on)


def _shown_again(session_id: UUID) -> WholeResponse:
    """Return the answer that a checkout was created with. Raises Erased."""
    services = current_services()
    created = history.rows_of_events(services.database, session_id)[:1]
    session = services.ledger.session_of_rows(session_id, created, None)
    shown = _show_created(session, services.server_checkouts.texts_of(session))
    return WholeResponse(json.write(_CHECKOUT.dump(shown)), 201, mimetype="application/json")


def _listed(found: list[CheckoutRow]) -> list[dict[str, Any]]:
    services, now = current_services(), clock.now()
    rows = {
        row.session_id: row
        for row in sessions.rows_of(services.database, [each.session_id for each in found], now)
    }
    next_actions = dict(zip(rows, services.next_actions.of(list(rows.values()), now), strict=True))
    return [
        show_listed(rows[each.session_id], next_actions[each.session_id]) | {"reference": each.reference}
        for each in found
    ]


def _payment_url(session: PaymentSession) -> str:
    return payment_url(make_link(current_services().vault, session.id, session.user_id))
