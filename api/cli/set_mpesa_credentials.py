"""`daftari set-mpesa-credentials`: M-Pesa's credentials, stored encrypted in the database."""

import os
import sys

import click

from api.cli.failures import read_settings

_SECRETS = (
    "MPESA_CONSUMER_KEY",
    "MPESA_CONSUMER_SECRET",
    "MPESA_PASSKEY",
    "MPESA_INITIATOR_PASSWORD",
    "MPESA_SECURITY_CREDENTIAL",
)


@click.command(name="set-mpesa-credentials", short_help="Store M-Pesa's credentials, encrypted.")
@click.option("--consumer-key", help="The app's consumer key.")
@click.option("--consumer-secret", help="The app's consumer secret.")
@click.option("--business-shortcode", help="The paybill, or for buy goods the store number.")
@click.option("--passkey", help="The passkey of Lipa na M-Pesa Online.")
@click.option("--environment", help="sandbox or production.")
@click.option("--transaction-type", help="CustomerPayBillOnline or CustomerBuyGoodsOnline.")
@click.option("--party-b", help="The till number, for buy goods.")
@click.option("--initiator-name", help="The initiator who sends refunds.")
@click.option("--initiator-password", help="The initiator's password.")
@click.option("--security-credential", help="The initiator's password, encrypted elsewhere.")
def set_mpesa_credentials(**options: str | None) -> None:
    """Store M-Pesa's credentials in the database, encrypted under the master key.

    Stores the values given as options, or else as variables such as MPESA_PASSKEY; others stay as they are. Without
    any, a terminal prompts for each, hiding secrets; Enter keeps the stored value. Environment variables override
    stored credentials. MPESA_BASE_URL and MPESA_CALLBACK_URL are never stored: who can write to the database must not
    choose where the credentials go. Restart `daftari serve` and `daftari work` afterwards.

    \b
    Examples
      daftari set-mpesa-credentials
      daftari set-mpesa-credentials --business-shortcode 174379 --environment sandbox
      MPESA_PASSKEY=... daftari set-mpesa-credentials
    """
    from api.setting_rules import STORED_NAMES

    given = {name: _option_or_variable(options, name) for name in STORED_NAMES}
    if not any(given.values()) and sys.stdin.isatty():
        given = {name: _prompted(name) for name in STORED_NAMES}
    given = {name: text for name, text in given.items() if text}
    if not given:
        click.echo("Nothing was given, so nothing has changed. See `--help` for the options.")
        return
    _store(given)
    click.echo(f"Stored: {', '.join(given)}.")


def _option_or_variable(options: dict[str, str | None], name: str) -> str:
    option = options[name.removeprefix("MPESA_").lower()]
    return (option or os.environ.get(name, "")).strip()


def _prompted(name: str) -> str:
    text: str = click.prompt(
        f"{name} (Enter keeps it)", default="", show_default=False, hide_input=name in _SECRETS
    )
    return text.strip()


def _store(given: dict[str, str]) -> None:
    """Store valid credentials; raise ConfigurationError or WrongKey, and then store none."""
    from api.cli.opened import open_database_as_migrator
    from api.settings import load_settings
    from ledger.store.vault import Vault
    from payments.mpesa.credentials import CredentialStore

    load_settings(given, read_settings().environ)
    with open_database_as_migrator() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        CredentialStore(database, vault).write(given)
