"""Reports for analysts and auditors: rates, the last verification run, the whole history of a session."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.json import amount_text
from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import require_role
from api.http.schemas.fields import AwareMoment, Moment, RequestSchema, ResponseSchema
from api.http.schemas.pagination import AsOfQuery
from api.issued_tokens import Role
from ledger import clock
from ledger.application import no_such_session
from ledger.errors import InvalidValue, NotFound
from payments.verification.verifier import INVARIANTS, Invariant
from projections import history, metrics
from projections.history_steps import entries_until
from projections.integrity.verification_runs import VerificationRun

DEFAULT_PERIOD = timedelta(hours=24)
MAX_PERIOD = timedelta(days=366)
blueprint = ApiBlueprint("reports", __name__, description="For analysts and auditors.")


class PeriodQuery(RequestSchema):
    """A period of session creation; both ends in whole hours of UTC."""

    since = AwareMoment(
        metadata={"description": "The beginning; 24 hours before the end where it is left out."}
    )
    until = AwareMoment(metadata={"description": "The end; now where it is left out."})


class ShownRate(ResponseSchema):
    """A rate, and what it is made of in words and numbers."""

    name = fields.String(metadata={"example": "payment_success_rate"})
    rate = fields.Decimal(allow_none=True, metadata={"example": 0.9312})
    numerator = fields.Integer()
    numerator_is = fields.String()
    denominator = fields.Integer()
    denominator_is = fields.String()


class Metrics(ResponseSchema):
    """Rates of the sessions created in a period. Open sessions are counted apart, never as failures."""

    since = Moment()
    until = Moment()
    rates = fields.List(fields.Nested(ShownRate))
    sessions_by_status = fields.Dict(values=fields.Integer())
    open_sessions = fields.Integer()
    amount_received = fields.String(metadata={"example": "350.00"})


class AuditedHistory(ResponseSchema):
    """Every event of a session with its position and hashes, without encrypted personal data."""

    session_id = fields.UUID()
    events = fields.List(fields.Dict())


class Counterexample(ResponseSchema):
    """One violation of an invariant."""

    rule = fields.String()
    session_id = fields.UUID(allow_none=True)
    told = fields.String()


class CheckedInvariant(ResponseSchema):
    """One invariant. `holds` is null where the store cannot tell, and tests show it instead, or has no event."""

    number = fields.Integer()
    statement = fields.String()
    holds = fields.Boolean(allow_none=True)
    violations = fields.List(fields.Nested(Counterexample))


class Verified(ResponseSchema):
    """The last verification run. `all_hold` is null if it found nothing to check; `age_seconds` is since its end."""

    run_id = fields.UUID()
    started_at = Moment()
    finished_at = Moment()
    age_seconds = fields.Integer()
    events = fields.Integer()
    version = fields.String()
    all_hold = fields.Boolean(allow_none=True)
    summary = fields.String(metadata={"example": "All invariants held over 1,240 events."})
    invariants = fields.List(fields.Nested(CheckedInvariant))


@blueprint.route("/api/payments/metrics/", methods=["GET"])
@require_role(Role.ANALYST)
@blueprint.arguments(PeriodQuery, location="query")
@blueprint.response(200, Metrics)
def show_metrics(query: dict[str, Any]) -> dict[str, Any]:
    """Show the five rates.

    For the sessions created in a period, by default the last 24 hours.
    """
    until: datetime = query.get("until") or clock.now()
    since: datetime = query.get("since") or until - DEFAULT_PERIOD
    if since > until:
        raise InvalidValue("Let the period end after it begins.", {"since": ["This is after the end."]})
    if until - since > MAX_PERIOD:
        raise InvalidValue("Choose a period of at most 366 days.", {"since": ["This is too long ago."]})
    report = metrics.rates(current_services().database, since, until)
    return {
        "since": report.since,
        "until": report.until,
        "rates": report.rates,
        "sessions_by_status": report.by_status,
        "open_sessions": report.open_sessions,
        "amount_received": amount_text(report.paid_cents),
    }


@blueprint.route("/api/audit/invariants/", methods=["GET"])
@require_role(Role.AUDITOR)
@blueprint.refuses("NOT_VERIFIED_YET")
@blueprint.response(200, Verified)
def show_invariants() -> dict[str, Any]:
    """Show the last verification run.

    Each invariant, whether it held, and its violations. The worker verifies once a day, and whenever a log of up to
    100,000 events has doubled; each hour what changed; `daftari verify` at once. A whole run that found something is
    shown until a whole run finds nothing.
    """
    run = current_services().verifier.last()
    if run is None:
        raise NotFound(
            "No verification run has completed yet. Run `daftari verify`.", code="NOT_VERIFIED_YET"
        )
    return {
        "run_id": run.run_id,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "age_seconds": max(0, int((clock.now() - run.finished_at).total_seconds())),
        "events": run.events,
        "version": run.version,
        "all_hold": not run.violations if _says_something(run) else None,
        "summary": _summary(run),
        "invariants": [_show_invariant(invariant, run) for invariant in INVARIANTS],
    }


@blueprint.route("/api/audit/sessions/<uuid:session_id>/events/", methods=["GET"])
@require_role(Role.AUDITOR)
@reads_personal_data("history of a session")
@blueprint.arguments(AsOfQuery, location="query")
@blueprint.refuses("SESSION_NOT_FOUND")
@blueprint.response(200, AuditedHistory)
def audit_session(query: dict[str, Any], session_id: UUID) -> dict[str, Any]:
    """Show any session to an auditor.

    Every event with its position and hashes, so that the chain can be verified, without encrypted personal data; with
    `as_of` or `at_version` those until then.
    """
    services = current_services()
    entries = entries_until(history.history(services.database, services.ledger.macs, session_id), **query)
    if not entries:
        raise no_such_session()
    return {"session_id": session_id, "events": [history.for_auditor(entry) for entry in entries]}


def _says_something(run: VerificationRun) -> bool:
    return bool(run.events or run.violations)


def _summary(run: VerificationRun) -> str:
    if not _says_something(run):
        return "Nothing was checked: the log had no event yet."
    found = f"{len(run.violations):,} violations" if run.violations else "All invariants held"
    return f"{found} over {run.events:,} events."


def _show_invariant(invariant: Invariant, run: VerificationRun) -> dict[str, Any]:
    broken = [violation for violation in run.violations if violation["rule"] in invariant.rules]
    return {
        "number": invariant.number,
        "statement": invariant.statement,
        "holds": not broken if invariant.rules and _says_something(run) else None,
        "violations": broken,
    }
