"""`daftari export-customer` gives a person all that is held about them, readable, and nobody else's data."""

import json
import stat
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from api.personal_data import build_customer_export
from payments.erasure.customer_export import ERASED
from payments.erasure.held_data import HELD
from payments.erasure.phones import phone_digests_of
from tests.api.cli.support import daftari
from tests.scenarios.c2b import c2b_notice, confirm_c2b
from tests.scenarios.canaries import CUSTOMER, DETAILS, NEVER_STORED, PAYER, STORED, found_in, plant
from tests.scenarios.steps import TOMATOES, observe, prompt_of, put_in_cart
from tests.support.erasures import erase
from tests.support.instance import Instance
from tests.support.statements import Booking, statement

pytestmark = pytest.mark.usefixtures("clock")
REASON = "The customer asked by letter."
THEIRS = "SELECT * FROM mpesa_movements WHERE receipt LIKE 'UKG7VICT%%' ORDER BY receipt"


class Account:
    """An account as a person gets it: `text`, `data`, and the rows by table."""

    def __init__(self, instance: Instance, user_id: int = CUSTOMER) -> None:
        services, file = instance.services, BytesIO()
        export = build_customer_export(instance.settings, services.database, services.vault)
        export.write(user_id, file, by="user:41", reason=REASON)
        with ZipFile(file) as archive:
            self.text, self.data = archive.read("account.txt"), archive.read("data.json")
        self.rows: dict[str, list[dict[str, Any]]] = {
            held["table"]: held["rows"] for held in json.loads(self.data)["held"]
        }


def environment(instance: Instance) -> dict[str, str]:
    """Return the variables by which a command works with an instance's database."""
    return {
        "DATABASE_URL": instance.settings.database_url,
        "DAFTARI_MASTER_KEY": b64encode(instance.settings.daftari_master_key).decode(),
    }


def run(instance: Instance, path: Path, reason: str) -> Any:
    arguments = ["--by", "41", "--reason", reason, "-o", str(path)]
    return daftari("export-customer", str(CUSTOMER), *arguments, **environment(instance))


def test_an_account_holds_all_that_is_kept_of_a_person_and_of_nobody_else(instance: Instance) -> None:
    plant(instance)
    other = instance.client(8)
    put_in_cart(other, TOMATOES, "1")
    instance.pay(other)
    account = Account(instance)
    for content in (account.text, account.data):
        assert set(STORED) - found_in(content, STORED) == set()
        assert found_in(content, NEVER_STORED) == set()
        assert b"John Doe" not in content
    assert b"KES 350.00" in account.text
    assert b"for 730 days" in account.text
    assert list(account.rows) == [held.table for held in HELD]
    [entry] = account.rows["audit_log"]
    assert (entry["kind"], entry["subject"], entry["actor"]) == (
        "customer_exported",
        "user:7",
        "another person",
    )
    assert {row.get("user_id", CUSTOMER) for rows in account.rows.values() for row in rows} == {CUSTOMER}


VICTIM = "254712345301"
RENT = "RENT NJERI HSE 4"


def pay_by_hand(instance: Instance) -> None:
    """Let a person who has no account pay by hand; M-Pesa's notice and its statement tell of it."""
    confirm_c2b(instance, c2b_notice("UKG7VICTIM", RENT, MSISDN=VICTIM))
    payer = f"{VICTIM} - NJERI WANJIRU"
    instance.services.reconciler.reconcile(
        statement([Booking("UKG7VICTM2", paid_in=1_200_00, account=RENT, payer=payer)])
    )
    instance.work()


@pytest.mark.parametrize("way", ["typed", "prompted", "prompted and paid by hand from another phone"])
def test_who_types_the_number_of_another_gets_and_erases_nothing_of_theirs(
    instance: Instance, way: str
) -> None:
    pay_by_hand(instance)
    client = instance.client(302)
    put_in_cart(client, TOMATOES, "2")
    details = DETAILS | {"phone_number": "0" + VICTIM[3:]}
    answer = client.post("/api/payments/sessions/", json={"delivery_details": details})
    assert answer.status_code == 201, answer.text
    if way != "typed":
        session_id = answer.json()["session_id"]
        assert client.initiate(session_id, phone_number=VICTIM).status_code == 200
        prompt = prompt_of(instance, VICTIM)
        instance.simulator.cancel(prompt.checkout_request_id)
        instance.work()
        if "paid" in way:
            confirm_c2b(instance, c2b_notice("UKG7OTHER", prompt.account_reference, MSISDN=PAYER))
            instance.work()
    account = Account(instance, 302)
    for content in (account.text, account.data):
        for theirs in (b"UKG7VICT", b"1200.00", b"1,200.00", b"RENT", b"NJERI"):
            assert theirs not in content
    services = instance.services
    before = observe(instance, THEIRS)
    with services.database.connection() as connection:
        digests = phone_digests_of(connection, services.vault, 302)
    erase(services.database, services.vault, 302, digests)
    assert observe(instance, THEIRS) == before
    assert len(before) == 2


def test_an_account_tells_who_found_its_person_by_a_phone_and_not_whom_else(instance: Instance) -> None:
    mine, theirs = (prompted(instance, user) for user in (CUSTOMER, 8))
    auditor = instance.client(41, "auditor")
    found = auditor.get("/api/audit/payments/", headers={"Daftari-Phone": PAYER}).json()["results"]
    assert {row["session_id"] for row in found} == {mine, theirs}

    account = Account(instance)
    reads = [row["details"] for row in account.rows["audit_log"] if row["kind"] == "access"]
    assert [(read["what"], read["by"]) for read in reads] == [("payments", ["phone"])]
    assert mine.encode() in account.data
    assert theirs.encode() not in account.data + account.text
    assert [row for row in Account(instance, 302).rows["audit_log"] if row["kind"] == "access"] == []


def prompted(instance: Instance, user_id: int) -> str:
    client = instance.client(user_id)
    put_in_cart(client, TOMATOES, "1")
    session_id = instance.pay(client, phone_number=PAYER)
    instance.simulator.cancel(prompt_of(instance, PAYER).checkout_request_id)
    instance.work()
    return session_id


def test_after_an_erasure_an_account_says_what_is_left(instance: Instance) -> None:
    plant(instance)
    erase(instance.services.database, instance.services.vault, CUSTOMER)
    account = Account(instance)
    assert b"Your personal data were erased on" in account.text
    assert {row["total_cents"] for row in account.rows["payment_sessions"]} == {350_00}
    assert {row["delivery_details"] for row in account.rows["shop_orders"]} == {ERASED}
    assert (account.rows["shop_cart_items"], account.rows["idempotency_keys"]) == ([], [])
    assert len(account.rows["customer_erasures"]) == 1


def test_the_command_records_who_asked_and_overwrites_no_file(instance: Instance, tmp_path: Path) -> None:
    path = tmp_path / "7.zip"
    assert run(instance, path, "Call 0712345678").returncode == 1
    assert not path.exists()
    assert "audit_log 1" in run(instance, path, REASON).stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = run(instance, path, REASON)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
    assert path.read_bytes() == before
    entries = observe(
        instance, "SELECT actor, subject, reason FROM audit_log WHERE kind = 'customer_exported'"
    )
    assert entries == [("cli:user:41", "user:7", REASON)]
