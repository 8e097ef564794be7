"""Webhooks as the worker runs them, step by step."""

from typing import Any
from uuid import UUID

from ledger.application import Ledger
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.metadata import Cause, caused_by
from ledger.store.vault import Vault
from payments.webhooks.deliveries import WebhookDeliveries
from payments.webhooks.delivery_queue import DeliveryQueue
from payments.webhooks.endpoints import Endpoint, WebhookEndpoints
from payments.webhooks.messages import MESSAGE_TYPES
from payments.webhooks.sender import WebhookSender
from payments.webhooks.session_messages import SessionMessages
from projections.follower import LogReader
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY

BY = "user:9"


class Webhooks:
    """The parts of one worker. `work` does what is due now."""

    def __init__(self, ledger: Ledger, database: Database, *, allows_private: bool = True) -> None:
        self.ledger, self.database = ledger, database
        self.vault = Vault(database, MASTER_KEY)
        self.log = LogReader(database, ledger.macs)
        audit_log = AuditLog(database, self.vault.keys)
        self.endpoints = WebhookEndpoints(database, self.vault, audit_log, allows_private=allows_private)
        self.deliveries = WebhookDeliveries(database)
        self.queue = DeliveryQueue(database, self.endpoints)
        messages = SessionMessages(ledger, self.vault)
        self.sender = WebhookSender(database, self.endpoints, self.deliveries, messages)

    def add(self, url: str, *, key: str | None = None, events: tuple[str, ...] = MESSAGE_TYPES) -> Endpoint:
        """Add an endpoint, once nobody holds the log back: it hears from the horizon on."""
        until_readable(self.database)
        added, _ = self.endpoints.add(url, events, key=key, by=BY)
        self.endpoints.forget()
        return added

    def work(self) -> int:
        """Queue and send all that is due; return how many deliveries were attempted."""
        self.follow()
        attempted = 0
        while sent := self.sender.run() + self.sender.wait():
            attempted += sent
        return attempted

    def follow(self) -> None:
        """Queue all that the log has."""
        until_readable(self.database)
        self.endpoints.forget()
        while self.queue.run(self.log):
            pass

    def states(self, endpoint: Endpoint) -> list[str]:
        """The states of an endpoint's deliveries, the first first."""
        return [each.state for each in reversed(self.deliveries.page(endpoint.endpoint_id, limit=100))]

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """What a statement returns."""
        with self.database.connection() as connection:
            return connection.execute(statement.encode(), values).fetchall()


def ordered(ledger: Ledger, *, receipt: str, maker: str | None = None, user_id: int = 7) -> UUID:
    """Have a session paid and ordered, made by the key of a name or by a buyer; return its id."""
    with caused_by(Cause.REQUEST, actor=f"key:{maker}" if maker else f"user:{user_id}"):
        checkout = Checkout(ledger, user_id=user_id)
    checkout.prompt().pay(receipt).order()
    return checkout.session_id
