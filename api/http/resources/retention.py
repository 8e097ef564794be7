"""What is kept for a time only, for auditors: how long, why, how much is held and when it was last purged."""

from typing import Any

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import require_role
from api.http.schemas.fields import Moment, ResponseSchema
from api.issued_tokens import Role
from payments.erasure.retention import RetentionState

blueprint = ApiBlueprint(
    "retention", __name__, description="How long each kind of data is kept, for auditors."
)


class ShownKind(ResponseSchema):
    """One kind of data. `due` rows are over, and go with the next purge unless a legal hold keeps them."""

    kind = fields.String()
    what = fields.String()
    basis = fields.String()
    period_seconds = fields.Integer(
        allow_none=True, metadata={"description": "How long it is kept; null for ever."}
    )
    minimum_seconds = fields.Integer(
        metadata={"description": "No setting and no login purges anything younger."}
    )
    newest = fields.Integer(
        allow_none=True,
        metadata={"description": "How many rows are kept at most; null without such a limit."},
    )
    rows = fields.Integer()
    oldest = Moment(
        allow_none=True, metadata={"description": "Since when the period of the oldest row runs."}
    )
    due = fields.Integer()
    purged_at = Moment(allow_none=True, metadata={"description": "When rows of it were last purged."})
    purged_rows = fields.Integer(allow_none=True)


class RetentionReport(ResponseSchema):
    """Every kind of data that is kept for a time only. Events, and with them the books, are kept for ever."""

    kinds = fields.List(fields.Nested(ShownKind))


@blueprint.route("/api/audit/retention/", methods=["GET"])
@require_role(Role.AUDITOR)
@blueprint.response(200, RetentionReport)
def report_retention() -> dict[str, Any]:
    """Report how long each kind of data is kept.

    With what is held of it now, what is due to be purged, and when that was last done.
    """
    return {"kinds": [show(state) for state in current_services().retention.report()]}


def show(state: RetentionState) -> dict[str, Any]:
    """Return a kind as JSON values; moments stay datetimes."""
    kind, period = state.kind, state.period
    return {
        "kind": kind.name,
        "what": kind.what,
        "basis": kind.basis,
        "period_seconds": None if period is None else int(period.total_seconds()),
        "minimum_seconds": int(kind.minimum.total_seconds()),
        "newest": kind.newest,
        "rows": state.rows,
        "oldest": state.oldest,
        "due": state.due,
        "purged_at": state.purged_at,
        "purged_rows": state.purged_rows,
    }
