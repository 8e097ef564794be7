"""`daftari notify`: tell people of the open cases now."""

import click

from api.cli.failures import NOT_AVAILABLE, WRONG_SETTINGS, Failure


@click.command(short_help="Notify people of the open cases, by email or webhook.")
@click.option("--test", "is_test", is_flag=True, help="Send the message even if no case is open.")
def notify(*, is_test: bool) -> None:
    """Tell each destination of DAFTARI_NOTIFY of the open cases and alarms now, in one message.

    The worker does so by itself: of new cases at most every 5 minutes, of those that stay open once a day, and once
    that none is open any more. A message has kinds, numbers, ages and sums of cases, and a link to the console where
    DAFTARI_PUBLIC_URL is set; nothing of a payment or a person. Exits with 4 if a destination did not take it.

    \b
    Examples
      daftari notify --test
      daftari notify
    """
    from api.cli.opened import open_database
    from api.wiring import build_case_notifier
    from ledger.store.vault import Vault

    with open_database() as (settings, database):
        if not settings.daftari_notify:
            raise Failure(
                "DAFTARI_NOTIFY is not set. Name who is notified, such as "
                "smtps://user:password@mail.example.co.ke/?from=daftari@example.co.ke&to=shop@example.co.ke.",
                WRONG_SETTINGS,
            )
        notifier = build_case_notifier(settings, database, Vault(database, settings.daftari_master_key))
        cases, sent = notifier.send_all(even_if_none=is_test)
    if not sent:
        click.echo("No open cases: nothing was sent.")
    for number, (kind, failure) in enumerate(sent, 1):
        click.echo(f"{number}. {kind}: {f'not sent: {failure}' if failure else f'sent, {cases} open cases'}")
    if any(failure for _, failure in sent):
        raise Failure("A destination did not take the notification; the reasons are above.", NOT_AVAILABLE)
