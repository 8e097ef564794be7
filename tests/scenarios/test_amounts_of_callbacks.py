"""Success callbacks of every shape: the amount pays if it is the prompt's own, and else M-Pesa is asked first.

A prompt can only be paid whole, so a success that names no amount is asked about. Another amount is money held, which
no policy sends back on the word of a callback alone.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from daraja.simulator.prompts import StkPrompt
from tests.scenarios.steps import (
    TOMATOES,
    Clock,
    callback,
    cases,
    event_names,
    messages,
    observe,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
    receipt_of,
    refund_due_cents,
    report,
)
from tests.support.instance import Client, Instance, running_instance

AMOUNT, RECEIPT = '{"Name": "Amount", "Value": 1200.0}', '{"Name": "MpesaReceiptNumber", "Value": "RECEIPT"}'


def _items(*items: str) -> str:
    return f'{{"Item": [{", ".join(items)}]}}'


def _amount(written: str) -> str:
    return _items(f'{{"Name": "Amount", "Value": {written}}}', RECEIPT)


TAKEN = {
    "number": _amount("1200"),
    "float": _amount("1200.0"),
    "two decimals": _amount("1200.00"),
    "exponent": _amount("1.2e3"),
    "text": _amount('"1200"'),
    "text with decimals": _amount('"1200.00"'),
    "text with a comma": _amount('"1,200"'),
    "text with comma and decimals": _amount('"1,200.00"'),
    "text with a blank": _amount('"1 200.00"'),
    "text within blanks": _amount('" 1200 "'),
    "text with the currency": _amount('"KES 1,200.00"'),
    "twice alike": _items(AMOUNT, AMOUNT, RECEIPT),
    "a balance without value": _items(AMOUNT, RECEIPT, '{"Name": "Balance"}'),
    "strangers": _items("null", "7", '"x"', '{"Name": "New", "Value": {}}', AMOUNT, RECEIPT),
    "other order": _items(RECEIPT, '{"Name": "PhoneNumber", "Value": "2547***430"}', AMOUNT),
}
"""Metadata that names the amount that was asked for, 1200.00."""
ASKED = {
    "null": _amount("null"),
    "true": _amount("true"),
    "zero": _amount("0"),
    "negative": _amount("-1200"),
    "a fraction of a cent": _amount("1200.001"),
    "endless": _amount("1e400"),
    "words": _amount('"1200 shillings"'),
    "a decimal comma": _amount('"1.200,00"'),
    "a list": _amount("[1200]"),
    "an object": _amount('{"v": 1200}'),
    "empty text": _amount('""'),
    "no value": _items('{"Name": "Amount"}', RECEIPT),
    "no amount": _items(RECEIPT),
    "two amounts": _items(AMOUNT, '{"Name": "Amount", "Value": 1}', RECEIPT),
    "small letters": _items('{"Name": "amount", "Value": 1200}', RECEIPT),
    "nested items": f'{{"Item": [[{AMOUNT}, {RECEIPT}]]}}',
    "no item": "{}",
    "item null": '{"Item": null}',
    "item a number": '{"Item": 7}',
    "no receipt either": _items(),
    "metadata null": "null",
    "metadata a list": "[]",
    "a single item, no list": f'{{"Item": {RECEIPT}}}',
}
"""Metadata that names no amount."""
DIFFERENT = {
    "one": (_amount("1"), 1_00),
    "a cent less": (_amount("1199.99"), 1_199_99),
    "one more": (_amount("1201"), 1_201_00),
    "ten times": (_amount("12000"), 12_000_00),
    "text": (_amount('"1,201.00"'), 1_201_00),
}
"""Metadata that names another amount, and that amount in cents."""


@pytest.fixture
def instance(clock: Clock, database_url: str, data_folder: Path) -> Iterator[Instance]:  # noqa: ARG001
    with running_instance(
        database_url, data_folder, DAFTARI_REFUND_POLICY="auto", DAFTARI_QUERIES_PER_MINUTE="600"
    ) as running:
        put_on_shelf(running, TOMATOES, stock="1000")
        yield running


def _prompted(instance: Instance, number: int, phone: str) -> tuple[Client, str, StkPrompt]:
    buyer = instance.client(10 + number)
    put_in_cart(buyer, TOMATOES, "8")
    session_id = instance.pay(buyer, phone_number=phone)
    return buyer, session_id, prompt_of(instance, phone)


def _report(
    instance: Instance, prompt: StkPrompt, metadata: str | None, receipt: str, code: str = "0"
) -> None:
    body = json.loads(json.dumps(callback(prompt)))
    body["Body"]["stkCallback"]["CallbackMetadata"] = "HERE"
    body["Body"]["stkCallback"]["ResultCode"] = "CODE"
    written = json.dumps(body).replace('"HERE"', metadata or "null").replace('"CODE"', code)
    written = written.replace("RECEIPT", receipt)
    assert report(instance, own_path(prompt), written.encode()).status_code == 200


@pytest.mark.parametrize("code", ["0", '"0"', "0.0"])
def test_the_amount_that_was_asked_for_pays_at_once_however_it_is_written(
    instance: Instance, code: str
) -> None:
    for number, (name, metadata) in enumerate(TAKEN.items()):
        buyer, session_id, prompt = _prompted(instance, number, f"2547123456{number:02d}")
        _report(instance, prompt, metadata, f"UKG{number:07d}", code)
        assert buyer.status(session_id)["session_status"] == "order_created", name
    instance.work()
    assert cases(instance) == []


def test_a_success_without_its_amount_counts_once_m_pesa_says_that_the_prompt_was_paid(
    clock: Clock, instance: Instance
) -> None:
    for number, (name, metadata) in enumerate(ASKED.items()):
        phone = f"2547000101{number:02d}"
        buyer, session_id, prompt = _prompted(instance, number, phone)
        instance.simulator.run_due()
        assert instance.simulator.wait_until_idle(20)
        prompt = prompt_of(instance, phone)
        _report(instance, prompt, metadata, receipt_of(prompt))
        shown = buyer.status(session_id)
        assert (shown["session_status"], shown["reason"]) == ("payment_initiated", None), name
        clock.tick(6)
        instance.work()
        assert buyer.status(session_id)["session_status"] == "order_created", name
        assert refund_due_cents(instance, session_id) == 0, name
        assert "SurplusReceived" not in event_names(instance, session_id), name
        [[receipt]] = observe(
            instance, "SELECT receipt FROM payment_sessions WHERE session_id = %s", session_id
        )
        assert receipt == (receipt_of(prompt) if "RECEIPT" in metadata and name != "nested items" else None)
    assert ("acted_on", "confirmed_by_query") in messages(instance)
    assert cases(instance) == []


def test_another_amount_is_held_and_no_policy_sends_it_back_before_it_is_proved(
    clock: Clock, instance: Instance
) -> None:
    for number, (name, (metadata, held_cents)) in enumerate(DIFFERENT.items()):
        buyer, session_id, prompt = _prompted(instance, number, f"2547123456{number:02d}")
        _report(instance, prompt, metadata, f"UKG{number:07d}")
        clock.tick(60)
        instance.work()
        shown = buyer.status(session_id)
        assert (shown["session_status"], shown["reason"]["code"]) == ("failed", "AMOUNT_MISMATCH"), name
        assert refund_due_cents(instance, session_id) == held_cents, name
        assert "RefundApproved" not in event_names(instance, session_id), name


def test_what_m_pesa_does_not_confirm_moves_nothing_until_a_notice_or_the_statement_proves_it(
    clock: Clock, instance: Instance
) -> None:
    buyer, session_id, prompt = _prompted(instance, 0, "254712345678")
    _report(instance, prompt, None, "UKG7Q2X9LM")
    for _ in range(40):
        clock.tick(60)
        instance.work()
    assert buyer.status(session_id)["reason"] is None or buyer.status(session_id)["reason"]["code"] != (
        "AMOUNT_MISMATCH"
    )
    assert not {"Paid", "SurplusReceived", "RefundDue"} & set(event_names(instance, session_id))
    assert "letter_set_aside" in [kind for kind, _ in cases(instance)]

    confirmation = urlsplit(instance.services.c2b.urls[0]).path
    notice = {
        "TransactionType": "Pay Bill",
        "TransID": "UKG7Q2X9LM",
        "TransTime": "20261116103500",
        "TransAmount": "1,200.00",
        "BusinessShortCode": "174379",
        "BillRefNumber": prompt.account_reference,
        "MSISDN": "2547 ***** 678",
    }
    assert report(instance, confirmation, notice).status_code == 200
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert refund_due_cents(instance, session_id) == 0
