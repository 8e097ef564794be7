"""`daftari`: everything that a person or a script does with Daftari from a terminal."""

import click

from api.cli.checking import check
from api.cli.credentials import set_mpesa_credentials
from api.cli.data import demo_data, migrate
from api.cli.failures import FailureGroup
from api.cli.history import replay
from api.cli.mpesa import pull, register_c2b
from api.cli.reconcile import reconcile
from api.cli.refunds import refunds
from api.cli.running import serve, simulator, work
from api.cli.tokens import token
from api.cli.up import up
from api.cli.verifying import verify
from api.cli.work_list import work_list

EPILOGUE = """\b
Exit codes
  0    it is done
  1    it could not be done, or a check failed; the message says why
  2    the command was not written as it should be
  3    the settings are wrong; each problem is told with what to type
  4    something it needs is missing, busy or silent; trying again may help
  130  you stopped it

All settings are environment variables; `daftari check` looks at them.
"""


@click.group(cls=FailureGroup, epilog=EPILOGUE, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="daftari", message="%(version)s")
def main() -> None:
    """Take payments through M-Pesa and keep every fact about them.

    Begin with `daftari up`, which runs everything on this machine and says what to try.
    """


for command in (
    up,
    serve,
    work,
    simulator,
    migrate,
    demo_data,
    token,
    set_mpesa_credentials,
    check,
    replay,
    work_list,
    refunds,
    reconcile,
    register_c2b,
    pull,
    verify,
):
    main.add_command(command)
