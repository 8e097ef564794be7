"""Auditors page through the whole log, and go on where they stopped, for ever."""

from typing import Any

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.access_log import note_access, reads_personal_data
from api.http.middleware.auth import require_role
from api.http.schemas.audit_schemas import MAX_EVENTS, TOPICS, EventQuery, LogEvents, log_cursor
from api.http.schemas.pagination import link_after
from api.issued_tokens import Role
from projections.history import for_auditor
from projections.log_pages import LogFilters, LogPage, read_log

blueprint = ApiBlueprint("audit_events", __name__, description="The whole log.")


@blueprint.route("/api/audit/events/", methods=["GET"])
@require_role(Role.AUDITOR)
@reads_personal_data("events of the log")
@blueprint.arguments(EventQuery, location="query")
@blueprint.response(200, LogEvents)
def list_events(query: dict[str, Any]) -> dict[str, Any]:
    """Read the log.

    Every event in the order of its position, without encrypted personal data. With filters a page may be short, or even
    empty, long before the end: follow `next` while `has_more`, and keep it to go on later.
    """
    services = current_services()
    filters = LogFilters(
        topics=[TOPICS[query["type"]]] if "type" in query else None,
        actor=query.get("actor"),
        since=query.get("from_"),
        until=query.get("to"),
        user_id=query.get("user"),
        receipt=query.get("receipt"),
    )
    size = min(query["page_size"], MAX_EVENTS)
    page = read_log(services.database, services.ledger.macs, filters, query.get("after", {}), size)
    note_access(by=sorted(name.strip("_") for name in query.keys() - {"after", "page_size"}))
    if filters.user_id is not None:
        note_access(user_id=filters.user_id)
    return _show(page)


def _show(page: LogPage) -> dict[str, Any]:
    return {
        "next": None if page.is_over else link_after("after", log_cursor(page.positions)),
        "has_more": page.has_more,
        "results": [for_auditor(entry) for entry in page.entries],
    }
