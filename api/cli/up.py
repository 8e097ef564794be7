"""`daftari up`: everything on one machine, in one terminal."""

import click

from api.cli.failures import read_settings
from api.cli.running import stop_on_signals
from api.settings import Settings

_TOKEN_MINUTES = 8 * 60
_DEMO_USER = 1


@click.command()
@click.option(
    "--auto-approve",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Let the simulator pay each prompt after so many seconds; 0 pays at once.",
)
@click.option("--seed", type=int, help="Fixes the simulator's random choices.")
@click.option(
    "--chaos", type=int, metavar="SEED", help="Let the simulator misbehave; see `daftari simulator`."
)
@click.option(
    "--chaos-longest-delay",
    type=click.FloatRange(0, 864_000),
    metavar="SECONDS",
    help="How late chaos may be.  [default: 60]",
)
def up(
    auto_approve: float | None, seed: int | None, chaos: int | None, chaos_longest_delay: float | None
) -> None:
    """Run everything on this machine, until Ctrl-C.

    PostgreSQL (embedded, unless DATABASE_URL is set), migrations, demo data the first time, the Daraja
    simulator (unless MPESA_BASE_URL is set), the API and the worker. What dies is started again.

    \b
    Examples
      daftari up
      daftari up --auto-approve 0
      DAFTARI_PORT=8010 DAFTARI_SIMULATOR_PORT=8011 DAFTARI_DATA_DIR=/tmp/try daftari up
      DATABASE_URL=postgresql://shop:secret@db/daftari daftari up
    """
    stopping = stop_on_signals()  # Before the imports, which take a while.
    from api.local.local_simulator import Habits
    from api.local.local_stack import LocalStack

    habits = Habits(auto_approve, seed, chaos, chaos_longest_delay)
    everything = LocalStack(read_settings(), habits, tell=_tell, welcome=_welcome)
    everything.run(stopping)
    _tell("Everything has stopped. Your data are kept: `daftari up` finds them again.")


def _tell(description: str) -> None:
    click.echo(description, err=True)


def _welcome(settings: Settings) -> None:
    """Say where to look and what to try, with a token that works."""
    from api.local.ports import http_url

    api = http_url(settings.daftari_host, settings.daftari_port)
    lines = ["", "Daftari is running. Ctrl-C stops it.", ""]
    lines += [f"  Shop page     {api}/"]
    if settings.mpesa_base_url.startswith("http://"):
        lines += [f"  Phones page   {settings.mpesa_base_url}/   (enter the PIN of a prompt here)"]
    lines += [f"  Work list     {api}/work/   (for operators)"]
    lines += [f"  API           {api}/docs/", f"  Data          {settings.daftari_data_dir}"]
    if not settings.is_production and settings.daftari_jwt_secret:
        lines += ["", *_what_to_try(settings, api)]
    click.echo("\n".join([*lines, ""]))


def _what_to_try(settings: Settings, api: str) -> list[str]:
    from api.http.middleware.auth import make_token

    token = make_token(settings, _DEMO_USER, ["customer"], _TOKEN_MINUTES)
    body = (
        '{"delivery_details": {"full_name": "Wanjiku Kamau", "phone_number": "0712345678", '
        '"county_id": 1, "subcounty_id": 5, "detailed_address": "Moi Avenue 1"}}'
    )
    curl = 'curl -H "Authorization: Bearer $TOKEN"'
    return [
        f"Buyer {_DEMO_USER} has a filled cart. In another terminal:",
        "",
        f"  TOKEN={token}",
        f"  {curl} {api}/api/cart/",
        f"  {curl} -H 'Content-Type: application/json' -d '{body}' {api}/api/payments/sessions/",
        "",
        "Pay for it with POST .../initiate_payment/, enter the PIN on the phones page, and read the story with",
        "`.venv/bin/daftari replay SESSION`.",
    ]
