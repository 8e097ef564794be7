"""What is signed verifies by the reference implementations of Standard Webhooks, in Python and in JavaScript."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from ledger.application import Ledger
from payments.webhooks.messages import MESSAGE_TYPES
from payments.webhooks.signing import new_secret, signed_headers
from tests.payments.webhooks.setting import BY, Webhooks, ordered
from tests.support.node import link_node_modules, run_node
from tests.support.webhook_receiver import WebhookReceiver

BODY = b'{"type":"payment.paid"}'
VERIFY = """
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";
const { secrets, headers, body } = JSON.parse(readFileSync("signed.json", "utf8"));
console.log(JSON.stringify(secrets.map((secret) => {
  try { return new Webhook(secret).verify(body, headers).type; } catch (error) { return error.constructor.name; }
})));
"""


def test_the_vector_of_the_specification_is_signed_as_it_says() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1_614_265_330, UTC),
        b'{"test": 2432232314}',
        [secret],
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_of_two_secrets_verifies_what_was_signed_while_they_rotate() -> None:
    old, new = new_secret(), new_secret()
    headers = signed_headers("msg_1", datetime.now(UTC), BODY, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(BODY, headers) == {"type": "payment.paid"}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(BODY + b" ", headers)
    late = signed_headers("msg_1", datetime.now(UTC) - timedelta(hours=1), BODY, [new])
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(BODY, late)


def test_what_a_receiver_gets_verifies(ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver) -> None:
    added, secret = webhooks.endpoints.add(receiver.url, MESSAGE_TYPES, key=None, by=BY)
    _, second = webhooks.endpoints.rotate(added.endpoint_id, by=BY)
    session = ordered(ledger, receipt="SIGNED")
    webhooks.work()
    for each in receiver.received:
        for known in (secret, second):
            assert Webhook(known).verify(each.body, each.headers)["data"]["session_id"] == str(session)


@pytest.mark.system
def test_the_twin_in_javascript_verifies_it_too(tmp_path: Path) -> None:
    old, new, foreign = new_secret(), new_secret(), new_secret()
    headers = signed_headers("msg_1", datetime.now(UTC), BODY, [new, old])
    signed = {"secrets": [old, new, foreign], "headers": headers, "body": BODY.decode()}
    (tmp_path / "signed.json").write_text(json.dumps(signed), "utf-8")
    (tmp_path / "verify.mjs").write_text(VERIFY, "utf-8")
    link_node_modules(tmp_path)
    found = json.loads(run_node("verify.mjs", folder=tmp_path))
    assert found == ["payment.paid", "payment.paid", "WebhookVerificationError"]
