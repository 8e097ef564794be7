"""`daftari revoke-tokens`: refuse a user's bearer tokens before they end."""

import click

from api.cli.operators import actor_of
from api.cli.users import user_argument


@click.command(name="revoke-tokens", short_help="Refuse a user's tokens from now on.")
@user_argument
@click.option(
    "--token-id", metavar="JTI", help="Only the token with this `jti`, instead of all issued until now."
)
@click.option(
    "--reason", default="", help="Why; kept in the audit log for ever: give no phone number and no name."
)
@click.option("--by", type=click.IntRange(min=1), metavar="USER", help="The number of who revokes them.")
def revoke_tokens(user: str, token_id: str | None, reason: str, by: int | None) -> None:
    """Refuse every token of USER that was issued until now, in the API and in the console.

    USER is the `sub` of the tokens, a number or any other text.

    Every process knows within two seconds. Tokens issued later are good; those that do not say when they were issued
    (`iat`) are refused for good.

    \b
    Example: an operator's laptop was stolen
      daftari revoke-tokens 9 --reason "laptop stolen"
    """
    from api.cli.opened import open_database
    from ledger.store.audit_log import AuditLog
    from ledger.store.vault import Vault
    from payments.refunds.notes import parse_note
    from payments.revocation.token_revocations import TokenRevocations
    from payments.users.user_ids import UserIds

    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        revocations = TokenRevocations(database, AuditLog(database, vault.keys))
        actor = actor_of(by)
        note = parse_note(reason, "reason") if reason else ""
        user_ids = UserIds(database, vault)
        user_id = user_ids.find(user) or user_ids.user_id_of(user)
        if token_id is None:
            revocations.revoke_all(user_id, by=actor, reason=note)
            click.echo(f"Every token of user {user} that was issued until now is refused.")
        else:
            revocations.revoke(user_id, token_id, by=actor, reason=note)
            click.echo(f"This token of user {user} is refused.")
