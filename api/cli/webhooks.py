"""`daftari webhooks`: where shops' own servers are told of events."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import click

from api.cli.failures import is_text
from api.cli.operators import actor_of, decider_option

if TYPE_CHECKING:
    from payments.webhooks.deliveries import WebhookDeliveries
    from payments.webhooks.endpoints import Endpoint, WebhookEndpoints

MAX_SHOWN = 100

_endpoint = click.argument("endpoint_id", metavar="ENDPOINT", type=click.UUID)


@click.group(short_help="Tell shops' own servers of events.")
def webhooks() -> None:
    """Add, list, stop and repeat the webhooks by which shops' own servers are told of payments.

    Messages are signed by the scheme of Standard Webhooks. Each change is an entry of the audit log.

    \b
    Examples
      daftari webhooks add https://shop.example/hooks --key web-shop --by 9
      daftari webhooks list
      daftari webhooks deliveries 7c9e6679-7425-40de-944b-e07fc1f90ae7
      daftari webhooks enable 7c9e6679-7425-40de-944b-e07fc1f90ae7 --by 9
      daftari webhooks redeliver 7c9e6679-7425-40de-944b-e07fc1f90ae7 --since 2026-11-27T08:00:00Z
    """


@webhooks.command(short_help="Add an endpoint, and print its secret once.")
@click.argument("url", callback=is_text)
@click.option(
    "--event",
    "events",
    multiple=True,
    callback=lambda _ctx, _param, given: _known_types(given),
    metavar="TYPE",
    help="Send this type of message only, such as payment.paid; can be repeated.",
)
@click.option(
    "--key",
    callback=lambda ctx, param, given: given and is_text(ctx, param, given),
    metavar="NAME",
    help="The name of the API key that it belongs to: it hears of that key's sessions, and of carts. Without, of all.",
)
@decider_option
def add(url: str, events: tuple[str, ...], key: str | None, by: int | None) -> None:
    """Add an endpoint, which is told of what is recorded from now on. Prints its id and its secret.

    The secret is shown this once. The URL is https and of a public host.
    """
    with _opened() as (endpoints, _):
        added, secret = endpoints.add(url, events, key=key, by=actor_of(by))
    _print_secret(added, secret)


@webhooks.command(name="list", short_help="List the endpoints, without their secrets.")
def list_endpoints() -> None:
    """List all endpoints: id, URL, whose it is, what it is sent, and how it does."""
    with _opened() as (endpoints, _):
        found = endpoints.all()
    for each in found:
        click.echo(f"{each.endpoint_id}  {each.definition.url}  {_state(each)}")
        click.echo(
            f"    {_owner(each)}; {', '.join(each.definition.events)}; added {_moment(each.created_at)}"
        )
    if not found:
        click.echo("There are no webhook endpoints. `daftari webhooks add --help` says how to add one.")


@webhooks.command(short_help="Send an endpoint nothing more for now.")
@_endpoint
@decider_option
def disable(endpoint_id: UUID, by: int | None) -> None:
    """Send ENDPOINT nothing more until it is enabled."""
    with _opened() as (endpoints, _):
        endpoints.change(endpoint_id, enabled=False, by=actor_of(by))
    click.echo("It is sent nothing more.")


@webhooks.command(short_help="Go on with an endpoint where it stopped.")
@_endpoint
@decider_option
def enable(endpoint_id: UUID, by: int | None) -> None:
    """Enable ENDPOINT again. It goes on where it stopped, up to 30 days ago, in order."""
    with _opened() as (endpoints, _):
        endpoints.change(endpoint_id, enabled=True, by=actor_of(by))
    click.echo("It goes on where it stopped.")


@webhooks.command(short_help="Give an endpoint a new secret, and print it once.")
@_endpoint
@decider_option
def rotate(endpoint_id: UUID, by: int | None) -> None:
    """Give ENDPOINT a new secret and print it. For a day messages are signed by the one before, too."""
    with _opened() as (endpoints, _):
        rotated, secret = endpoints.rotate(endpoint_id, by=actor_of(by))
    _print_secret(rotated, secret)


@webhooks.command(short_help="Delete an endpoint with its deliveries.")
@_endpoint
@decider_option
def delete(endpoint_id: UUID, by: int | None) -> None:
    """Delete ENDPOINT with its deliveries. It is told of nothing more, whatever waited for it."""
    with _opened() as (endpoints, _):
        endpoints.delete(endpoint_id, by=actor_of(by))
    click.echo("It is deleted.")


@webhooks.command(short_help="List what an endpoint was sent, and what came of it.")
@_endpoint
@click.option("--limit", type=click.IntRange(1, MAX_SHOWN), default=20, show_default=True, help="How many.")
@click.option("--before", type=click.IntRange(1), metavar="DELIVERY", help="Only those before this one.")
def deliveries(endpoint_id: UUID, limit: int, before: int | None) -> None:
    """List deliveries to ENDPOINT, the latest first: number, type, session and version, state, and the last answer."""
    with _opened() as (endpoints, known):
        endpoints.find(endpoint_id)
        found = known.page(endpoint_id, before=before, limit=limit)
    for each in found:
        last = (
            f"; last {_moment(each.last_attempt_at)}: {each.last_error or each.last_status}"
            if each.attempts
            else ""
        )
        due = f"; next {_moment(each.next_attempt_at)}" if each.next_attempt_at else ""
        click.echo(
            f"{each.delivery_id}  {each.type}  {each.session_id} version {each.version}  {each.state}"
            f", {each.attempts} attempts{last}{due}"
        )
    if not found:
        click.echo("There are no deliveries.")


@webhooks.command(short_help="Deliver again: one message, or all since a time.")
@_endpoint
@click.argument("delivery_id", metavar="[DELIVERY]", type=click.IntRange(1, 2**53 - 1), required=False)
@click.option(
    "--since",
    callback=lambda _ctx, _param, given: _parsed(given),
    metavar="TIME",
    help="All that was recorded since then, up to 30 days ago, such as 2026-11-27T08:00:00Z.",
)
@decider_option
def redeliver(endpoint_id: UUID, delivery_id: int | None, since: datetime | None, by: int | None) -> None:
    """Deliver one DELIVERY to ENDPOINT again, or all since a time, under the same ids and in order."""
    if (delivery_id is None) == (since is None):
        raise click.UsageError("Name a DELIVERY, or a time by --since.")
    with _opened() as (endpoints, known):
        if since is not None:
            endpoints.deliver_since(endpoint_id, since, by=actor_of(by))
        elif delivery_id is not None:
            known.deliver_again(endpoint_id, delivery_id)
    click.echo("The worker delivers it again.")


@contextmanager
def _opened() -> Iterator[tuple["WebhookEndpoints", "WebhookDeliveries"]]:
    from api.cli.opened import open_database
    from api.webhooks_wiring import build_webhook_endpoints
    from ledger.store.vault import Vault
    from payments.webhooks.deliveries import WebhookDeliveries

    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        yield build_webhook_endpoints(settings, database, vault), WebhookDeliveries(database)


def _known_types(given: tuple[str, ...]) -> tuple[str, ...]:
    from payments.webhooks.messages import MESSAGE_TYPES

    if unknown := set(given) - set(MESSAGE_TYPES):
        raise click.BadParameter(f"there is no type {unknown.pop()!r}; choose of {', '.join(MESSAGE_TYPES)}.")
    return given or MESSAGE_TYPES


def _parsed(given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.BadParameter("write a time with its zone, such as 2026-11-27T08:00:00Z.")
    return moment


def _print_secret(endpoint: "Endpoint", secret: str) -> None:
    click.echo(f"{endpoint.endpoint_id}  {endpoint.definition.url}")
    click.echo(secret)
    click.echo("Keep the secret: it is shown this once.", err=True)


def _state(endpoint: "Endpoint") -> str:
    if not endpoint.is_enabled:
        return f"disabled ({endpoint.reason}) since {_moment(endpoint.changed_at)}"
    return f"failing since {_moment(endpoint.failing_since)}" if endpoint.failing_since else "enabled"


def _owner(endpoint: "Endpoint") -> str:
    return f"of key {endpoint.definition.key_name}" if endpoint.definition.key_name else "of all sessions"


def _moment(moment: datetime | None) -> str:
    from ledger.clock import in_nairobi

    return in_nairobi(moment) if moment else "never"
