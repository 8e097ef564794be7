"""`daftari generate`: a store full of sample payments."""

import os
from datetime import datetime, timedelta

import click

from api.cli.failures import Failure, read_settings
from api.cli.progress import progress_bar

MAX_SESSIONS, MAX_SEED = 5_000_000, 900
_DAYS = 90
_DAY = click.DateTime(["%Y-%m-%d"])


@click.command(short_help="Fill an empty database with sample payments.")
@click.option(
    "--sessions", type=click.IntRange(1, MAX_SESSIONS), required=True, help="How many payment sessions."
)
@click.option(
    "--seed",
    type=click.IntRange(1, MAX_SEED),
    default=1,
    show_default=True,
    help="The same seed and options give the same sessions; another seed adds more.",
)
@click.option(
    "--from",
    "first",
    type=_DAY,
    help=f"The first day, in Nairobi.  [default: {_DAYS} days up to the last one]",
)
@click.option("--to", "last", type=_DAY, help="The last day, which must be over.  [default: yesterday]")
def generate(sessions: int, seed: int, first: datetime | None, last: datetime | None) -> None:
    """Fill a database with sample payments, as a shop in Kenya would have them, to try queries and pages at size.

    Sessions, callbacks, orders, refunds and C2B payments of people who do not exist; each event has its hash and MAC,
    so `daftari verify` finds nothing. Nothing generated can ever be removed, because the log is never rewritten:
    the command refuses a database with any other payment session, and production. A command that was ended goes on
    where it was when it is typed again, with the same options.

    \b
    Examples
      daftari generate --sessions 100000
      daftari generate --sessions 1000000 --seed 7 --from 2026-01-01 --to 2026-06-30
    """
    from api.cli.opened import open_database_as_migrator
    from ledger.clock import NAIROBI, now
    from payments.sample.chunks import Sample
    from payments.sample.generation import Store, generate, require_no_others

    if read_settings().is_production:
        raise Failure("Sample payments are not for production: unset DAFTARI_MODE, or use another database.")
    today = now().astimezone(NAIROBI).date()
    last_day = last.date() if last else today - timedelta(days=1)
    first_day = first.date() if first else last_day - timedelta(days=_DAYS - 1)
    if last_day >= today:
        raise click.UsageError("--to must be a day that is over.")
    if first_day > last_day:
        raise click.UsageError("--from is after --to.")
    with open_database_as_migrator() as (settings, database):
        require_no_others(database)
        store = Store(database.url, settings.daftari_master_key)
    sample = Sample(sessions, seed, first_day, last_day)
    options = f"--sessions {sessions} --seed {seed} --from {first_day} --to {last_day}"
    click.echo(f"Generating; to go on after an end, type: daftari generate {options}", err=True)
    with progress_bar("sessions") as show:
        generate(store, sample, os.cpu_count() or 1, lambda done: show(done.share, done.step))
    click.echo(f"The database holds the sample of {options}.")
