"""The last minutes before the dump: open sessions, refunds and messages."""

import json
from contextlib import closing
from unittest import mock
from uuid import UUID

from daraja import PulledWindow
from ledger.store.database import Database
from payments.inbox.inbox import Channel
from payments.mpesa.credentials import CredentialStore
from shop.builtin import BuiltinShop
from tests.scenarios.steps import (
    CALLBACKS,
    MAIZE,
    callback,
    observe,
    own_path,
    put_in_cart,
    report,
    written_callback,
)
from tests.support.instance import SIMULATED
from tests.upgrade.past import ALL_LOST, NOT_SET_UP, PAID_AT_ONCE, WAITS_FOR_PIN, Past, phone_of
from tests.upgrade.past_payments import note_a_movement
from tests.upgrade.past_refunds import crash_before_sending, leave_one_due

CREATE_KEY, LOST_KEY = "release-0-1-create", "release-0-1-lost"
UNREADABLE = ('{"amount": "5"}',)


def store_credentials(past: Past) -> None:
    """Store M-Pesa's credentials in the database."""
    services = past.instance.services
    with closing(Database(services.database.url, role="")) as database:
        CredentialStore(database, services.vault).write(SIMULATED)


def pull(past: Past, unreadable: tuple[str, ...] = ()) -> None:
    """Pull transactions, some of them in rows that cannot be parsed."""
    services = past.instance.services
    if not unreadable:
        services.transaction_poller.pull()
        return
    window = PulledWindow((), unreadable, pages=1, complete=True)
    with mock.patch.object(services.daraja, "pull_all", return_value=window):
        services.transaction_poller.pull()


def store_a_message_without_endpoint(past: Past) -> None:
    """Store a message of a channel that had no endpoint in that release."""
    services = past.instance.services
    message = services.worker.inbox.store(
        b"{}", body_bytes=2, channel=Channel.C2B_VALIDATION, is_authenticated=False, now=past.now()
    )
    services.worker.inbox.dead_letter(message, "not_json", past.now())


def end(past: Past) -> None:
    """Leave something of every kind open."""
    leave_one_due(past)
    crash_before_sending(past)
    past.wait(seconds=130)
    _fail_one_order(past)
    _leave_prompts_open(past)
    note_a_movement(past)
    _open_sessions(past)
    _keep_messages(past)
    past.clock.tick(2)
    for _ in range(3):
        past.fail(NOT_SET_UP)


def _fail_one_order(past: Past) -> None:
    """Let an order fail, so that it is to be retried."""
    session_id, _ = past.prompt(PAID_AT_ONCE)
    with mock.patch.object(BuiltinShop, "create_order", side_effect=ConnectionError):
        past.work()
    past.name("order_retried", session_id)


def _leave_prompts_open(past: Past) -> None:
    """Leave prompts open whose callbacks are still to come."""
    for name in ("prompted", "prompted_for_c2b", "prompted_with_callback"):
        session_id, prompt = past.prompt(WAITS_FOR_PIN)
        past.name(
            name,
            session_id,
            callback_path=own_path(prompt),
            callback=callback(prompt, MpesaReceiptNumber=f"UKG{len(past.named):07}"),
            reference=prompt.account_reference,
            shillings=prompt.amount_shillings,
            phone=prompt.phone,
        )


def _open_sessions(past: Past) -> None:
    """Leave sessions pending, in doubt, and paid without an order."""
    buyer = past.buyer()
    put_in_cart(buyer.client, MAIZE, "2")
    answer = buyer.client.create(key=CREATE_KEY, delivery_details=buyer.delivery)
    past.name(
        "pending", answer.json()["session_id"], delivery=buyer.delivery, key=CREATE_KEY, answer=answer.json()
    )
    buyer = past.buyer()
    put_in_cart(buyer.client, MAIZE, "2")
    assert buyer.client.create(key=LOST_KEY, delivery_details=buyer.delivery).status_code == 201
    statement = "SELECT session_id FROM payment_sessions WHERE user_id = %s"
    [[lost]] = observe(past.instance, statement, buyer.number)
    past.name("answer_not_kept", str(lost), delivery=buyer.delivery, key=LOST_KEY)
    keys = past.instance.services.idempotency
    keys.claim(keys.request(buyer.number, "release-0-1-claimed", "0" * 64))
    buyer = past.buyer()
    session_id = buyer.create()
    buyer.initiate(session_id, phone_of(ALL_LOST, buyer.number), 202)
    past.name("uncertain", session_id)
    session_id, _ = past.prompt(PAID_AT_ONCE)
    assert past.instance.simulator.wait_until_idle(20)
    past.name("paid_and_not_ordered", session_id)


def _keep_messages(past: Past) -> None:
    """Store messages that are not processed yet."""
    report(past.instance, CALLBACKS, written_callback(0, amount=100))
    prompted = past.named["prompted_with_callback"]
    body = json.dumps(prompted["callback"]).encode()
    services, session_id = past.instance.services, UUID(prompted["session_id"])
    services.worker.inbox.store(
        body,
        body_bytes=len(body),
        channel=Channel.STK,
        is_authenticated=True,
        session_id=session_id,
        attempt=1,
        owner=services.ledger.session(session_id).user_id,
        now=past.now(),
    )
