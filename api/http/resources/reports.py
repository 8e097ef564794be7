"""Reports for auditors: the last verification run, the whole history of a session."""

from typing import Any
from uuid import UUID

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import require_role
from api.http.schemas.fields import Moment, ResponseSchema
from api.http.schemas.pagination import AsOfQuery
from api.issued_tokens import Role
from ledger import clock
from ledger.application import no_such_session
from ledger.errors import NotFound
from payments.verification.verifier import INVARIANTS, Invariant
from projections import history
from projections.history_steps import entries_until
from projections.integrity.verification_runs import VerificationRun

blueprint = ApiBlueprint("reports", __name__, description="For auditors.")


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
