"""The feed of messages: servers ask what happened, page by page, and go on where they stopped, for ever."""

from typing import Any

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import caller, require_role
from api.http.schemas.audit_schemas import log_cursor
from api.http.schemas.message_schemas import FeedQuery, MessageFeedPage
from api.http.schemas.pagination import link_after
from api.issued_tokens import Role

blueprint = ApiBlueprint("events", __name__, description="What happened to payments, for shops' own servers.")


@blueprint.route("/api/events/", methods=["GET"])
@require_role(Role.SERVER)
@blueprint.arguments(FeedQuery, location="query")
@blueprint.response(200, MessageFeedPage)
def list_messages(query: dict[str, Any]) -> dict[str, Any]:
    """Read what happened.

    The messages that webhooks get, in the order of the log: of the sessions that the caller's key made, and of those of
    carts. A page may be short, or even empty, long before the end: follow `next` at once while `has_more`, and keep it
    to go on later.
    """
    page = current_services().message_feed.page(
        caller().key, query["types"], query.get("after", {}), query["limit"], query.get("from_")
    )
    return {
        "next": link_after("after", log_cursor(page.positions)),
        "has_more": page.has_more,
        "results": page.messages,
    }
