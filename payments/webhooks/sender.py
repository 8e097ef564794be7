"""Delivers to webhook endpoints what is due: to each in a thread of its own, so that a slow one delays no other.

What was sent and not marked, because the worker was killed between the two, is sent once more.
"""

import asyncio
import ssl
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from functools import cached_property
from threading import Event
from uuid import UUID

from ledger import clock
from ledger.errors import InvalidValue, LedgerError
from ledger.store.counters import WEBHOOK_ATTEMPTS
from ledger.store.database import Database
from payments.webhooks.connections import Connections, NotPosted, Reply
from payments.webhooks.deliveries import (
    FAILED,
    LOCK_ENDPOINTS,
    Delivery,
    WebhookDeliveries,
    mark,
    wake,
)
from payments.webhooks.delivery_outcome import Outcome, closed, not_made, outcome_of
from payments.webhooks.endpoints import GONE, MAX_IN_ALL, ONLY_FAILURES, Endpoint, WebhookEndpoints
from payments.webhooks.event_loop import EventLoopThread
from payments.webhooks.http_post import Route
from payments.webhooks.session_messages import Made, SessionMessage, SessionMessages
from payments.webhooks.signing import signed_headers
from payments.webhooks.targets import parse_target

AT_ONCE = 16
"""Deliveries to one endpoint, each of another session."""

BATCHES = 20
"""In a row to one endpoint, while all of them are taken: then its state is read anew."""

ROUND_SECONDS = 0.2
"""For so long at most a round waits for an endpoint to be done."""

AWAY = timedelta(minutes=5)
"""Whoever took nothing for so long was away: once it takes something, what failed meanwhile is due at once."""

_SET_STATE = "UPDATE webhook_endpoints SET failing_since = %s, paused_until = %s WHERE endpoint_id = %s"


