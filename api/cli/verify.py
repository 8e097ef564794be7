"""`daftari verify`: check every invariant of the log and of everything derived from it."""

import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from api.cli.failures import IMPOSSIBLE

if TYPE_CHECKING:
    from ledger.store.blocks import KeptName
    from ledger.store.database import Database
    from ledger.store.vault import Vault

MOST_BY_DEFAULT = 8
"""Each process takes two of PostgreSQL's connections, which payments need too."""


@click.command(short_help="Check every invariant over the whole database.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as a JSON object, violations included.")
@click.option(
    "--kept-block",
    "kept",
    multiple=True,
    metavar="NAME",
    help="The name of a signed block that an earlier run printed, to check that it is unchanged. Can be repeated.",
)
@click.option(
    "--published",
    type=click.File("rb"),
    metavar="FILE",
    help="The heads that were published, one a line: each must still be in the log as it was.",
)
@click.option(
    "--incremental",
    is_flag=True,
    help="Read only sessions with events since the last run that found nothing wrong, and compare older events with "
    "the signed blocks.",
)
@click.option(
    "--chain",
    is_flag=True,
    help="Follow the chain from the first event instead: signed blocks, the tree, links, hashes and MACs. Names the "
    "first broken position.",
)
@click.option(
    "--stored-only",
    is_flag=True,
    help="With --chain: compare stored hashes alone, and leave out the content and the MACs of events.",
)
@click.option(
    "--since",
    metavar="NAME",
    help="With --chain: begin after this signed block, which you know to be genuine.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=lambda: min(MOST_BY_DEFAULT, len(os.sched_getaffinity(0))),
    show_default=f"one for each core, {MOST_BY_DEFAULT} at most",
    help="How many processes share the work.",
)
@click.pass_context
def verify(context: click.Context, /, *, incremental: bool, chain: bool, **options: Any) -> None:
    """Fold the log and compare it with everything derived from it.

    Checks receipts, amounts, orders, transitions, inbound messages, projections, metrics, refunds, cases, hashes,
    signed blocks, phone locks, personal data and stock. Changes no payment data and can run beside a live system; the
    run is recorded for auditors (`GET /api/audit/invariants/`). Prints one line for each violation. Exits with 0 if
    every invariant holds, with 1 if one does not.

    With --incremental, events below the last signed block of an earlier run are compared with the blocks: one that was
    added, removed, moved or given another hash is found. What only a whole run finds: content of an old event that
    was changed under its hash, a changed row of an old session that leaves the sums and the figures of its hour as
    they were, personal data in other tables than the log, and two prompts on one phone around the block.

    With --chain nothing is folded, and what is derived from the log is not read. A changed, deleted, inserted, moved or
    re-signed event is found, and its position named; below a signed block also that of one that is gone. --stored-only
    is several times as fast, and does not find content or a MAC that was changed under its hash. A log that was made
    anew with your keys is found only by the name of a block that was kept.

    The last line names the last signed block. Keep it where those who can write to the database cannot change it:
    passed back as --kept-block, it proves that everything up to that block is unchanged. So does a file of heads that
    were published (DAFTARI_PUBLISH_HEADS), passed back as --published.

    \b
    Example: verify every night
      daftari verify || mail -s "Daftari: an invariant is violated" you@example.co.ke
    """
    from api.cli.opened import open_database
    from api.http.middleware.logging import configure_logging
    from ledger.store.vault import Vault
    from payments.verification.verifier import GARBAGE_AFTER, open_store
    from projections.integrity.processes import Processes

    _refuse_together(incremental=incremental, chain=chain, **options)
    gc.set_threshold(GARBAGE_AFTER)
    with open_database() as (settings, database):
        key, count = settings.daftari_master_key, options["processes"]
        log_errors = partial(configure_logging, settings.daftari_log_format, lowest_level=logging.ERROR)
        opened = partial(open_store, settings.database_url, settings.daftari_app_role, key, log_errors)
        shared = {
            "kept_blocks": _names(options["kept"]),
            "published": options["published"] or (),
            "processes": Processes(count, opened) if count > 1 else None,
            "on_progress": _progress(),
        }
        vault = Vault(database, key)
        if chain:
            found = _follow_chain(database, vault, shared, options)
        else:
            found = _examine(
                database, vault, settings.daftari_prompt_seconds, shared, incremental=incremental
            )
    held = "The chain holds" if chain else "All invariants hold"
    _show(found, as_json=options["as_json"], since=options["since"], held=held)
    if found["violations"]:
        context.exit(IMPOSSIBLE)


def _refuse_together(
    *, incremental: bool, chain: bool, stored_only: bool, since: str | None, **_: Any
) -> None:
    if (stored_only or since) and not chain:
        raise click.UsageError("--stored-only and --since belong to --chain.")
    if chain and incremental:
        raise click.UsageError("--chain and --incremental are two ways to verify: give one of them.")


def _names(texts: Iterable[str]) -> "list[KeptName]":
    from ledger.store.blocks import KeptName

    return [KeptName.parse(text) for text in texts]


def _examine(
    database: "Database", vault: "Vault", prompt_seconds: int, shared: dict[str, Any], *, incremental: bool
) -> dict[str, Any]:
    from ledger.store.blocks import Blocks
    from payments.verification.verifier import Verifier
    from projections.integrity.verification_runs import Form

    last = Blocks(database).last()
    verifier = Verifier(database, vault, prompt_seconds=prompt_seconds, every=timedelta())
    run = verifier.run(form=Form.INCREMENTAL if incremental else Form.WHOLE, **shared)
    return asdict(run) | {"last_block": last.name if last else None}


def _follow_chain(
    database: "Database", vault: "Vault", shared: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    from projections.integrity.chain import check_chain
    from projections.integrity.violations import plain

    [since] = _names([options["since"]]) if options["since"] else [None]
    found = check_chain(database, vault, since=since, stored_only=options["stored_only"], **shared)
    return {
        "events": found.events,
        "violations": [plain(violation) for violation in found.violations],
        "first_broken_position": None if found.first is None else str(found.first),
        "last_block": found.last_block.name if found.last_block else None,
    }


def _show(found: dict[str, Any], *, as_json: bool, since: str | None, held: str) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2, default=str))
        return
    for violation in found["violations"]:
        session = f"session {violation['session_id']}: " if violation["session_id"] else ""
        click.echo(f"{violation['rule']}: {session}{violation['told']}")
    if not found["violations"]:
        nothing = f"Nothing was checked: the log has no event {'since' if since else 'yet'}."
        shown = f"{held}, over {found['events']} events."
        click.echo(shown if found["events"] else nothing)
    if found.get("first_broken_position"):
        click.echo(f"The first broken position: {found['first_broken_position']}")
    if found["last_block"]:
        click.echo(f"The last signed block: {found['last_block']}")


def _progress() -> Callable[[int], None]:
    """Return what shows on a terminal, once a second, how many events were read."""
    shown_at = monotonic()

    def show(events: int) -> None:
        nonlocal shown_at
        if sys.stderr.isatty() and monotonic() - shown_at >= 1:
            shown_at = monotonic()
            click.echo(f"\r{events:,} events are read.\x1b[K", nl=False, err=True)

    return show
