"""Figures for analysts: rates by time and group, as they stand or were reported, and what late events changed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from flask import request

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.json import amount_text
from api.http.framework.services import current_services
from api.http.middleware.auth import require_role
from api.http.schemas.metric_schemas import Metrics, MetricsQuery, RestatementList, RestatementQuery
from api.http.schemas.pagination import Cursor, link_after
from api.issued_tokens import Role
from ledger import clock
from ledger.errors import InvalidValue, wrong_fields
from ledger.session.events import EVENT_CLASSES, PUBLIC_NAMES
from ledger.session.values import Status
from projections import metrics
from projections.figures import MAX_DAYS, FiguresQuery, FiguresRow, figures, period_of, restatements
from projections.session_figures import HOUR

DEFAULT_PERIOD = timedelta(hours=24)
MAX_PERIOD = timedelta(days=MAX_DAYS)
_NAME_OF_TOPIC = {kind.TOPIC: PUBLIC_NAMES[kind] for kind in EVENT_CLASSES}
blueprint = ApiBlueprint("metrics", __name__, description="For analysts.")


@blueprint.route("/api/payments/metrics/", methods=["GET"])
@require_role(Role.ANALYST)
@blueprint.arguments(MetricsQuery, location="query")
@blueprint.response(200, Metrics)
def show_metrics(query: dict[str, Any]) -> dict[str, Any]:
    """Show the rates of a period.

    For the sessions created in it, by default the last 24 hours; `rows` has them by time and group. A session counts
    in the hour of its creation for ever, so a later event changes figures of the past: `as_reported_at` shows what they
    were, and the restatements name each event that changed them more than an hour after the end of its hour.
    """
    asked, services = _asked(query), current_services()
    rows = figures(services.database, asked, services.ledger.macs)
    if asked.group == "county":
        since, until = period_of(asked)
        asked = replace(asked, since=since, until=until)
    shown = [_show(row) for row in rows]
    return _whole(asked, rows) | {
        "by": asked.by,
        "group": asked.group,
        "as_reported_at": asked.as_reported_at,
        "rows": shown,
    }


@blueprint.route("/api/payments/metrics/restatements/", methods=["GET"])
@require_role(Role.ANALYST)
@blueprint.arguments(RestatementQuery, location="query")
@blueprint.response(200, RestatementList)
def list_restatements(query: dict[str, Any]) -> dict[str, Any]:
    """List what late events changed.

    Each event that was recorded more than an hour after the end of the hour in which its session was created, and the
    figures of that hour that it changed, the latest first.
    """
    size, after = query["page_size"], query["cursor"].key if "cursor" in query else None
    found = restatements(current_services().database, size + 1, after)
    shown = found[:size]
    more = len(found) > size
    return {
        "next": link_after("cursor", str(Cursor(shown[-1].key, is_after=True))) if more else None,
        "results": [asdict(each) | {"event": _NAME_OF_TOPIC[each.topic]} for each in shown],
    }


def _asked(query: dict[str, Any]) -> FiguresQuery:
    repeated = [name for name, texts in request.args.lists() if len(texts) > 1]
    if repeated:
        raise wrong_fields(
            {name: ["Give this once: the figures would be of the first alone."] for name in repeated}
        )
    now = clock.now()
    until: datetime = query.get("until") or now
    since: datetime = query.get("since") or until - DEFAULT_PERIOD
    reported_at: datetime | None = query.get("as_reported_at")
    named = "from" if "from" in request.args else "since"
    if since > until:
        raise InvalidValue("Let the period end after it begins.", {named: ["This is after the end."]})
    if until - since > MAX_PERIOD:
        raise InvalidValue("Choose a period of at most 366 days.", {named: ["This is too long ago."]})
    if reported_at is not None and reported_at > now:
        raise InvalidValue(
            "Ask for what was reported at a time that has passed.", {"as_reported_at": ["This is to come."]}
        )
    return FiguresQuery(since, until, query.get("by"), query.get("group"), reported_at)


def _whole(asked: FiguresQuery, rows: Sequence[FiguresRow]) -> dict[str, Any]:
    """Return the rates of the period as a whole."""
    services, (since, until) = current_services(), period_of(asked)
    if asked.as_reported_at is None:
        report = metrics.rates(services.database, asked.since, asked.until)
        counts: Mapping[str, int] = report.by_status | {"paid_cents": report.paid_cents}
        rates: Sequence[metrics.Rate] = report.rates
    else:
        is_whole = asked.by is None and asked.group is None
        whole = replace(asked, by=None, group=None)
        [row] = rows if is_whole else figures(services.database, whole, services.ledger.macs)
        counts, rates = row.counts, metrics.rates_of(row.counts, (until - since) // HOUR)
    return {"since": since, "until": asked.until, "rates": rates} | _of_counts(counts)


def _of_counts(counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "sessions_by_status": {str(status): counts[status] for status in Status},
        "open_sessions": counts[Status.PENDING] + counts[Status.PAYMENT_INITIATED],
        "amount_received": amount_text(counts["paid_cents"]),
    }


def _show(row: FiguresRow) -> dict[str, Any]:
    if row.suppressed:
        figures_of_row: dict[str, Any] = dict.fromkeys(
            ("sessions_created", "sessions_by_status", "open_sessions", "amount_received")
        )
    else:
        figures_of_row = {"sessions_created": row.counts["sessions_created"], **_of_counts(row.counts)}
    return {
        "start": row.start,
        "group": row.group,
        "suppressed": row.suppressed,
        "rates": row.rates,
        "seconds_to_pay_p50": row.seconds_to_pay_p50,
        "seconds_to_pay_p95": row.seconds_to_pay_p95,
        **figures_of_row,
    }