class WebhookSender:
    """Sends what is due. `tls` verifies the endpoints; by default the authorities of this machine count."""

    def __init__(
        self,
        database: Database,
        endpoints: WebhookEndpoints,
        deliveries: WebhookDeliveries,
        messages: SessionMessages,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._database = database
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._messages = messages
        self._given_tls = tls
        self._threads = ThreadPoolExecutor(MAX_IN_ALL, thread_name_prefix="webhooks")
        self._busy: dict[UUID, Future[int]] = {}
        self._closing = Event()
        self._loop = EventLoopThread("webhooks-loop", MAX_IN_ALL)
        self._connections = Connections(lambda: self._tls)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """What verifies endpoints; made when something is first sent, because it reads hundreds of certificates."""
        return self._given_tls or ssl.create_default_context()

    def run(self) -> int:
        """Begin with every endpoint that something is due for; return how many deliveries were attempted since.

        Raises Unavailable.
        """
        enabled = {endpoint.endpoint_id: endpoint for endpoint in self._endpoints.enabled()}
        idle = [endpoint_id for endpoint_id in enabled if endpoint_id not in self._busy]
        if idle:
            for endpoint_id in self._deliveries.endpoints_due(idle, clock.now()):
                self._busy[endpoint_id] = self._threads.submit(self._deliver_to, enabled[endpoint_id])
        wait(self._busy.values(), ROUND_SECONDS, FIRST_COMPLETED)
        return self._take_ended()

    def wait(self) -> int:
        """Wait for every endpoint that was begun with; return how many deliveries were attempted since."""
        wait(self._busy.values())
        return self._take_ended()

    def close(self) -> None:
        """Wait for the attempts under way, which their bounds end, and begin with no more: the process is to end."""
        self._closing.set()
        self._threads.shutdown()
        self._loop.close()

    def _take_ended(self) -> int:
        ended = [endpoint_id for endpoint_id, future in self._busy.items() if future.done()]
        return sum([self._busy.pop(endpoint_id).result() for endpoint_id in ended])

    def _deliver_to(self, endpoint: Endpoint) -> int:
        total = 0
        for _ in range(BATCHES):
            if self._closing.is_set():
                break
            due = self._deliveries.due(endpoint.endpoint_id, clock.now(), AT_ONCE)
            outcomes = self._attempt(endpoint, due)
            if outcomes:
                self._store(endpoint.endpoint_id, outcomes)
            total += len(outcomes)
            if len(due) < AT_ONCE or any(outcome.is_failure for outcome in outcomes):
                break
        return total

    def _attempt(self, endpoint: Endpoint, due: Sequence[Sequence[Delivery]]) -> list[Outcome]:
        """Attempt deliveries, those of a session in order and all sessions at once; return what came of each.

        Raises Unavailable.
        """
        deliveries = [delivery for of_session in due for delivery in of_session]
        made = iter(self._messages.of(endpoint.definition, deliveries))
        messages = [[(delivery, next(made)) for delivery in of_session] for of_session in due]
        return self._loop.run(self._send(endpoint, messages))

    async def _send(
        self, endpoint: Endpoint, due: Sequence[Sequence[tuple[Delivery, Made]]]
    ) -> list[Outcome]:
        allows_private = self._endpoints.allows_private
        try:
            target = parse_target(endpoint.definition.url, allows_private=allows_private)
        except InvalidValue:  # What was allowed when it was added is so no longer.
            route = None
        else:
            route = Route(target, self._connections, endpoint.endpoint_id, allows_private=allows_private)
        secrets = endpoint.definition.secrets_at(clock.now())
        each_session = [self._send_in_order(route, secrets, of_session) for of_session in due]
        return [outcome for found in await asyncio.gather(*each_session) for outcome in found]

    async def _send_in_order(
        self, route: Route | None, secrets: Sequence[str], due: Sequence[tuple[Delivery, Made]]
    ) -> list[Outcome]:
        """Send the messages of a session one after the other, up to the first that is not taken."""
        found: list[Outcome] = []
        for delivery, message in due:
            if isinstance(message, SessionMessage):
                answer = await _answer(route, secrets, message)
                outcome = outcome_of(delivery, answer, clock.now())
            else:
                outcome = _unsent(delivery, message, clock.now())
            found.append(outcome)
            if outcome.is_failure or self._closing.is_set():
                break
        return found

    def _store(self, endpoint_id: UUID, outcomes: Sequence[Outcome]) -> None:
        """Mark deliveries, and what their outcomes say of the endpoint, in one commit."""
        now = clock.now()
        with self._database.transaction() as connection:
            row = connection.execute(LOCK_ENDPOINTS, ([endpoint_id],)).fetchone()
            failing_since, paused_until = (row["failing_since"], row["paused_until"]) if row else (None, None)
            is_taken = any(outcome.is_taken for outcome in outcomes)
            reason = _reason_to_disable(outcomes, failing_since, is_taken=is_taken)
            ended = [each.given_up if each.is_last and reason != ONLY_FAILURES else each for each in outcomes]
            mark(connection, endpoint_id, [(each.delivery.session_id, each.mark) for each in ended], now)
            if is_taken and failing_since is not None and now - failing_since >= AWAY:
                wake(connection, endpoint_id, now)
            state = _state_after(ended, failing_since, now)
            if state != (failing_since, paused_until):
                connection.execute(_SET_STATE, (*state, endpoint_id))
            if reason is not None:
                self._endpoints.disable(connection, endpoint_id, reason)
        for outcome in outcomes:
            WEBHOOK_ATTEMPTS.add(outcome.name)


def _state_after(
    outcomes: Sequence[Outcome], failing_since: datetime | None, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return since when nothing is taken, and until when nothing is to be sent."""
    pauses = [outcome.pause for outcome in outcomes if outcome.pause]
    if any(outcome.is_taken for outcome in outcomes):
        since = None
    elif any(outcome.is_failure for outcome in outcomes):
        since = failing_since or now
    else:
        since = failing_since
    return since, now + max(pauses) if pauses else None


def _reason_to_disable(
    outcomes: Sequence[Outcome], failing_since: datetime | None, *, is_taken: bool
) -> str | None:
    """Return why an endpoint is disabled after these outcomes: it is gone, or took nothing since a first attempt."""
    if any(outcome.is_gone for outcome in outcomes):
        return GONE
    if is_taken or failing_since is None:
        return None
    last = [outcome.delivery.tried_since for outcome in outcomes if outcome.is_last]
    return ONLY_FAILURES if any(since is not None and failing_since <= since for since in last) else None


async def _answer(route: Route | None, secrets: Sequence[str], message: SessionMessage) -> Reply | str:
    """Return the answer to a message, or why there was none."""
    if route is None:
        return "the address is not public"
    headers = signed_headers(message.message_id, clock.now(), message.body, secrets)
    try:
        return await route.post(headers, message.body)
    except NotPosted as failure:
        return failure.reason


def _unsent(delivery: Delivery, why: LedgerError | None, now: datetime) -> Outcome:
    """Return the outcome of a delivery without a message."""
    if why is None:
        return not_made(delivery, now)
    return closed("not_told", delivery, FAILED, error=why.code)
