"""`daftari up`: run everything on one machine, in one terminal."""

from typing import TYPE_CHECKING

import click

from api.cli.failures import read_settings
from api.cli.running import stop_on_signals

if TYPE_CHECKING:
    from api.settings import Settings


@click.command()
@click.option(
    "--auto-approve",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Let the simulator pay each prompt after this many seconds; 0 pays at once.",
)
@click.option("--seed", type=int, help="The seed of the simulator's random choices.")
@click.option(
    "--chaos",
    type=int,
    metavar="SEED",
    help="Let the simulator inject faults; see `daftari simulator --help`.",
)
@click.option(
    "--chaos-longest-delay",
    type=click.FloatRange(0, 864_000),
    metavar="SECONDS",
    help="The longest delay of --chaos.  [default: 60]",
)
def up(
    auto_approve: float | None, seed: int | None, chaos: int | None, chaos_longest_delay: float | None
) -> None:
    """Run everything on this machine, until Ctrl-C.

    Runs PostgreSQL (embedded, unless DATABASE_URL is set), migrations, demo data the first time, the Daraja
    simulator (unless MPESA_BASE_URL is set), the API and the worker. Restarts whatever ends by itself.

    \b
    Examples
      daftari up
      daftari up --auto-approve 0
      DAFTARI_PORT=8010 DAFTARI_SIMULATOR_PORT=8011 DAFTARI_DATA_DIR=/tmp/try daftari up
      DATABASE_URL=postgresql://shop:secret@db/daftari daftari up
    """
    stopping = stop_on_signals()  # Before the imports, which take a while.
    from api.local.local_simulator import SimulatorOptions
    from api.local.local_stack import LocalStack

    options = SimulatorOptions(auto_approve, seed, chaos, chaos_longest_delay)
    LocalStack(read_settings(), options, report=_report, welcome=_welcome).run(stopping)
    _report("Everything has stopped. Your data are kept: `daftari up` finds them again.")


def _report(message: str) -> None:
    click.echo(message, err=True)


def _welcome(settings: "Settings", simulates: bool) -> None:
    """Print where everything is, and the first steps."""
    from api.cli.first_steps import first_steps
    from api.local.ports import http_url
    from ledger.session.values import BUILTIN_SHOP

    api = http_url(settings.daftari_host, settings.daftari_port)
    lines = ["", "Daftari is running. Ctrl-C stops it.", "", f"  Start page    {api}/   (what runs where)"]
    if simulates:
        lines += [f"  Phones page   {settings.mpesa_base_url}/   (enter the PIN of a prompt here)"]
    has_shop = settings.daftari_shop == BUILTIN_SHOP
    if has_shop:
        lines += [f"  Shop page     {api}/shop/"]
    lines += [f"  Console       {api}/console/   (sign in with `daftari token --user 9 --role operator`)"]
    lines += [f"  API           {api}/docs/", f"  Data          {settings.daftari_data_dir}", ""]
    if has_shop and not settings.is_production and settings.daftari_jwt_secret:
        lines += first_steps(settings, api, simulates=simulates)
    click.echo("\n".join(lines))
