"""`daftari reconcile`: M-Pesa's statement against our books."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import click

from api.cli.failures import Failure, read_settings

DIFFERENCES_LEFT = 5
NO_STATEMENT = 6
BALANCE_BROKEN = 7
OF_ANOTHER = 8

EXIT_CODES = {"STATEMENT_BALANCE_BROKEN": BALANCE_BROKEN, "STATEMENT_OF_ANOTHER": OF_ANOTHER}

MEANINGS = {
    "posted": "known here, and agree",
    "credited": "were missing here, and are recorded now",
    "unknown": "are missing here, and belong to no session: money held",
    "amount_differs": "have another amount here",
    "known_elsewhere": "name another session than the one that was credited",
    "refund_settled": "are the way back of refunds",
    "reversal_unexpected": "went back though no refund was due",
    "not_acted_on": "could not be recorded now; the worker tries again",
    "missing_there": "are recorded here, and the statement lacks them",
    "found_unpaid": "are attempts in doubt that the statement shows to be unpaid, and have ended",
    "not_ours": "concern no payment: charges, settlements, transfers",
    "not_completed": "moved no money",
}


@click.command(short_help="Compare a statement of M-Pesa with our books.")
@click.argument("statement", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print everything that was found as one JSON object.")
@click.pass_context
def reconcile(context: click.Context, statement: BinaryIO, as_json: bool) -> None:
    """Import STATEMENT, the CSV that the M-Pesa organisation portal exports ("-" reads standard input).

    Payments that were missing here are recorded where they name one of our attempts; attempts in doubt are settled,
    receipts found, refunds closed. A file that is not whole is refused before anything is recorded. The same file
    again, or one that overlaps it, is no news.

    \b
    Exit codes
      0  all agrees, or was brought to agree
      5  differences are left for a person; they are listed
      6  this is not a statement that can be read; nothing was recorded
      7  its running balance is broken; nothing was recorded
      8  it is of another shortcode; nothing was recorded

    \b
    Examples
      daftari reconcile statement.csv
      daftari reconcile --json - < statement.csv | jq .found.counts
    """
    from api.cli.reconciling import reconcile as import_statement
    from api.http.middleware.logging import configure_logging
    from daraja.statement import MAX_BYTES
    from payments.reconciliation.statements import StatementRefused

    settings = read_settings()
    configure_logging(
        settings.daftari_log_format, lowest_level=logging.ERROR
    )  # What was found is the output.
    try:
        done = import_statement(settings, statement.read(MAX_BYTES + 1))
    except StatementRefused as refusal:
        raise Failure(refusal.message, EXIT_CODES.get(refusal.code, NO_STATEMENT)) from refusal
    if as_json:
        shown = {"reconciliation_id": str(done.reconciliation_id), "file_sha256": done.file_sha256}
        click.echo(json.dumps(shown | {"found": done.found}, indent=2))
    else:
        click.echo("\n".join(_told(done.found)))
    if done.found["wants_a_person"]:
        context.exit(DIFFERENCES_LEFT)


def _told(found: dict[str, Any]) -> Iterator[str]:
    """Tell what was found: counts, then one line a difference whose cells a tab separates, for a spreadsheet."""
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
