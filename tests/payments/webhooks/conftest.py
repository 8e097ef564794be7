"""Webhooks on a ledger of their own, sent to receivers on this machine."""

from collections.abc import Iterator

import pytest

from ledger.application import Ledger
from ledger.store.database import Database
from tests.payments.webhooks.setting import Webhooks
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver


@pytest.fixture
def webhooks(ledger: Ledger, database: Database) -> Webhooks:
    """Endpoints, queue and sender, which may send to this machine."""
    return Webhooks(ledger, database)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    """A shop's own server."""
    with webhook_receiver() as running:
        yield running


@pytest.fixture
def other() -> Iterator[WebhookReceiver]:
    """Another shop's server."""
    with webhook_receiver() as running:
        yield running
