"""After an erasure nothing that comes out of Daftari holds what was the person's, and the books stand."""

import subprocess
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import pytest
import structlog
from werkzeug.routing import Rule

from api.http.middleware.logging import bind, configure_logging
from api.local.clients import client_environment, find_client
from api.local.databases import server_major
from ledger.errors import LedgerError
from ledger.store.vault import SYSTEM_USER_ID
from payments.erasure.held_data import HELD
from tests.api.cli.support import daftari
from tests.api.pages.test_work import signed_in
from tests.scenarios.c2b import c2b_notice, confirm_c2b
from tests.scenarios.canaries import CUSTOMER, NEVER_STORED, PAYER, STORED, found_in, masked_notice, plant
from tests.scenarios.steps import Clock, callback, observe, own_path, prompt_of, report
from tests.scenarios.test_customer_export import Account, environment
from tests.support.instance import Client, Instance
from tests.support.invariants import assert_invariants_hold

ALL = STORED | NEVER_STORED
ERASURE = f"/api/customers/{CUSTOMER}/erasure/"
REASON = "The customer asked by letter."
SUMS = """
SELECT count(*), sum(received_cents), sum(refund_due_cents), (SELECT count(*) FROM shop_orders),
       (SELECT sum(total_cents) FROM shop_orders), (SELECT sum(amount_cents) FROM mpesa_movements),
       (SELECT json_agg(payment_metrics)::text FROM payment_metrics)
FROM payment_sessions
"""
COMMANDS = (
    ("replay", "{session_id}"),
    ("audit-log", "--json"),
    ("work-list",),
    ("refunds", "list"),
    ("export", "--personal-data", "--by", "41", "--reason", REASON, "-o", "{folder}/jsonl"),
    ("export", "--format", "csv", "-o", "{folder}/csv"),
    ("evidence", "{session_id}", "--by", "41", "--reason", REASON, "-o", "{folder}/pack.zip"),
    ("books", "export"),
    ("retention",),
)
"""What writes down what is stored."""


@pytest.fixture
def log() -> Iterator[StringIO]:
    """All that the API, the worker and the simulator of this process log."""
    stream = StringIO()
    configure_logging("json", stream, lowest_level=10)
    yield stream
    structlog.reset_defaults()
    bind()


def dump(instance: Instance) -> bytes:
    url = instance.settings.database_url
    program = find_client("pg_dump", server_major(url), None)
    return subprocess.run([program], env=client_environment(url), capture_output=True, check=True).stdout


def readable(instance: Instance) -> bytes:
    """Return every value that still opens, of any customer and of our own."""
    vault, opened = instance.services.vault, []
    for held in HELD:
        for column in held.sealed:
            if held.table == "payment_events":
                continue
            owner = {None: str(CUSTOMER), "": str(SYSTEM_USER_ID)}.get(held.owner, held.owner)
            rows = observe(instance, f"SELECT {owner}, {column}, to_json(each) FROM {held.table} AS each")
            opened += [
                _opened(vault, by, held.row(row), value, held.sealed[column])
                for by, value, row in rows
                if value is not None
            ]
    return "\n".join(opened).encode()


def _opened(vault: Any, owner: int, row: object, value: str, purpose: str) -> str:
    try:
        return str(vault.decrypt(owner, value, purpose=purpose, row=row))
    except LedgerError:
        return ""


