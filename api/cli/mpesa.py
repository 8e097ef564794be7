"""`daftari register-c2b` and `daftari pull`: what an operator asks of M-Pesa itself."""

from collections import Counter

import click

from api.cli.failures import WRONG_SETTINGS, Failure
from ledger.clock import in_nairobi


@click.command(name="register-c2b", short_help="Register the callback URLs for C2B payments.")
@click.option(
    "--response-type",
    type=click.Choice(["Completed", "Cancelled"]),
    help="What M-Pesa does with a payment if we do not respond; by default as DAFTARI_C2B_UNKNOWN says.",
)
@click.option("--print-only", is_flag=True, help="Print the URLs without registering them.")
def register_c2b(response_type: str | None, print_only: bool) -> None:
    """Register the confirmation and validation URLs of C2B for the shortcode, and print them.

    The URLs hold a secret derived from the master key: anyone who knows them can report payments. M-Pesa accepts them
    once; later they can only be removed by hand, in the Daraja portal. Running this again changes nothing.

    \b
    Examples
      daftari register-c2b
      daftari register-c2b --response-type Cancelled
    """
    from api.cli.opened import open_services
    from daraja import forbidden_words_in

    with open_services() as services:
        confirmation, validation = services.c2b.urls
        chosen = response_type or services.c2b.response_type
        words = forbidden_words_in(confirmation)
        if words:
            raise Failure(
                f"M-Pesa rejects URLs that contain {' or '.join(words)}. Choose another MPESA_CALLBACK_URL.",
                WRONG_SETTINGS,
            )
        if not print_only:
            done = services.daraja.register_c2b(
                confirmation_url=confirmation, validation_url=validation, response_type=chosen
            )
            if done.state == "already_registered":
                click.echo(
                    "M-Pesa already has URLs for this shortcode and keeps them. If they are not the ones below, "
                    "remove them in the Daraja portal and register again."
                )
            else:
                click.echo(f"Registered. If we do not respond, M-Pesa treats the payment as {chosen}.")
        click.echo(f"confirmation  {confirmation}\nvalidation    {validation}")


@click.command(short_help="Fetch M-Pesa's list of recent payments.")
@click.option("--register", is_flag=True, help="Ask M-Pesa, once, to enable the list for the shortcode.")
@click.option(
    "--nominated-number",
    metavar="PHONE",
    help="With --register: the Safaricom number of the shop's contact, such as 254712345678.",
)
def pull(register: bool, nominated_number: str | None) -> None:
    """Fetch M-Pesa's list of payments since the last pull, and record those that were missing.

    The worker does this every hour if DAFTARI_PULL is on. M-Pesa lists the last 48 hours only: a longer outage is
    recorded as a gap, which `daftari reconcile` closes with a statement. Pulling again is safe.

    \b
    Examples
      daftari pull --register --nominated-number 254712345678
      daftari pull
    """
    from api.cli.opened import open_services

    if register != (nominated_number is not None):
        raise click.UsageError("--register and --nominated-number go together.")
    with open_services() as services:
        if nominated_number is not None:
            state = services.daraja.pull_register(
                nominated_number=nominated_number, callback_url=services.c2b.urls[0]
            )
            done = "was enabled already" if state == "already_registered" else "is enabled now"
            click.echo(f"M-Pesa's list {done}. Set DAFTARI_PULL=on for `daftari work`.")
            return
        pulled = services.transaction_poller.pull()
    click.echo(f"{len(pulled.results)} payments from {in_nairobi(pulled.start)} to {in_nairobi(pulled.end)}")
    for verdict, count in sorted(Counter(str(each.verdict) for each in pulled.results).items()):
        click.echo(f"{count:>8}  {verdict}")
    if pulled.unreadable:
        click.echo(f"{pulled.unreadable:>8}  unreadable; see the work list")
    if pulled.gap is not None:
        since, until = (in_nairobi(moment) for moment in pulled.gap)
        click.echo(f"There is a gap from {since} to {until}: import the statement of these days.")
    if not pulled.complete:
        raise Failure("The list is too long to fetch at once; import today's statement.")
