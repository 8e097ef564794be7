"""`daftari work-list`: what waits for a person, and what is done about it."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from api.cli.failures import read_settings

if TYPE_CHECKING:
    from api.cli.casework import Casework
    from payments.exceptions.work_list import Case

CASES_OPEN = 5

KINDS = (
    "refund_due",
    "refund_held",
    "refund_in_doubt",
    "refund_under_way",
    "contradiction",
    "attempt_in_doubt",
    "receipt_missing",
    "order_missing",
    "money_unknown",
    "money_claimed_twice",
    "money_went_back",
    "letter_set_aside",
    "reaction_set_aside",
    "pull_gap",
    "mpesa_set_up",
)


@click.group(
    name="work-list", invoke_without_command=True, short_help="Show what waits for a person, and act on it."
)
@click.option("--kind", type=click.Choice(KINDS), help="Only cases of this kind.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print them as a JSON list.")
@click.option("--check", is_flag=True, help=f"End with exit code {CASES_OPEN} where a case is open.")
@click.pass_context
def work_list(context: click.Context, kind: str | None, limit: int, *, as_json: bool, check: bool) -> None:
    """Show what waits for a person, the oldest first: age, money at stake, what is known, what can be done.

    Refunds are decided about with `daftari refunds`; what else can be closed or tried again is so here, by kind and
    case as the list shows them.

    \b
    Examples
      daftari work-list --kind refund_due
      daftari work-list --check || mail -s "Daftari has work for you" you@example.co.ke < /dev/null
      daftari work-list close letter_set_aside 6f0c… --note "A test of ours."
      daftari work-list retry reaction_set_aside orders.550e8400-e29b-41d4-a716-446655440000.4
    """
    if context.invoked_subcommand is not None:
        return
    from ledger import clock
    from payments.exceptions.work_list import Kind, open_cases

    with _casework() as lent:
        cases = open_cases(lent.database, clock.now(), kind=Kind(kind) if kind else None, page_size=limit)
    if as_json:
        click.echo(json.dumps([_plain(case) for case in cases], indent=2))
    else:
        for case in cases or ():
            click.echo("\n".join(_told(case)))
        if not cases:
            click.echo("Nothing waits for a person.")
    if check and cases:
        context.exit(CASES_OPEN)


@work_list.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("case")
@click.option(
    "--note", required=True, help="What was found or done. It is kept for ever: no number, no name."
)
@click.option("--as", "user", type=click.IntRange(1), metavar="USER", help="The operator's number.")
def close(kind: str, case: str, note: str, user: int | None) -> None:
    """Close a CASE of a KIND with what was found or done."""
    from payments.exceptions.work_list import Kind
    from payments.refunds.decisions import COMMAND_LINE, operator

    with _casework() as lent:
        lent.service.close(Kind(kind), case, by=operator(user) if user else COMMAND_LINE, note=note)
    click.echo("The case is closed.")


@work_list.command()
@click.argument("kind", type=click.Choice(["money_unknown"]))
@click.argument("case")
@click.argument("session")
@click.option("--as", "user", type=click.IntRange(1), metavar="USER", help="The operator's number.")
def assign(kind: str, case: str, session: str, user: int | None) -> None:
    """Say that money of nobody is of a SESSION: it settles its attempt in doubt, or falls due to go back."""
    from payments.exceptions.work_list import Kind
    from payments.refunds.decisions import COMMAND_LINE, operator

    with _casework() as lent:
        lent.service.assign(Kind(kind), case, session, by=operator(user) if user else COMMAND_LINE)
    click.echo("It is booked on the session.")


@work_list.command()
@click.argument("kind", type=click.Choice(["letter_set_aside", "reaction_set_aside"]))
@click.argument("case")
def retry(kind: str, case: str) -> None:
    """Have a letter or a handler that gave up tried again; the worker takes it within seconds."""
    from payments.exceptions.work_list import Kind

    with _casework() as lent:
        lent.service.retry(Kind(kind), case)
    click.echo("It will be tried again.")


@contextmanager
def _casework() -> Iterator["Casework"]:
    from api.cli.casework import casework
    from api.http.middleware.logging import configure_logging

    settings = read_settings()
    configure_logging(settings.daftari_log_format, lowest_level=logging.ERROR)  # What is printed is the list.
    with casework(settings) as lent:
        yield lent


def _told(case: "Case") -> Iterator[str]:
    money = "" if case.money_cents is None else f"  {case.money_cents // 100}.{case.money_cents % 100:02}"
    yield f"{case.kind}  {case.case_id}  since {case.since:%Y-%m-%d %H:%M} UTC{money}"
    yield f"    {case.detail}"
    yield f"    {case.what_can_be_done}"


def _plain(case: "Case") -> dict[str, Any]:
    from payments.exceptions.actions import actions_of

    return {
        "kind": case.kind,
        "case_id": case.case_id,
        "session_id": str(case.session_id) if case.session_id else None,
        "since": case.since.isoformat(),
        "age_seconds": int(case.age.total_seconds()),
        "money_cents": case.money_cents,
        "detail": case.detail,
        "what_can_be_done": case.what_can_be_done,
        "actions": [asdict(action) for action in actions_of(case)],
    }
