"""`daftari trigger`: a test payment on the simulated M-Pesa, from its checkout to its message."""

import json
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from api.cli.failures import NOT_AVAILABLE, Failure, read_settings

if TYPE_CHECKING:
    from api.cli.server_api import ServerApi

EXPIRES_SECONDS = 60
"""The shortest life of a checkout."""
WAITS_SECONDS = 30
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Scenario:
    """How a message comes about: by a prompt to a number whose outcome is fixed, None to prompt nobody.

    Where the number ends in NN, any two digits do: the same number cannot pay the same amount twice in two minutes.
    """

    number: str | None
    waits_seconds: int = WAITS_SECONDS


SCENARIOS = {
    "payment.paid": Scenario("2547000100NN"),
    "payment.failed": Scenario("254700001032"),
    "payment.expired": Scenario(None, EXPIRES_SECONDS + WAITS_SECONDS),
    "payment.in_doubt": Scenario("2547000106NN"),  # Of 0105NN the callback may be here before the doubt.
    "order.created": Scenario("2547000100NN"),
    "refund.due": Scenario("2547000109NN"),
}


@click.command(short_help="Make a test payment whose message your program gets.")
@click.argument("type_", metavar="TYPE", type=click.Choice(list(SCENARIOS)))
@click.option("--reference", help="Your reference of the checkout.  [default: none]")
def trigger(type_: str, reference: str | None) -> None:
    """Make a real test payment on the simulated M-Pesa, so that a message of TYPE is told, and print that message.

    A checkout is created by the server key in DAFTARI_API_KEY, and a simulated phone whose outcome is fixed is
    prompted: nothing is made up, so webhooks, the feed and the console show it as any payment. `payment.expired`
    takes a minute. For `refund.done` trigger `refund.due`, and decide about the refund in the console. It works in
    development only, on the Daftari of this machine with its simulator.

    \b
    Examples
      daftari trigger payment.paid
      daftari trigger refund.due --reference ORDER-1001
    """
    from api.local.ports import http_url
    from api.setting_values import is_near

    settings = read_settings()
    if settings.is_production or not is_near(settings.mpesa_base_url):
        raise Failure("This is for development, with the simulated M-Pesa of `daftari up`.")
    from api.cli.server_api import ServerApi, ServerAway, is_away
    from ledger import clock

    url = http_url(settings.daftari_host, settings.daftari_port)
    api, since = ServerApi(url), clock.now()
    try:
        session_id = _pay(api, SCENARIOS[type_], reference)
        message = _message(api, type_, session_id, since)
    except ServerAway as error:
        raise is_away(url) from error
    click.echo(json.dumps(message, indent=2))


def _pay(api: "ServerApi", scenario: Scenario, reference: str | None) -> str:
    """Open a checkout and prompt the scenario's number; return the id of its session."""
    from api.cli.server_api import ServerAway

    amount = f"{100 + secrets.randbelow(900)}.00"
    body: dict[str, Any] = {"amount": amount, "expires_in": EXPIRES_SECONDS}
    session = api.call(
        "POST", "/api/payments/checkouts/", json=body | ({"reference": reference} if reference else {})
    )
    session_id: str = session["session_id"]
    click.echo(f"Session {session_id} of {amount}", err=True)
    if scenario.number is not None:
        phone = scenario.number.replace("NN", f"{secrets.randbelow(100):02d}")
        with suppress(ServerAway):  # As it is meant to be, where the answer to the push is lost.
            api.call(
                "POST",
                f"/api/payments/sessions/{session_id}/initiate_payment/",
                json={"phone_number": phone},
            )
    return session_id


def _message(api: "ServerApi", type_: str, session_id: str, since: datetime) -> dict[str, Any]:
    """Return the message of a type of a session, once it is told. Raises Failure after the scenario's time."""
    feed, ends_at = api.feed(since, type_), time.monotonic() + SCENARIOS[type_].waits_seconds
    while time.monotonic() < ends_at:
        for message in feed.read():
            if message["data"]["session_id"] == session_id:
                return message
        time.sleep(POLL_SECONDS)
    raise Failure(
        f"Session {session_id} has no {type_} yet. Is the worker running? `daftari replay {session_id}` says more.",
        NOT_AVAILABLE,
    )
