"""`daftari work-list`: the open cases, and what operators do about them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from api.cli.operators import by_option, operator, say_proposed
from ledger.clock import in_nairobi

if TYPE_CHECKING:
    from payments.exceptions.resolutions import CaseService
    from payments.exceptions.work_list import Case
    from payments.operators.proposals import Proposal

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
    "decision_proposed",
    "switched_off",
    "initiator_password",
    "certificate",
    "pull_behind",
    "horizon_held",
    "followers_behind",
    "webhook_disabled",
    "webhook_failed",
)


@click.group(name="work-list", invoke_without_command=True, short_help="List open cases and act on them.")
@click.option("--kind", type=click.Choice(KINDS), help="Only cases of this kind.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print them as a JSON list.")
@click.option("--check", is_flag=True, help=f"Exit with {CASES_OPEN} if a case is open.")
@click.pass_context
def work_list(context: click.Context, kind: str | None, limit: int, *, as_json: bool, check: bool) -> None:
    """List open cases, oldest first: age, amount at stake, what is known, what can be done.

    Use `daftari refunds` to decide about refunds. Close or retry other cases here, by kind and case as listed.

    \b
    Examples
      daftari work-list --kind refund_due
      daftari work-list --check || mail -s "Daftari has work for you" you@example.co.ke < /dev/null
      daftari work-list close letter_set_aside 6f0c… --by 9 --note "Sent by our own test."
      daftari work-list retry reaction_set_aside orders.550e8400-e29b-41d4-a716-446655440000.4 --by 9
    """
    if context.invoked_subcommand is not None:
        return
    from api.cli.opened import open_database
    from api.wiring import build_alarms
    from ledger import clock
    from ledger.store.event_macs import EventMacs
    from ledger.store.vault import Vault
    from payments.exceptions.next_steps import Kind
    from payments.exceptions.work_list import open_cases

    now = clock.now()
    with open_database() as (settings, database):
        alarms = build_alarms(settings, database).open(now)
        macs = EventMacs(database, Vault(database, settings.daftari_master_key).keys)
        cases = open_cases(
            database,
            now,
            alarms=alarms,
            macs=macs,
            kind=Kind(kind) if kind else None,
            page_size=limit,
            zone=UTC if as_json else clock.NAIROBI,
        )
    if as_json:
        click.echo(json.dumps([_plain(case) for case in cases], indent=2))
    else:
        click.echo("\n".join(line for case in cases for line in _lines(case)) or "No open cases.")
    if check and cases:
        context.exit(CASES_OPEN)


@work_list.command()
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.argument("cases", nargs=-1, metavar="CASE...")
@click.option("--oldest", type=click.IntRange(1, 100), metavar="N", help="The N oldest cases of the kind.")
@click.option(
    "--note",
    required=True,
    help="What was found or done. It is kept for ever: give no phone number and no name.",
)
@by_option
@click.pass_context
def close(
    context: click.Context, kind: str, cases: tuple[str, ...], oldest: int | None, note: str, user: int
) -> None:
    """Close one CASE or more of a KIND with a note of what was found or done.

    Several are closed together if closing one decides about no money. Those that could not be closed are named, and the
    exit code is 1.

    \b
    Example
      daftari work-list close letter_set_aside --oldest 100 --by 9 --note "Sent by a scanner."
    """
    from payments.exceptions.next_steps import Kind

    if bool(cases) == (oldest is not None):
        raise click.UsageError("Name the cases, or give --oldest.")
    case_ids = cases if oldest is None else _oldest_cases(kind, oldest)
    with _case_service() as service:
        if len(cases) == 1:
            proposal = service.close(Kind(kind), cases[0], by=operator(user), note=note)
            _say("The case is closed.", proposal)
            return
        done = service.close_together(Kind(kind), case_ids, by=operator(user), note=note)
    _say(f"{len(done.closed)} cases are closed.")
    for case_id, refusal in done.refused.items():
        click.echo(f"{case_id}: {refusal.message}", err=True)
    context.exit(1 if done.refused else 0)


@work_list.command(short_help="Allocate an unmatched payment to a session.")
@click.argument("kind", type=click.Choice(["money_unknown"]))
@click.argument("case")
@click.argument("session")
@by_option
def assign(kind: str, case: str, session: str, user: int) -> None:
    """Allocate an unmatched payment to SESSION: it settles an attempt in doubt, or becomes a refund due."""
    from payments.exceptions.next_steps import Kind

    with _case_service() as service:
        proposal = service.assign(Kind(kind), case, session, by=operator(user))
    _say("Payment allocated.", proposal)


@work_list.command(short_help="Give up the order of a paid session: the money is due back.")
@click.argument("kind", type=click.Choice(["order_missing", "reaction_set_aside"]))
@click.argument("case")
@click.option("--note", required=True, help="Why. It is kept for ever: give no phone number and no name.")
@by_option
def refund(kind: str, case: str, note: str, user: int) -> None:
    """Give up the order of a session that was paid and got none: the money becomes a refund due."""
    from payments.exceptions.next_steps import Kind

    with _case_service() as service:
        service.refund(Kind(kind), case, by=operator(user), note=note)
    _say("The order is given up, and the money is due back.")


@work_list.command(short_help="Retry a dead-lettered message or event.")
@click.argument("kind", type=click.Choice(["letter_set_aside", "reaction_set_aside"]))
@click.argument("case")
@by_option
def retry(kind: str, case: str, user: int) -> None:
    """Retry a dead-lettered message or event; the worker picks it up within seconds."""
    from payments.exceptions.next_steps import Kind

    with _case_service() as service:
        service.retry(Kind(kind), case, by=operator(user))
    _say("The worker retries it.")


@work_list.command(short_help="Approve what another operator proposed.")
@click.argument("kind", type=click.Choice(["decision_proposed"]))
@click.argument("case")
@by_option
def approve(kind: str, case: str, user: int) -> None:
    """Approve, as the second person, what another operator or the refund policy proposed; it is done at once."""
    from payments.exceptions.next_steps import Kind

    with _case_service() as service:
        service.approve(Kind(kind), case, by=operator(user))
    _say("Approved and carried out.")


@work_list.command(short_help="Withdraw what was proposed.")
@click.argument("kind", type=click.Choice(["decision_proposed"]))
@click.argument("case")
@by_option
def withdraw(kind: str, case: str, user: int) -> None:
    """Withdraw a proposal: nothing is done, and what it was about stays open."""
    from payments.exceptions.next_steps import Kind

    with _case_service() as service:
        service.withdraw(Kind(kind), case, by=operator(user))
    _say("Withdrawn.")


def _say(message: str, proposal: "Proposal | None" = None) -> None:
    if proposal is None:
        click.echo(message)
    say_proposed(proposal)


def _oldest_cases(kind: str, count: int) -> tuple[str, ...]:
    from api.cli.opened import open_database
    from ledger import clock
    from payments.exceptions.next_steps import Kind
    from payments.exceptions.work_list import open_cases

    with open_database() as (_, database):
        listed = open_cases(database, clock.now(), kind=Kind(kind), page_size=count)
    return tuple(case.case_id for case in listed)


@contextmanager
def _case_service() -> Iterator["CaseService"]:
    from api.cli.opened import open_database
    from api.shop_wiring import build_builtin_shop, build_shops
    from api.wiring import build_case_service, build_matcher, build_order_maker
    from ledger.store.vault import Vault

    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        builtin_shop = build_builtin_shop(settings, database, vault)
        shops = build_shops(settings, database, vault, builtin_shop)
        order_maker = build_order_maker(database, vault, shops)
        matcher = build_matcher(settings, database, vault)
        yield build_case_service(settings, database, vault, matcher, order_maker)


def _lines(case: "Case") -> Iterator[str]:
    money = "" if case.money_cents is None else f"  {case.money_cents // 100}.{case.money_cents % 100:02}"
    yield f"{case.kind}  {case.case_id}  since {in_nairobi(case.since)}{money}"
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
