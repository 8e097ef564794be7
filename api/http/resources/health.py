"""Health checks and metrics, for operations."""

from typing import Any, TypeGuard

from flask import Response
from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.framework.waiting import while_waiting
from api.http.middleware import request_metrics
from api.http.middleware.auth import guarded, require_role
from api.http.schemas.fields import ResponseSchema
from api.issued_tokens import Role
from ledger import clock
from ledger.errors import Unavailable
from ledger.store.positions import HorizonHolder, read_horizon_holder
from payments.exceptions import work_list
from payments.operators.switches import Switch
from payments.services import Services
from payments.worker.processes import FOLLOWERS
from projections.lags import lags

READY_WITHIN_SECONDS = 1.0
HELD_LONG_SECONDS = 3.0

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


def _is_long(holder: HorizonHolder | None) -> TypeGuard[HorizonHolder]:
    """Say whether a transaction holds the log back for longer than an ordinary write may."""
    return holder is not None and holder.seconds >= HELD_LONG_SECONDS


@blueprint.route("/metrics")
@blueprint.reports_unknown_names
@blueprint.response(200, content_type=request_metrics.CONTENT_TYPE, description="Prometheus text")
@guarded
@require_role(Role.OPERATOR)
def show_metrics() -> Response:
    """Show request counts and latencies, open cases, what runs out, and how far the log is followed.

    For Prometheus, with an operator's token. Paths appear as templates, without ids.
    """
    try:
        gauges = _gauges(current_services())
    except Unavailable:  # What was counted matters most while the database does not answer.
        gauges = {}
    return Response(request_metrics.exposition(gauges), content_type=request_metrics.CONTENT_TYPE)


def _gauges(services: Services) -> dict[str, dict[str, float]]:
    now = clock.now()
    with services.database.connection() as connection:
        holder = read_horizon_holder(connection)
    behind = lags(services.database, FOLLOWERS)
    alarms = services.alarms.open(now)
    tallies = work_list.tally(services.database, now, alarms=alarms, macs=services.ledger.macs)
    return {
        "daftari_open_cases": {str(kind): float(tally.cases) for kind, tally in tallies.items()},
        "daftari_seconds_left": {
            kind: (ends_at - now).total_seconds() for kind, ends_at in services.alarms.ends().items()
        },
        "daftari_switched_off": {name: float(services.switches.off(name) is not None) for name in Switch},
        "daftari_follower_events_behind": {name: float(lag.events) for name, lag in behind.items()},
        "daftari_follower_seconds_behind": {name: lag.seconds for name, lag in behind.items()},
        "daftari_horizon_seconds": {str(holder): holder.seconds} if _is_long(holder) else {"nobody": 0.0},
    }
