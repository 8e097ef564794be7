"""A customer whose personal data are canaries: planted by every way in, then looked for in all that comes out."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tests.scenarios.c2b import c2b_notice, confirm_c2b
from tests.scenarios.steps import (
    CALLBACKS,
    TOMATOES,
    approve,
    callback,
    observe,
    own_path,
    prompt_of,
    put_in_cart,
    report,
)
from tests.support.instance import Client, Instance
from tests.support.statements import Booking, statement

CUSTOMER = 7
PAYER = "254733918273"
DELIVERY_PHONE = "254711736455"
STORED = {
    "name": "Zebulon Kanariwala",
    "address": "Canary House 77, Finch Lane",
    "instructions": "Whistle at the yellow gate",
    "payer": PAYER,
    "delivery phone": DELIVERY_PHONE,
    "key of a request": "idem-zebulon-1",
    "surname": "KANARIMUTUA",
    "name in a masked notice": "PHILOMELITA",
    "name in a repeated notice": "CARDUELINA",
    "what the payer typed": "FOR AUNTY TWEETY",
    "text of a callback": "Paid by Uncle Serinus",
}
"""What is kept about the customer until they are erased."""

NEVER_STORED = {
    "user agent": "SerinusBrowser",
    "reference": "REF-TWITTER-9",
    "metadata": "gift for Philomela",
    "wrong phone": "+25473391827x",
    "query": "kanari-query",
}
"""What came with their requests and is kept nowhere."""

DETAILS = {
    "full_name": STORED["name"],
    "phone_number": "0" + DELIVERY_PHONE[3:],
    "county_id": 1,
    "subcounty_id": 5,
    "detailed_address": STORED["address"],
}


def plant(instance: Instance) -> str:
    """Let the customer pay by a prompt and by C2B, canaries in all that they and M-Pesa send; return a session."""
    customer = instance.client(CUSTOMER)
    customer.headers["User-Agent"] = f"{NEVER_STORED['user agent']}/9.9"
    paid = _open(customer, STORED["key of a request"])
    wrong = customer.initiate(paid, phone_number=NEVER_STORED["wrong phone"])
    assert wrong.status_code == 400
    assert customer.get(f"/api/cart/?q={NEVER_STORED['query']}").status_code in (200, 400)
    assert customer.initiate(paid, phone_number=PAYER).status_code == 200
    approve(instance, PAYER)
    instance.work()
    receipt = str(observe(instance, "SELECT receipt FROM payment_sessions WHERE session_id = %s", paid)[0][0])
    payer = f"{PAYER} - ZEBULON {STORED['surname']}"
    typed = Booking(receipt, paid_in=350_00, account=STORED["what the payer typed"], payer=payer)
    instance.services.reconciler.reconcile(statement([typed]))
    _pay_by_c2b(instance, customer)
    _post_callbacks(instance)
    put_in_cart(customer, TOMATOES, "1")
    instance.work()
    return paid


def variants(canary: str) -> Iterator[bytes]:
    """Yield a canary as it may stand somewhere: plain, hashed, or as a part of base64, hex, URLs and JSON."""
    spellings = {canary, canary.upper(), canary.lower(), json.dumps(canary)[1:-1], quote(canary)}
    if canary.isdigit():
        spellings |= {"0" + canary[3:], canary[3:]}
    for text in spellings:
        raw = text.encode()
        yield raw
        yield raw.hex().encode()
        yield hashlib.sha256(raw).hexdigest().encode()
        for skipped in range(3):
            encoded = base64.b64encode(bytes(skipped) + raw)
            inside = encoded[(0, 2, 3)[skipped] : len(encoded) - (0 if (skipped + len(raw)) % 3 == 0 else 4)]
            yield inside.rstrip(b"=")
            yield inside.rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")


def found_in(content: bytes, canaries: dict[str, str]) -> set[str]:
    """Return the names of the canaries that stand in some content, in any of their variants."""
    return {name for name, canary in canaries.items() if any(each in content for each in variants(canary))}


def _open(customer: Client, key: str) -> str:
    put_in_cart(customer, TOMATOES, "2")
    headers = {"Idempotency-Key": key}
    body = {
        "delivery_details": DETAILS,
        "special_instructions": STORED["instructions"],
        "reference": NEVER_STORED["reference"],
        "metadata": {"note": NEVER_STORED["metadata"]},
    }
    answer = customer.post("/api/payments/sessions/", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    session_id: str = answer.json()["session_id"]
    return session_id


def _pay_by_c2b(instance: Instance, customer: Client) -> None:
    session_id = _open(customer, STORED["key of a request"] + "-again")
    assert customer.initiate(session_id, phone_number=PAYER).status_code == 200
    prompt = prompt_of(instance, PAYER)
    instance.simulator.cancel(prompt.checkout_request_id)
    instance.work()
    for name in (STORED["name in a masked notice"], STORED["name in a repeated notice"]):
        confirm_c2b(instance, masked_notice("UKG7CANARY", prompt.account_reference, name))
    names = {"MSISDN": PAYER, "FirstName": "ZEBULON", "LastName": STORED["surname"]}
    confirm_c2b(instance, c2b_notice("UKG7CANARY", prompt.account_reference, **names))
    instance.work()


def masked_notice(receipt: str, reference: str, name: str) -> dict[str, Any]:
    """Return a notice that names its payer by a masked number and a first name."""
    masked = f"{PAYER[:4]} ***** {PAYER[-3:]}"
    return c2b_notice(receipt, reference, MSISDN=masked, FirstName=name, LastName="")


def _post_callbacks(instance: Instance) -> None:
    """Post what M-Pesa says once more, with its token and without."""
    prompt = prompt_of(instance, PAYER)
    body = callback(prompt, MpesaReceiptNumber="UKG7CANARY", PhoneNumber=int(PAYER))
    body["Body"]["stkCallback"]["ResultDesc"] = STORED["text of a callback"]
    for path in (own_path(prompt), CALLBACKS):
        assert report(instance, path, body).status_code == 200
