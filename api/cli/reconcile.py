"""`daftari reconcile`: import an M-Pesa statement and compare it with the ledger."""

import gc
import json
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from api.cli.failures import Failure
from api.cli.operators import actor_of
from api.cli.progress import progress_bar

if TYPE_CHECKING:
    from payments.reconciliation.import_log import Reconciliation

DIFFERENCES_LEFT = 5
NO_STATEMENT = 6
BALANCE_BROKEN = 7
OF_ANOTHER = 8

GARBAGE_AFTER = 100_000
"""Objects that are made before a search for cycles: there are few here, and after the usual 700 it took a seventh of
the time.
"""

EXIT_CODES = {"STATEMENT_BALANCE_BROKEN": BALANCE_BROKEN, "STATEMENT_OF_ANOTHER": OF_ANOTHER}


@click.command(short_help="Import an M-Pesa statement and compare it.")
@click.argument("statement", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print the report as a JSON object.")
@click.option("--by", type=click.IntRange(min=1), metavar="USER", help="The number of who imports it.")
@click.pass_context
def reconcile(context: click.Context, statement: BinaryIO, by: int | None, *, as_json: bool) -> None:
    """Import STATEMENT, the CSV that the M-Pesa organisation portal exports ("-" reads standard input).

    Records missing payments that match an attempt, settles attempts in doubt, adds missing receipts and closes
    refunds. An incomplete file is rejected before anything is recorded. Importing the same file again, or one that
    overlaps it, changes nothing. The audit log says who imported which file, and what was refused.

    \b
    Exit codes
      0  the statement and the ledger agree, if need be after recording what was missing
      5  differences remain for an operator; they are listed
      6  the file is not a readable statement; nothing was recorded
      7  the statement's running balance is inconsistent; nothing was recorded
      8  the statement is of another shortcode; nothing was recorded

    \b
    Examples
      daftari reconcile statement.csv --by 9
      daftari reconcile --json - < statement.csv | jq .found.counts
    """
    from api.cli.opened import open_database
    from api.statement_imports import build_reconciler
    from api.wiring import build_matcher
    from daraja.statement import MAX_BYTES
    from ledger.store.audit_log import AuditLog
    from ledger.store.metadata import caused_by
    from ledger.store.vault import Vault
    from payments.mpesa.credentials import CredentialStore
    from payments.reconciliation.statement_uploads import IMPORTED, REFUSED
    from payments.reconciliation.statements import StatementRefused

    gc.set_threshold(GARBAGE_AFTER)
    actor = actor_of(by)
    content = statement.read(MAX_BYTES + 1)
    subject = f"statement:{sha256(content).hexdigest()}"
    with open_database() as (settings, database), caused_by(actor=actor):
        vault = Vault(database, settings.daftari_master_key)
        audit_log = AuditLog(database, vault.keys)

        def record(connection: Any, done: "Reconciliation") -> None:
            details = {"reconciliation_id": str(done.reconciliation_id)}
            audit_log.record(connection, IMPORTED, actor=actor, subject=subject, details=details)

        try:
            stored = CredentialStore(database, vault).read()
            settings_in_use = settings.with_stored_credentials(stored)
            matcher = build_matcher(settings_in_use, database, vault)
            reconciler = build_reconciler(settings_in_use, database, vault, matcher)
            with progress_bar("Matching rows") as show:
                done = reconciler.reconcile(content, lambda rows, of: show(rows / of), record)
        except StatementRefused as refusal:
            audit_log.record(None, REFUSED, actor=actor, subject=subject, details={"code": refusal.code})
            raise Failure(refusal.message, EXIT_CODES.get(refusal.code, NO_STATEMENT)) from refusal
    if as_json:
        shown = {"reconciliation_id": str(done.reconciliation_id), "file_sha256": done.file_sha256}
        click.echo(json.dumps(shown | {"found": done.found}, indent=2))
    else:
        click.echo("\n".join(_report(done.found)))
    if done.found["wants_a_person"]:
        context.exit(DIFFERENCES_LEFT)


def _report(found: dict[str, Any]) -> Iterator[str]:
    """Yield the counts, then one line for each difference, tab-separated for a spreadsheet."""
    from payments.reconciliation.statements import MEANINGS

    period = (
        f" from {_moment(found['period_from'])} to {_moment(found['period_to'])}"
        if found["period_from"]
        else ""
    )
    yield f"{found['rows']} rows{period}"
    for kind, meaning in MEANINGS.items():
        if found["counts"][kind]:
            yield f"{found['counts'][kind]:>8}  {kind:<20}{meaning}"
    if found["differences"]:
        yield "what\treceipt\tshillings\ttime\trow\tsession\twhy"
    for difference in found["differences"]:
        cents = difference["amount_cents"]
        yield "\t".join(
            (
                difference["kind"],
                difference["receipt"] or "",
                f"{cents // 100}.{cents % 100:02}",
                _moment(difference["happened_at"]),
                str(difference["row"] or ""),
                difference["session_id"] or "",
                difference["told"] or "",
            )
        )


def _moment(text: str) -> str:
    from daraja.eat import EAT

    return datetime.fromisoformat(text).astimezone(EAT).strftime("%Y-%m-%d %H:%M:%S")
