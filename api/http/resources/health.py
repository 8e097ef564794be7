"""Health checks and metrics, for operations."""

from typing import Any

from flask import Response
from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.framework.waiting import while_waiting
from api.http.middleware import request_metrics
from api.http.middleware.auth import admits_monitor, guarded, require_role
from api.http.schemas.fields import ResponseSchema
from api.issued_tokens import Role
from ledger.errors import Unavailable
from ledger.store.positions import HorizonHolder
from payments.exceptions.figures import HELD_LONG_SECONDS
from payments.operators.switches import Switch

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


class Holder(ResponseSchema):
    """An open transaction that holds the log back: orders and refunds go on, figures and signed blocks wait for it."""

    pid = fields.Integer(
        allow_none=True, metadata={"description": "Null if it was prepared.", "example": 4711}
    )
    seconds = fields.Float(metadata={"example": 198.0})
    database = fields.String(metadata={"example": "reports"})
    application_name = fields.String(allow_none=True, metadata={"example": "psql"})


class Readiness(Health):
    """The state of the service, what operators have switched off, and who holds the log back, null if nobody does."""

    switched_off = fields.List(fields.String(), metadata={"example": ["prompts"]})
    log_held_by = fields.Nested(Holder, allow_none=True)


@blueprint.route("/readyz")
@blueprint.reports_unknown_names
@blueprint.response(200, Readiness)
def readyz() -> dict[str, Any]:
    """Report that requests can be served, what operators have switched off, and who holds the log back.

    503 where the database does not answer within a second, takes no writes or ends none, or has just had no room for
    one.
    """
    services = current_services()
    with while_waiting():
        holder = services.check_database(READY_WITHIN_SECONDS)
    switched_off = [name for name in Switch if services.switches.off(name) is not None]
    return {"status": "ok", "switched_off": switched_off, "log_held_by": holder if _is_long(holder) else None}


def _is_long(holder: HorizonHolder | None) -> bool:
    """Say whether a transaction holds the log back for longer than an ordinary write may."""
    return holder is not None and holder.seconds >= HELD_LONG_SECONDS


@blueprint.route("/metrics")
@blueprint.reports_unknown_names
@blueprint.response(200, content_type=request_metrics.CONTENT_TYPE, description="Prometheus text")
@guarded
@admits_monitor
@require_role(Role.OPERATOR)
def show_metrics() -> Response:
    """Show what was counted by the processes of this machine, and figures that are read now.

    For Prometheus, with the token of DAFTARI_METRICS_TOKEN or an operator's. No label names a person or a payment.
    """
    try:
        services = current_services()
        with while_waiting():  # Another may be reading, for all who ask.
            services.check_database(READY_WITHIN_SECONDS)  # A scrape does not wait as long as a command may.
            figures = {**services.watched.figures(), "daftari_database_answers": 1.0}
    except Unavailable:  # What was counted matters most while the database does not answer.
        figures = {"daftari_database_answers": 0.0}
    return Response(request_metrics.exposition(figures), content_type=request_metrics.CONTENT_TYPE)
