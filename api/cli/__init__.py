"""`daftari`: the command line."""

from importlib import import_module

import click
from click.exceptions import NoSuchCommand

from api.cli.failures import FailureGroup

MODULES = {
    "up": "up",
    "serve": "running",
    "work": "running",
    "simulator": "running",
    "migrate": "data",
    "demo-data": "data",
    "generate": "generate",
    "token": "token",
    "revoke-tokens": "revoke_tokens",
    "api-keys": "api_keys",
    "listen": "listen",
    "trigger": "trigger",
    "set-mpesa-credentials": "set_mpesa_credentials",
    "check": "check",
    "shop-check": "shop_check",
    "replay": "replay",
    "work-list": "work_list",
    "notify": "notify",
    "webhooks": "webhooks",
    "refunds": "refunds",
    "refund-order": "refunds",
    "switch": "switch",
    "reconcile": "reconcile",
    "register-c2b": "mpesa",
    "pull": "mpesa",
    "verify": "verify",
    "rebuild": "rebuild",
    "psql": "database",
    "pg-dump": "database",
    "restore-dump": "database",
    "audit-log": "audit_log",
    "books": "books",
    "export": "export",
    "export-view": "export",
    "evidence": "evidence",
    "export-customer": "export_customer",
    "erase-customer": "erasure",
    "legal-hold": "erasure",
    "retention": "retention",
    "rotate-master-key": "keys",
    "roll-key": "keys",
    "reencrypt": "keys",
    "create-analyst": "analysts",
    "drop-analyst": "analysts",
}
"""The module of each command, in the order of help."""

EPILOGUE = """\b
Exit codes
  0    success
  1    failure, or a failed check; the message says why
  2    usage error
  3    configuration error; each wrong setting is named with what to type
  4    something the command needs is missing, busy or not responding; retrying may help
  130  interrupted

All settings are environment variables; `daftari check` validates them.
"""


class Commands(FailureGroup):
    """All commands. Each is imported when it is run or explained: what the others import costs time, and memory in a
    process that stays.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands in the order of help."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Return the command of a name, None if there is none."""
        if cmd_name not in MODULES:
            return None
        command: click.Command = getattr(
            import_module(f"{__name__}.{MODULES[cmd_name]}"), cmd_name.replace("-", "_")
        )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names; an error names those that are spelt like it."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:  # The library looks for them among commands that were imported.
            raise NoSuchCommand(error.command_name, possibilities=MODULES, ctx=ctx) from None


@click.group(cls=Commands, epilog=EPILOGUE, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="daftari", message="%(version)s")
def main() -> None:
    """Take payments through M-Pesa, with a ledger that keeps every event.

    Start with `daftari up`: it runs everything on this machine and prints what to try.
    """
    from ledger.store import metadata
    from ledger.store.metadata import Cause

    metadata.begin(Cause.OPERATOR, actor="cli")
