"""`daftari rotate-master-key` and `daftari roll-key`: new keys, while everything made before can still be read."""

import math
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.cli.failures import WRONG_SETTINGS, Failure

if TYPE_CHECKING:
    from ledger.store.database import Database

USER = click.IntRange(1, 2**63 - 1)
BY = click.option(
    "--by", type=USER, metavar="USER", required=True, help="The number of the person who decides."
)

_NEXT = (
    "The database belongs to the new key now. Set DAFTARI_MASTER_KEY to it everywhere (or replace the file "
    "master-key of the data folder), restart each process, then type `daftari rotate-master-key --finish`."
)


@click.command(name="rotate-master-key", short_help="Replace the master key.")
@click.option(
    "--new-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the new key, base64 of 32 bytes; or the variable DAFTARI_NEW_MASTER_KEY holds it.",
)
@click.option("--finish", is_flag=True, help="The second step, once all processes run with the new key.")
@BY
def rotate_master_key(new_key_file: Path | None, by: int, *, finish: bool) -> None:
    """Replace the master key in two steps, without an outage.

    First step, with the present key in DAFTARI_MASTER_KEY: wraps the key ring by the new key, in one commit. Running
    processes go on. Then set DAFTARI_MASTER_KEY to the new key everywhere, and restart them one after the other.

    Second step, --finish, with the new key: new keys come into use for everything but digests, and customers' keys and
    stored credentials are wrapped by them. It waits a minute, until every process uses the new keys; it may be
    interrupted and run again at any time.

    Callback URLs made before stay good for 30 days. The URLs of C2B hold a secret of the same kind: register them anew
    within that time (`daftari register-c2b`). Keep the old key for as long as you keep backups made under it.

    \b
    Examples
      daftari rotate-master-key --new-key-file new-key --by 41
      daftari rotate-master-key --finish --by 41
    """
    if finish:
        _finish(by)
    else:
        _begin(_new_key(new_key_file), by)


@click.command(name="roll-key", short_help="Let a key of one purpose be followed by a new one.")
@click.argument("purpose", type=click.Choice(["callback tokens", "signed blocks", "event mac", "audit log"]))
@BY
def roll_key(purpose: str, by: int) -> None:
    """Make a new key for PURPOSE, in use a minute from now. What was made with the keys before stays good.

    \b
    Example
      daftari roll-key "callback tokens" --by 41
    """
    from api.cli.opened import open_database_as_migrator
    from ledger.store.audit_log import AuditLog
    from ledger.store.vault import Vault

    with open_database_as_migrator() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        with database.transaction() as connection:
            key_id = vault.keys.roll(connection, purpose)
            details = {"purpose": purpose, "key_id": key_id}
            AuditLog(database, vault.keys).record(
                connection, "key_rolled", actor=f"cli:user:{by}", details=details
            )
    click.echo(f"Key {key_id} for {purpose} is in use in a minute.")


def _new_key(file: Path | None) -> bytes:
    from api.cli.failures import read_settings
    from api.setting_values import master_key

    given = file.read_text("utf-8") if file else read_settings().environ.get("DAFTARI_NEW_MASTER_KEY", "")
    try:
        return master_key(given.strip())
    except ValueError as error:
        raise Failure(f"The new key {error}", WRONG_SETTINGS) from None


def _begin(new_key: bytes, by: int) -> None:
    from api.cli.opened import open_database_as_migrator
    from ledger.store.audit_log import AuditLog
    from ledger.store.vault import Vault

    with open_database_as_migrator() as (settings, database):
        if new_key == settings.daftari_master_key:
            raise Failure("The new key is the present one.", WRONG_SETTINGS)
        if _opens(database, new_key):
            click.echo(f"This was done before. {_NEXT}")
            return
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        with database.transaction() as connection:
            AuditLog(database, vault.keys).record(
                connection, "master_key_rotated", actor=f"cli:user:{by}", details={"step": "begun"}
            )
            vault.keys.rewrap(connection, new_key)
    click.echo(_NEXT)


def _opens(database: "Database", master_key: bytes) -> bool:
    from ledger.store.key_ring import KeyRing, WrongKey

    try:
        return KeyRing(database, master_key).is_stored()
    except WrongKey:
        return False


def _finish(by: int) -> None:
    from api.cli.opened import open_database_as_migrator
    from ledger.store.audit_log import AuditLog
    from ledger.store.key_ring import CUSTOMER_KEYS
    from ledger.store.vault import Vault
    from payments.mpesa.credentials import CredentialStore

    with open_database_as_migrator() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        vault.check_master_key()  # The old key must not begin the second step.
        if len(vault.keys.keys(CUSTOMER_KEYS)) == 1:
            raise Failure("No rotation was begun: type `daftari rotate-master-key` with the new key first.")
        with database.transaction() as connection:
            vault.keys.retire_older(connection)
        _wait_until(vault.keys.settled_at())
        wrapped = 0
        while True:
            with database.transaction() as connection:
                count = vault.rewrap_customers(connection)
            if not count:
                break
            wrapped += count
            click.echo(f"{wrapped} customers' keys are wrapped anew.")
        credentials = CredentialStore(database, vault)
        credentials.write(credentials.read())
        AuditLog(database, vault.keys).record(
            None,
            "master_key_rotated",
            actor=f"cli:user:{by}",
            details={"step": "finished", "customers": wrapped},
        )
    click.echo("Finished: nothing in use is wrapped by the old master key any more.")


def _wait_until(moment: datetime) -> None:
    from ledger import clock

    seconds = (moment - clock.now()).total_seconds()
    if seconds > 0:
        click.echo(f"Every process uses the new keys in {math.ceil(seconds)} seconds; this waits for it.")
        time.sleep(seconds)


@click.command(short_help="Encrypt anew what the release before encrypted.")
def reencrypt() -> None:
    """Encrypt anew what the release before encrypted: settings, kept answers, messages, references, orders.

    The worker does it by itself within a day of an upgrade. This does it at once; type it only when no process of the
    release before runs any more: afterwards the old format is refused outside of events. It works in small
    batches, may be interrupted and run again.

    \b
    Example
      daftari reencrypt
    """
    from api.cli.opened import open_database
    from ledger.store.vault import Vault
    from payments.erasure.reencryption import Reencryption

    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        reencryption = Reencryption(database, vault)
        reencryption.begin()
        while (batch := reencryption.run_batch())[0] is not None:
            if batch[1]:
                click.echo(f"{batch[0]}: {batch[1]} rows")
        is_done = reencryption.end(no_old_process=True)
    if not is_done:
        raise Failure(
            f"{reencryption.unreadable} values cannot be decrypted; the others are in the present format."
        )
    click.echo("Everything outside of events is encrypted in the present format.")