def pages(instance: Instance, session_id: str) -> Iterator[tuple[str, bytes]]:
    """Yield what every GET of the API and of the pages answers, to the customer and to each role."""
    clients = [
        instance.client(CUSTOMER),
        *(instance.client(9, role) for role in ("operator", "auditor", "analyst")),
    ]
    browser, _ = signed_in(instance, token=instance.token(9, "operator", "auditor", "analyst"))
    rules = [rule for rule in instance.app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    for rule in rules:
        if "stream" in rule.rule or rule.endpoint in ("static", "console.stream_changes"):
            continue
        path = address(instance, rule, session_id)
        for client in clients:
            yield path, client.get(path).content
        yield path, browser.get(instance.base_url + path, timeout=30).content
    for name, value in (("phone", PAYER), ("receipt", "UKG7CANARY")):
        yield name, Client.get(clients[2], "/api/audit/payments/", params={name: value}).content


def address(instance: Instance, rule: Rule, session_id: str) -> str:
    """Return the path of a route that names what is the customer's where it can."""
    [[order]] = observe(instance, "SELECT order_id FROM shop_orders WHERE session_id = %s", session_id)
    by_type = {"UUIDConverter": session_id, "IntegerConverter": CUSTOMER, "UnicodeConverter": "UKG7CANARY"}
    values = {name: by_type.get(type(each).__name__, "x") for name, each in rule._converters.items()}
    values |= {"order_id": order} if "order_id" in values else {}
    values |= dict(rule.defaults or {})
    return str(instance.app.url_map.bind("").build(rule.endpoint, values, force_external=False))


def written(instance: Instance, session_id: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what each command prints, and each file that it writes."""
    for command in COMMANDS:
        arguments = [word.format(session_id=session_id, folder=folder) for word in command]
        answer = daftari(*arguments, **environment(instance))
        assert answer.returncode == 0, answer.stderr
        yield command[0], (answer.stdout + answer.stderr).encode()
    for file in (each for each in folder.rglob("*") if each.is_file()):
        yield str(file), file.read_bytes()
        if is_zipfile(file):
            with ZipFile(file) as archive:
                yield from ((f"{file}/{name}", archive.read(name)) for name in archive.namelist())


def late_money(instance: Instance, clock: Clock) -> None:
    """Let M-Pesa report once more about the customer's payments, by each way, and pay once more."""
    clock.tick(60)
    prompt = prompt_of(instance, PAYER)
    body = callback(prompt, MpesaReceiptNumber="UKG7LATER", PhoneNumber=int(PAYER))
    body["Body"]["stkCallback"]["ResultDesc"] = STORED["text of a callback"]
    report(instance, own_path(prompt), body)
    names = {"MSISDN": PAYER, "FirstName": "ZEBULON", "LastName": STORED["surname"]}
    confirm_c2b(instance, c2b_notice("UKG7LATEST", prompt.account_reference, **names))
    for receipt, name in (
        ("UKG7MASKED", "name in a masked notice"),
        ("UKG7CANARY", "name in a repeated notice"),
    ):
        confirm_c2b(instance, masked_notice(receipt, prompt.account_reference, STORED[name]))
    for _ in range(3):
        clock.tick(700)
        instance.work()


def test_what_was_a_persons_is_nowhere_once_they_are_erased(
    clock: Clock, log: StringIO, instance: Instance, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session_id = plant(instance)
    assert found_in(dump(instance), ALL) == {"key of a request"}, "the rest is encrypted"
    assert set(STORED) - found_in(readable(instance), STORED) <= {"key of a request"}
    clock.tick(600)
    instance.work()
    before = observe(instance, SUMS)
    proposed = instance.client(41, "operator").post(ERASURE, json={"reason": REASON})
    approved = instance.client(42, "operator").post(f"{ERASURE}approve/")
    assert (proposed.status_code, approved.status_code) == (200, 200), approved.text
    assert observe(instance, SUMS) == before
    late_money(instance, clock)

    assert found_in(readable(instance), ALL) == set()
    for name, content in [
        ("dump", dump(instance)),
        ("account", Account(instance).text + Account(instance).data),
        *pages(instance, session_id),
        *written(instance, session_id, tmp_path),
        ("log", log.getvalue().encode()),
        ("output", "".join(capfd.readouterr()).encode()),
    ]:
        assert found_in(content, ALL) == set(), name
    services = instance.services
    assert_invariants_hold(
        services.database, services.vault, known_texts=list(ALL.values()), with_messages=True
    )
