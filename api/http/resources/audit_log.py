"""The audit log: who decided what, or read whose personal data, when and why."""

from typing import Any
from uuid import UUID

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import require_role
from api.http.schemas.fields import Moment, ResponseSchema, Text
from api.http.schemas.pagination import CursorText, Page, PagedList, PageQuery
from api.issued_tokens import Role
from ledger.store.audit_log import AuditEntry

blueprint = ApiBlueprint(
    "audit_log", __name__, description="Decisions of people, and reads of personal data."
)


class AuditQuery(PageQuery):
    """The query of the audit log: each filter is compared whole."""

    kind = Text(most=60, metadata={"description": "Only this kind of entry."})
    actor = Text(most=100, metadata={"description": "Only what this actor did, as in `user:42`."})
    subject = Text(most=200, metadata={"description": "Only what is about this, as in `user:7`."})
    cursor = CursorText(UUID)


class ShownEntry(ResponseSchema):
    """One entry. One that is not genuine carries no MAC of ours: somebody wrote it past Daftari, or altered it."""

    entry_id = fields.UUID()
    recorded_at = Moment()
    kind = fields.String()
    actor = fields.String()
    subject = fields.String()
    reason = fields.String()
    details = fields.Dict()
    is_genuine = fields.Boolean()


class AuditLogList(PagedList):
    """A page of entries, the latest first."""

    results = fields.List(fields.Nested(ShownEntry))


@blueprint.route("/api/audit/log/", methods=["GET"])
@require_role(Role.AUDITOR)
@blueprint.arguments(AuditQuery, location="query")
@blueprint.response(200, AuditLogList)
def list_entries(query: dict[str, Any]) -> dict[str, Any]:
    """List the audit log.

    The latest first. Each entry says who did what to whom or what, when and why; none is ever changed.
    """
    page: Page = query.pop("page")
    count, entries = current_services().audit_log.entries(page.place, **query)
    return page.show(count, [_show(entry) for entry in entries], [entry.key for entry in entries])


def _show(entry: AuditEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in ShownEntry().fields}
