"""`daftari api-keys`: keys by which other programs call the API."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from api.cli.failures import is_text
from api.cli.operators import actor_of, decider_option

if TYPE_CHECKING:
    from payments.api_keys.api_key import ApiKey
    from payments.api_keys.key_store import ApiKeyStore

ROLES = ("server", "auditor", "analyst")
MAX_DAYS = 3650
MAX_GRACE_HOURS = 720

_key_id = click.argument("key_id", metavar="ID", callback=is_text)


@click.group(name="api-keys", short_help="Make, list, rotate and revoke keys for other programs.")
def api_keys() -> None:
    """Make, list, rotate and revoke the keys by which other programs call the API.

    A key is sent as a bearer token: `Authorization: Bearer dk_test_...`. It begins with dk_live_ in production and with
    dk_test_ in development, and is refused in the other. Its sessions and limits belong to its name, whatever its
    secret is. Each change is an entry of the audit log.

    \b
    Examples
      daftari api-keys create --name web-shop --role server --by 9
      daftari api-keys create --name reports --role analyst --allow 203.0.113.0/24 --expires-days 90
      daftari api-keys list
      daftari api-keys rotate 3f9c01a2b4d6 --grace 24
      daftari api-keys revoke 3f9c01a2b4d6 --reason "laptop stolen"
    """


@api_keys.command(short_help="Make a key, and print it once.")
@click.option(
    "--name", required=True, callback=is_text, help="What its sessions belong to: a-z, 0-9, dot, hyphen, _."
)
@click.option("--role", required=True, type=click.Choice(ROLES), help="What the program may do.")
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="CIDR",
    help="Accept it from this address or network only; can be repeated.",
)
@click.option("--expires-days", type=click.IntRange(1, MAX_DAYS), help="Let it end after so many days.")
@decider_option
def create(name: str, role: str, allowed: tuple[str, ...], expires_days: int | None, by: int | None) -> None:
    """Make a key and print it. It is shown this once: Daftari keeps a digest of it alone.

    A server creates checkouts, follows those of its name, and asks for refunds of them; an auditor's key reads what
    auditors read, an analyst's the metrics. No key decides in an operator's stead.
    """
    from payments.api_keys.api_key import parse_addresses
    from payments.api_keys.key_store import NewKey

    lasts = None if expires_days is None else timedelta(days=expires_days)
    wanted = NewKey(name, role, parse_addresses(allowed), lasts)
    with _opened() as store:
        key, text = store.create(wanted, by=actor_of(by))
    _print_made(key, text)


@api_keys.command(name="list", short_help="List the keys, without their secrets.")
def list_keys() -> None:
    """List all keys: id, name, role, how each begins and ends, since when, until when, and when it was last used."""
    from ledger import clock

    with _opened() as store:
        keys = store.list()
    for key in keys:
        click.echo(
            f"{key.key_id}  {key.name}  {key.role}  {key.prefix}…{key.last_four}  {_state(key, clock.now())}"
        )
        click.echo(
            f"              made {clock.in_nairobi(key.created_at)} by {key.created_by}; "
            f"{_last_use(key)}; from {', '.join(map(str, key.allowed_addresses)) or 'any address'}"
        )
    if not keys:
        click.echo("There are no API keys. `daftari api-keys create --help` says how to make one.")


@api_keys.command(short_help="Refuse a key from now on.")
@_key_id
@click.option(
    "--reason", default="", help="Why; kept in the audit log for ever: give no phone number and no name."
)
@decider_option
def revoke(key_id: str, reason: str, by: int | None) -> None:
    """Refuse the key ID in every process within two seconds; it cannot be taken back.

    What the key's name owns stays: rotate the key to go on under the same name.
    """
    from payments.refunds.notes import parse_note

    with _opened() as store:
        note = parse_note(reason, "reason") if reason else ""
        key = store.revoke(key_id, by=actor_of(by), reason=note)
    click.echo(f"The key {key.key_id} of {key.name} is refused.")


@api_keys.command(short_help="Make the key that follows one, and print it once.")
@_key_id
@click.option(
    "--grace",
    type=click.IntRange(0, MAX_GRACE_HOURS),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="How long both keys are good; 0 for a key that leaked.",
)
@decider_option
def rotate(key_id: str, grace: int, by: int | None) -> None:
    """Make the key that follows the key ID, under the same name, and print it once.

    Both are good until the grace is over: give the program the new one meanwhile.
    """
    with _opened() as store:
        key, text = store.rotate(key_id, grace=timedelta(hours=grace), by=actor_of(by))
    _print_made(key, text)
    click.echo(f"The key {key_id} is good for {grace} hours more, unless it ends before.")


def _print_made(key: "ApiKey", text: str) -> None:
    click.echo(f"Key   {text}   (shown this once)")
    click.echo(f"ID    {key.key_id}")
    click.echo(f"Name  {key.name}, for the role {key.role}")


def _state(key: "ApiKey", now: datetime) -> str:
    from ledger.clock import in_nairobi

    if not key.is_genuine:
        return "FORGED: Daftari did not make it, or it was altered, and it is not accepted"
    if key.ends_at is None:
        return "good"
    if now < key.ends_at:
        return f"good until {in_nairobi(key.ends_at)}"
    word = "revoked" if key.ends_at == key.revoked_at else "expired"
    return f"{word} {in_nairobi(key.ends_at)}"


def _last_use(key: "ApiKey") -> str:
    from ledger.clock import in_nairobi

    return f"last used {in_nairobi(key.last_used_at)}" if key.last_used_at else "never used"


@contextmanager
def _opened() -> Iterator["ApiKeyStore"]:
    from api.cli.opened import open_database
    from ledger.store.audit_log import AuditLog
    from ledger.store.vault import Vault
    from payments.api_keys.api_key import prefix_of
    from payments.api_keys.key_store import ApiKeyStore

    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        prefix = prefix_of(is_production=settings.is_production)
        yield ApiKeyStore(database, vault, AuditLog(database, vault.keys), prefix)
