"""What imports of M-Pesa's statements found, for operators and auditors. `daftari reconcile` imports them."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import require_role
from api.http.schemas.fields import Moment, ResponseSchema
from api.http.schemas.pagination import CursorText, Page, PagedList, PageQuery
from api.issued_tokens import Role
from ledger.errors import NotFound
from payments.reconciliation.import_log import Reconciliation

blueprint = ApiBlueprint("reconciliations", __name__, description="M-Pesa's statements against our books.")


class ImportQuery(PageQuery):
    """The query of the list of imports."""

    cursor = CursorText(UUID)


class ShownImport(ResponseSchema):
    """One import of a statement. docs/reconciliation.md says what each count means.

    Of one that is not genuine, because Daftari did not write it or it was altered, nothing is shown that it claims.
    """

    reconciliation_id = fields.UUID()
    started_at = Moment()
    finished_at = Moment()
    file_sha256 = fields.String()
    is_genuine = fields.Boolean()
    rows = fields.Integer()
    period_from = fields.String(allow_none=True)
    period_to = fields.String(allow_none=True)
    wants_a_person = fields.Boolean()
    counts = fields.Dict(values=fields.Integer())


class WholeImport(ShownImport):
    """One import with its differences: kind, receipt, amount_cents, happened_at, row, session_id and a sentence."""

    differences = fields.List(fields.Dict())


class ImportList(PagedList):
    """A page of imports, the latest first."""

    results = fields.List(fields.Nested(ShownImport))


@blueprint.route("/api/payments/reconciliations/", methods=["GET"])
@require_role(Role.OPERATOR, Role.AUDITOR)
@blueprint.arguments(ImportQuery, location="query")
@blueprint.response(200, ImportList)
def list_imports(query: dict[str, Any]) -> dict[str, Any]:
    """List the imports of statements.

    The latest first, with counts and without differences.
    """
    page: Page = query["page"]
    count, imports = current_services().reconciliations.page(page.place)
    return page.show(count, [_show(each) for each in imports], [each.key for each in imports])


@blueprint.route("/api/payments/reconciliations/<uuid:reconciliation_id>/", methods=["GET"])
@require_role(Role.OPERATOR, Role.AUDITOR)
@reads_personal_data("differences of a statement")
@blueprint.refuses("RECONCILIATION_NOT_FOUND")
@blueprint.response(200, WholeImport)
def show_import(reconciliation_id: UUID) -> dict[str, Any]:
    """Show an import of a statement.

    With its differences, at most a thousand of each kind.
    """
    reconciliation = current_services().reconciliations.find(reconciliation_id)
    if reconciliation is None:
        raise NotFound("There is no such import.", code="RECONCILIATION_NOT_FOUND")
    return _show(reconciliation)


def _show(reconciliation: Reconciliation) -> dict[str, Any]:
    shown = asdict(reconciliation)
    found = shown.pop("found")
    return {**shown, **found}
