"""`daftari`: the command line."""

import click

from api.cli.analysts import create_analyst, drop_analyst
from api.cli.api_keys import api_keys
from api.cli.audit_log import audit_log
from api.cli.books import books
from api.cli.check import check
from api.cli.data import demo_data, migrate
from api.cli.database import pg_dump, psql, restore_dump
from api.cli.erasure import erase_customer, legal_hold
from api.cli.evidence import evidence
from api.cli.export import export, export_view
from api.cli.export_customer import export_customer
from api.cli.failures import FailureGroup
from api.cli.generate import generate
from api.cli.keys import reencrypt, roll_key, rotate_master_key
from api.cli.listen import listen
from api.cli.mpesa import pull, register_c2b
from api.cli.notify import notify
from api.cli.rebuild import rebuild
from api.cli.reconcile import reconcile
from api.cli.refunds import refund_order, refunds
from api.cli.replay import replay
from api.cli.retention import retention
from api.cli.revoke_tokens import revoke_tokens
from api.cli.running import serve, simulator, work
from api.cli.set_mpesa_credentials import set_mpesa_credentials
from api.cli.shop_check import shop_check
from api.cli.switch import switch
from api.cli.token import token
from api.cli.trigger import trigger
from api.cli.up import up
from api.cli.verify import verify
from api.cli.webhooks import webhooks
from api.cli.work_list import work_list

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


@click.group(cls=FailureGroup, epilog=EPILOGUE, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="daftari", message="%(version)s")
def main() -> None:
    """Take payments through M-Pesa, with a ledger that keeps every event.

    Start with `daftari up`: it runs everything on this machine and prints what to try.
    """
    from ledger.store import metadata
    from ledger.store.metadata import Cause

    metadata.begin(Cause.OPERATOR, actor="cli")


for command in (
    up,
    serve,
    work,
    simulator,
    migrate,
    demo_data,
    generate,
    token,
    revoke_tokens,
    api_keys,
    listen,
    trigger,
    set_mpesa_credentials,
    check,
    shop_check,
    replay,
    work_list,
    notify,
    webhooks,
    refunds,
    refund_order,
    switch,
    reconcile,
    register_c2b,
    pull,
    verify,
    rebuild,
    psql,
    pg_dump,
    restore_dump,
    audit_log,
    books,
    export,
    export_view,
    evidence,
    export_customer,
    erase_customer,
    legal_hold,
    retention,
    rotate_master_key,
    roll_key,
    reencrypt,
    create_analyst,
    drop_analyst,
):
    main.add_command(command)
