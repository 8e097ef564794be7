"""`daftari set-mpesa-credentials`: M-Pesa's keys, kept encrypted in the database."""

import os
import sys

import click

from api.cli.failures import read_settings
from api.settings import STORED_NAMES

_SECRETS = (
    "MPESA_CONSUMER_KEY",
    "MPESA_CONSUMER_SECRET",
    "MPESA_PASSKEY",
    "MPESA_INITIATOR_PASSWORD",
    "MPESA_SECURITY_CREDENTIAL",
)


@click.command(name="set-mpesa-credentials", short_help="Keep M-Pesa's keys, encrypted.")
@click.option("--consumer-key", help="The app's consumer key.")
@click.option("--consumer-secret", help="The app's consumer secret.")
@click.option("--business-shortcode", help="The paybill, or for buy goods the store number.")
@click.option("--passkey", help="The passkey of Lipa na M-Pesa Online.")
@click.option("--callback-url", help="Where M-Pesa reports results.")
@click.option("--environment", help="sandbox or production.")
@click.option("--base-url", help="Daraja's address, where it is not Safaricom's.")
@click.option("--transaction-type", help="CustomerPayBillOnline or CustomerBuyGoodsOnline.")
@click.option("--party-b", help="The till number, for buy goods.")
@click.option("--initiator-name", help="The operator who gives money back.")
@click.option("--initiator-password", help="The operator's password.")
@click.option("--security-credential", help="The operator's password, sealed elsewhere.")
def set_mpesa_credentials(**options: str | None) -> None:
    """Keep M-Pesa's credentials in the database, encrypted under the master key.

    What is given by a flag, else by a variable such as MPESA_PASSKEY, is stored; the rest stays as it is. With
    neither, a terminal is asked for each value, unseen, and Enter keeps what there is. Variables win over stored
    credentials wherever both exist. Restart `daftari serve` and `daftari work` afterwards.

    \b
    Examples
      daftari set-mpesa-credentials
      daftari set-mpesa-credentials --business-shortcode 174379 --environment sandbox
      MPESA_PASSKEY=... daftari set-mpesa-credentials
    """
    from api.local.stored_credentials import store_credentials

    given = _given(options)
    if not given and sys.stdin.isatty():
        given = _asked()
    if not given:
        click.echo("Nothing was given, so nothing has changed. `--help` shows how to give something.")
        return
    store_credentials(read_settings(), given)
    click.echo(f"Stored: {', '.join(given)}.")


def _given(options: dict[str, str | None]) -> dict[str, str]:
    """Return what flags and variables say, by the names of the variables."""
    given = {}
    for name in STORED_NAMES:
        text = options[name.removeprefix("MPESA_").lower()] or os.environ.get(name, "")
        if text.strip():
            given[name] = text.strip()
    return given


def _asked() -> dict[str, str]:
    given = {}
    for name in STORED_NAMES:
        text: str = click.prompt(
            f"{name} (Enter keeps it)", default="", show_default=False, hide_input=name in _SECRETS
        )
        if text.strip():
            given[name] = text.strip()
    return given
