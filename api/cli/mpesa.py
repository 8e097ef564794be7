"""`daftari register-c2b` and `daftari pull`: what an operator asks of M-Pesa itself."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from api.cli.failures import IMPOSSIBLE, NOT_AVAILABLE, WRONG_SETTINGS, Failure, read_settings

if TYPE_CHECKING:
    from payments.services import Services


@click.command(name="register-c2b", short_help="Tell M-Pesa where to report payments made by hand.")
@click.option(
    "--response-type",
    type=click.Choice(["Completed", "Cancelled"]),
    help="What M-Pesa does with a payment when we are silent; without it, as DAFTARI_C2B_UNKNOWN says.",
)
@click.option("--print-only", is_flag=True, help="Print the addresses and register nothing.")
def register_c2b(response_type: str | None, print_only: bool) -> None:
    """Register the addresses of C2B confirmations and validations for the shortcode, and print them.

    The addresses hold a secret made from the master key: whoever knows them can report payments. M-Pesa takes them
    once; afterwards they are removed in the Daraja portal by hand. Run again, it says so and changes nothing.

    \b
    Examples
      daftari register-c2b
      daftari register-c2b --response-type Cancelled
    """
    from daraja import forbidden_words_in

    with _services() as services:
        confirmation, validation = services.c2b.urls
        chosen = response_type or services.c2b.response_type
        words = forbidden_words_in(confirmation)
        if words:
            raise Failure(
                f"M-Pesa takes no address with {' or '.join(words)} in it. Choose another MPESA_CALLBACK_URL.",
                WRONG_SETTINGS,
            )
        if not print_only:
            done = services.daraja.register_c2b(
                confirmation_url=confirmation, validation_url=validation, response_type=chosen
            )
            if done.state == "already_registered":
                click.echo(
                    "M-Pesa has addresses for this shortcode already and keeps them. Where they are not the ones "
                    "below, remove them in the Daraja portal and register again."
                )
            else:
                click.echo(f"Registered; where we are silent a payment is {chosen}.")
        click.echo(f"confirmation  {confirmation}\nvalidation    {validation}")


@click.command(short_help="Fetch M-Pesa's list of the last payments.")
@click.option("--register", is_flag=True, help="Ask M-Pesa once to switch the list on for the shortcode.")
@click.option(
    "--nominated-number",
    metavar="PHONE",
    help="With --register: the Safaricom number of the shop's contact, such as 254712345678.",
)
def pull(register: bool, nominated_number: str | None) -> None:
    """Fetch M-Pesa's list of payments since the last time, and record what was missing here.

    The worker does this every hour where DAFTARI_PULL is on. M-Pesa lists the last 48 hours only: what a longer stop
    has missed is written down as a gap, and `daftari reconcile` with a statement closes it. May be repeated.

    \b
    Examples
      daftari pull --register --nominated-number 254712345678
      daftari pull
    """
    if register != (nominated_number is not None):
        raise click.UsageError("--register and --nominated-number go together.")
    with _services() as services:
        if nominated_number is not None:
            state = services.daraja.pull_register(
                nominated_number=nominated_number, callback_url=services.c2b.urls[0]
            )
            told = "had it switched on already" if state == "already_registered" else "has switched it on"
            click.echo(f"M-Pesa {told}. Set DAFTARI_PULL=on for `daftari work`.")
            return
        pulled = services.transaction_poller.pull()
        click.echo(
            f"{len(pulled.settled)} payments from {pulled.start:%Y-%m-%d %H:%M} to {pulled.end:%H:%M} UTC"
        )
        for verdict, count in sorted(Counter(str(each.verdict) for each in pulled.settled).items()):
            click.echo(f"{count:>8}  {verdict}")
        if pulled.unreadable:
            click.echo(f"{pulled.unreadable:>8}  unreadable; they are kept in the work list")
        if pulled.gap is not None:
            since, until = (f"{moment:%Y-%m-%d %H:%M}" for moment in pulled.gap)
            click.echo(f"Nothing is known from {since} to {until} UTC: import the statement of these days.")
        if not pulled.complete:
            raise Failure(
                "The list is longer than what is fetched at once; import a statement of today.", IMPOSSIBLE
            )


@contextmanager
def _services() -> Iterator["Services"]:
    """Lend the parts of a process, and tell what M-Pesa refuses in words."""
    import logging

    from api.http.middleware.logging import configure_logging
    from api.local.databases import server_major
    from api.wiring import build_services
    from daraja import InvalidConfig, Refused, SubmissionError

    settings = read_settings()
    configure_logging(settings.daftari_log_format, lowest_level=logging.ERROR)
    server_major(settings.database_url)
    try:
        services = build_services(settings)
    except InvalidConfig as error:
        raise Failure(f"{error.setting}: {error.message}", WRONG_SETTINGS) from error
    try:
        yield services
    except Refused as error:
        raise Failure(error.message) from error
    except SubmissionError as error:
        raise Failure(error.message, NOT_AVAILABLE) from error
    finally:
        services.close()
