"""`daftari audit-log`: who decided what, or read whose personal data, when and why."""

import json
from dataclasses import asdict

import click

from ledger.clock import in_nairobi


@click.command(name="audit-log", short_help="List decisions of people and reads of personal data.")
@click.option("--kind", help="Only entries of this kind, such as customer_erased.")
@click.option("--actor", help="Only what this actor did, such as user:42.")
@click.option("--subject", help="Only what is about this, such as user:7.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="How many at most."
)
@click.option("--json", "as_json", is_flag=True, help="Print them as a JSON list.")
def audit_log(kind: str | None, actor: str | None, subject: str | None, limit: int, *, as_json: bool) -> None:
    """List the audit log, the latest entry first. It is append-only; one without Daftari's MAC is shown as forged.

    \b
    Examples
      daftari audit-log --subject user:7
      daftari audit-log --kind customer_erased --json
    """
    from api.cli.opened import open_database
    from ledger import clock
    from ledger.store.audit_log import AuditLog
    from ledger.store.listing import Place
    from ledger.store.vault import Vault

    with open_database() as (settings, database):
        log = AuditLog(database, Vault(database, settings.daftari_master_key).keys)
        _, entries = log.entries(Place(clock.now(), limit), kind=kind, actor=actor, subject=subject)
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=2, default=str))
        return
    for entry in entries:
        about = f"  {entry.subject}" if entry.subject else ""
        forged = "" if entry.is_genuine else "  FORGED: not written by Daftari, or altered"
        click.echo(f"{in_nairobi(entry.recorded_at)}  {entry.kind}  by {entry.actor}{about}{forged}")
        for text in (entry.reason, json.dumps(entry.details) if entry.details else ""):
            if text:
                click.echo(f"    {text}")
    if not entries:
        click.echo("No entries.")
