"""Health checks and metrics, for operations."""

from flask import Response
from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.framework.waiting import while_waiting
from api.http.middleware import request_metrics
from api.http.middleware.auth import Role, guarded, require_role
from api.http.schemas.fields import ResponseSchema

READY_WITHIN_SECONDS = 1.0

blueprint = ApiBlueprint("operations", __name__, description="Health checks and metrics.")


class Health(ResponseSchema):
    """The state of the service."""

    status = fields.String(metadata={"example": "ok"})


@blueprint.route("/healthz")
@blueprint.reports_unknown_names
@blueprint.response(200, Health)
def healthz() -> dict[str, str]:
    """Report that the process is up.

    It does not ask the database: see /readyz.
    """
    return {"status": "ok"}


@blueprint.route("/readyz")
@blueprint.reports_unknown_names
@blueprint.response(200, Health)
def readyz() -> dict[str, str]:
    """Report that requests can be served.

    503 where the database does not answer within a second, takes no writes, or has just had no room for one.
    """
    with while_waiting():
        current_services().check_database(READY_WITHIN_SECONDS)
    return {"status": "ok"}


@blueprint.route("/metrics")
@blueprint.reports_unknown_names
@blueprint.response(200, content_type=request_metrics.CONTENT_TYPE, description="Prometheus text")
@guarded
@require_role(Role.OPERATOR)
def show_metrics() -> Response:
    """Show request counts and latencies.

    For Prometheus, with an operator's token. Paths appear as templates, without ids.
    """
    return Response(request_metrics.exposition(), content_type=request_metrics.CONTENT_TYPE)
