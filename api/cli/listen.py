"""`daftari listen`: the messages of a Daftari, sent on to a program of this machine."""

from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from api.cli.failures import read_settings
from api.cli.running import stop_on_signals

if TYPE_CHECKING:
    from api.cli.server_api import Feed

POLL_SECONDS = 0.5
AWAY_SECONDS = 2.0
"""Between two questions to a Daftari that does not answer."""
PAUSES_SECONDS = (1.0, 3.0)
"""Before the second try of a message, and before the last."""
TARGET_SECONDS = 10
KEPT_IN = "listen-secret"


@click.command(short_help="Send what happens on to a program of yours, as webhooks.")
@click.option("--forward-to", "target", metavar="URL", help="Where your program takes webhooks.")
@click.option("--types", help="Only messages of these types, with commas between.  [default: all]")
@click.option("--server", metavar="URL", help="The Daftari.  [default: the one of this machine]")
@click.option("--print-secret", is_flag=True, help="Print the secret that signs them, and end.")
def listen(target: str | None, types: str | None, server: str | None, *, print_secret: bool) -> None:
    """Send what happens from now on to a program of this machine, as the webhooks that it will get in production.

    Follows the feed of messages by the server key in DAFTARI_API_KEY, so no address of this machine has to be public.
    Each message is signed by a secret of this data folder, which stays the same, and is tried three times at most. A
    line for each says when, its type, its session and the HTTP status that your program answered with. Ctrl-C ends it.
    It waits for a Daftari that is started anew, and misses nothing meanwhile.

    \b
    Examples
      daftari listen --forward-to http://127.0.0.1:4242/webhooks
      export WEBHOOK_SECRET=$(daftari listen --print-secret)
    """
    from api.local.folders import read_or_make_private_file
    from api.local.ports import http_url
    from payments.webhooks.signing import new_secret

    settings = read_settings()
    secret = read_or_make_private_file(settings.daftari_data_dir / KEPT_IN, new_secret())
    if print_secret:
        click.echo(secret)
        return
    if target is None:
        raise click.UsageError("Give --forward-to URL, or --print-secret.")
    stopping = stop_on_signals()
    from api.cli.server_api import ServerApi
    from ledger import clock

    since = clock.now()
    api = ServerApi(server or http_url(settings.daftari_host, settings.daftari_port))
    click.echo(f"Messages are signed by {secret} and go to {target}. Ctrl-C ends this.", err=True)
    _follow(api.feed(since, types), Forwarder(target, secret, stopping), stopping)


class Forwarder:
    """Posts messages to a URL, each signed, and tried again where it is not taken."""

    def __init__(self, url: str, secret: str, stopping: Event) -> None:
        self._url = url
        self._secret = secret
        self._stopping = stopping

    def forward(self, message: dict[str, Any]) -> None:
        """Send a message until it is taken, or its tries are used up; print what came of each try."""
        for pause in (*PAUSES_SECONDS, 0.0):
            status = self._post(message)
            click.echo(_line(message, status))
            if 200 <= int(status if status.isdecimal() else 0) < 300 or self._stopping.wait(pause):
                return

    def _post(self, message: dict[str, Any]) -> str:
        """Return the status that a message was answered with, or why there is none."""
        import requests

        from ledger import clock
        from payments.webhooks.messages import body_of
        from payments.webhooks.signing import signed_headers

        body = body_of({name: value for name, value in message.items() if name != "id"})
        headers = signed_headers(message["id"], clock.now(), body, [self._secret])
        try:
            with requests.post(
                self._url,
                data=body,
                headers=headers | {"content-type": "application/json"},
                timeout=TARGET_SECONDS,
                allow_redirects=False,
                stream=True,  # Of the body nothing is read.
            ) as answer:
                return str(answer.status_code)
        except requests.Timeout:
            return f"no answer in {TARGET_SECONDS} s"
        except requests.RequestException:
            return "not reachable"


def _follow(feed: "Feed", forwarder: Forwarder, stopping: Event) -> None:
    """Send on what the feed holds, page by page, until it is to stop. Raises Failure for what the Daftari refuses."""
    from api.cli.server_api import ServerAway

    is_away = False
    while not stopping.is_set():
        try:
            for message in feed.read():
                forwarder.forward(message)
                if stopping.is_set():
                    return
            is_away = False
        except ServerAway:
            if not is_away:
                click.echo("Daftari does not answer; waiting for it.", err=True)
            is_away = True
        if is_away or not feed.has_more:
            stopping.wait(AWAY_SECONDS if is_away else POLL_SECONDS)


def _line(message: dict[str, Any], status: str) -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}  {message['type']:<16}  {message['data']['session_id']}  {status}"
