"""Who has the application's login can neither add an endpoint, nor redirect one, nor have one told of another's."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection
from psycopg.errors import CheckViolation, InsufficientPrivilege
from psycopg.rows import TupleRow
from structlog.testing import capture_logs

from api.local.database_logins import url_of_login
from ledger.application import Ledger
from ledger.store.database import APP_ROLE, Database
from projections.integrity.invariants import check
from tests.payments.webhooks.setting import Webhooks, ordered
from tests.support.database import APP_PASSWORD
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver

COPY = """
INSERT INTO webhook_endpoints (endpoint_id, sealed_definition, created_at, changed_at, origin, position)
SELECT %s, sealed_definition, created_at, changed_at, origin, 0 FROM webhook_endpoints WHERE endpoint_id = %s
"""
REDIRECT = """
UPDATE webhook_endpoints AS mine SET sealed_definition = attackers.sealed_definition FROM webhook_endpoints AS attackers
WHERE attackers.endpoint_id = %s AND mine.endpoint_id = %s
"""
PLANT = """
INSERT INTO webhook_deliveries (endpoint_id, session_id, version, type, queued_at, next_attempt_at)
VALUES (%s, %s, %s, 'payment.paid', now(), now())
"""


@pytest.fixture
def attacker(database_url: str) -> Iterator[Connection[TupleRow]]:
    """A connection with the application's login, which has no key."""
    url = url_of_login(database_url, APP_ROLE, APP_PASSWORD)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def webhooks(ledger: Ledger, database: Database) -> Webhooks:
    return Webhooks(ledger, database)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as running:
        yield running


def test_an_endpoint_that_was_copied_or_made_up_is_told_nothing_and_logged(
    attacker: Connection[TupleRow], ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    endpoint = webhooks.add(receiver.url, key="mine")
    copied = uuid4()
    attacker.execute(COPY, (copied, endpoint.endpoint_id))
    ordered(ledger, receipt="COPIED", maker="mine")
    with capture_logs() as logs:
        webhooks.work()
    assert len(receiver.received) == 2
    assert {"event": "webhook_endpoint_forged", "endpoint_id": str(copied), "log_level": "error"} in logs
    assert [each.endpoint_id for each in webhooks.endpoints.all()] == [endpoint.endpoint_id]
    found = [each for each in check(webhooks.database, webhooks.vault) if each.rule == "webhook endpoints"]
    assert [each.detail for each in found] == [
        f"webhook endpoint {copied} was not made by Daftari, or was altered; it is told nothing"
    ]


def test_an_endpoint_that_was_given_anothers_definition_is_told_nothing(
    attacker: Connection[TupleRow], ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    mine = webhooks.add("https://shop.example/hook", key="mine")
    attackers = webhooks.add(receiver.url, key="attackers")
    attacker.execute(REDIRECT, (attackers.endpoint_id, mine.endpoint_id))
    ordered(ledger, receipt="REDIRE", maker="mine")
    webhooks.work()
    assert receiver.received == []


def test_a_delivery_that_was_planted_tells_a_key_nothing_of_anothers_session(
    attacker: Connection[TupleRow], ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    endpoint = webhooks.add(receiver.url, key="attackers")
    theirs = ordered(ledger, receipt="PLANT1", maker="mine")
    for session_id, version in ((theirs, 4), (theirs, 99), (uuid4(), 1)):
        attacker.execute(PLANT, (endpoint.endpoint_id, session_id, version))
    webhooks.work()
    assert receiver.received == []
    assert set(webhooks.states(endpoint)) == {"failed"}


def test_an_event_that_was_altered_is_not_told(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver, database_url: str
) -> None:
    endpoint = webhooks.add(receiver.url)
    session_id = ordered(ledger, receipt="ALTER1")
    webhooks.follow()
    with psycopg.connect(database_url) as owner:
        owner.execute("ALTER TABLE payment_events DISABLE TRIGGER USER")
        owner.execute(
            "UPDATE payment_events SET state = jsonb_set(state, '{amount_cents}', '1') "
            "WHERE session_id = %s AND version = 4",
            (session_id,),
        )
    webhooks.work()
    assert receiver.received == []
    assert {each.last_error for each in webhooks.deliveries.page(endpoint.endpoint_id)} == {"EVENT_FORGED"}


@pytest.mark.parametrize("column", ["created_at", "changed_at", "failing_since", "paused_until"])
def test_no_login_stores_a_time_that_no_process_can_read(
    attacker: Connection[TupleRow], webhooks: Webhooks, column: str
) -> None:
    webhooks.add("https://shop.example/hook")
    with pytest.raises((CheckViolation, InsufficientPrivilege)):
        attacker.execute(f"UPDATE webhook_endpoints SET {column} = '-infinity'".encode())
