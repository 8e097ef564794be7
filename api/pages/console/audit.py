"""What auditors look after: the signed blocks with the verification runs, and the access log."""

from itertools import islice

from flask import render_template

from api.http.framework.services import current_services
from api.http.resources.audit_log import AuditQuery
from api.http.resources.signed_blocks import BlockQuery
from api.http.schemas.pagination import Page
from api.pages.console.blueprint import in_section, pages, read_query
from api.pages.console.navigation import ACCESS_LOG, BLOCKS
from projections.integrity import verification_runs
from projections.integrity.verification_runs import Form, VerificationRun

RUNS_SHOWN = 5
VIOLATIONS_SHOWN = 20


@pages.get("/blocks/")
@in_section(BLOCKS)
def show_blocks() -> str:
    """Show the signed blocks, the latest first, under what the last verification runs found."""
    page: Page = read_query(BlockQuery)["page"]
    services = current_services()
    count, blocks = services.blocks.page(page.place)
    return render_template(
        "console/blocks.html",
        listed=page.show(count, blocks, [block.key for block in blocks]),
        last=services.verifier.last(),
        runs=_latest_runs(),
        most=VIOLATIONS_SHOWN,
    )


def _latest_runs() -> list[VerificationRun]:
    services = current_services()
    of_forms = (verification_runs.genuine(services.database, services.vault.keys, form) for form in Form)
    runs = [run for found in of_forms for run in islice(found, RUNS_SHOWN)]
    return sorted(runs, key=lambda run: run.finished_at, reverse=True)[:RUNS_SHOWN]


@pages.get("/access-log/")
@in_section(ACCESS_LOG)
def show_access_log() -> str:
    """Show the audit log, the latest entry first: decisions, reads of personal data, refused attempts."""
    query = read_query(AuditQuery)
    page: Page = query.pop("page")
    count, entries = current_services().audit_log.entries(page.place, **query)
    return render_template(
        "console/access_log.html", listed=page.show(count, entries, [entry.key for entry in entries])
    )
