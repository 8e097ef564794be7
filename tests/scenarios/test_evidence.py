"""The evidence of a payment, checked by the verifier in the pack, with nothing of Daftari and no network."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import psycopg
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.session.events import Paid
from ledger.store.block_signer import BlockSigner
from ledger.store.canonical import canonical_json
from payments.evidence import pack_verifier
from payments.evidence.pack_verifier import (
    MANIFEST,
    SIGNATURE,
    PackChanged,
    check,
    files_of,
    signed_text,
    zip_of,
)
from tests.scenarios.canaries import CUSTOMER, NEVER_STORED, PAYER, STORED, found_in, plant
from tests.scenarios.steps import TOMATOES, observe, put_in_cart
from tests.support.erasures import erase
from tests.support.horizon import until_readable
from tests.support.instance import SIMULATED, Instance

pytestmark = pytest.mark.usefixtures("clock")
AUDITOR = 9


def sign(instance: Instance) -> None:
    services = instance.services
    until_readable(services.database)
    BlockSigner(services.database, lambda: services.vault.block_key).run()


def ask(instance: Instance, session_id: str, query: str = "") -> requests.Response:
    return instance.client(AUDITOR, "auditor").get(f"/api/audit/payments/{session_id}/evidence/{query}")


def evidence(instance: Instance, session_id: str, query: str = "") -> bytes:
    answer = ask(instance, session_id, query)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip"), answer.text
    return answer.content


@pytest.fixture
def bought(instance: Instance) -> str:
    """A payment with an order, by a customer whose personal data are canaries, under a signed head."""
    session_id = plant(instance)
    sign(instance)
    return session_id


def pay(instance: Instance) -> str:
    other = instance.client(8)
    put_in_cart(other, TOMATOES, "1")
    return instance.pay(other)


def key_of(instance: Instance) -> bytes:
    return instance.services.vault.block_key.public_key().public_bytes_raw()


def test_a_pack_holds_what_is_known_of_a_payment(instance: Instance, bought: str) -> None:
    files = files_of(evidence(instance, bought))
    names = [event["event"] for event in json.loads(files["events.json"])]
    assert names[:5] == ["Created", "PaymentRequested", "PaymentInitiated", "Paid", "OrderCreated"]
    [request, answer] = json.loads(files["requests.json"])
    assert (request["sent"], request["phone"], request["amount_cents"]) == ("STK push", PAYER, 350_00)
    messages = json.loads(files["messages.json"])
    callback = json.loads(files[messages[0]["file"]])["Body"]["stkCallback"]
    assert callback["CheckoutRequestID"] == answer["checkout_request_id"]
    receipt = callback["CallbackMetadata"]["Item"][1]["Value"]
    assert {each["receipt"] for each in json.loads(files["movements.json"])} == {receipt}
    assert json.loads(files["order.json"])["total_cents"] == 350_00
    account = files["account.html"].decode()
    assert receipt in account
    assert "The money arrived, and the order was made." in account


def test_a_pack_holds_no_secret_and_no_more_of_the_person_than_the_payment_needs(
    instance: Instance, bought: str
) -> None:
    pack = evidence(instance, bought)
    assert found_in(pack, NEVER_STORED) == set()
    assert found_in(pack, STORED) <= {"payer", "surname"}
    secrets = [value for name, value in SIMULATED.items() if name != "MPESA_BUSINESS_SHORTCODE"]
    urls = [
        row[0]
        for row in observe(instance, "SELECT encode(mac, 'hex') FROM payment_events WHERE mac IS NOT NULL")
    ]
    assert [text for text in [*secrets, *urls, "callbacks/"] if text.encode() in pack] == []


def test_the_same_payment_under_the_same_head_is_the_same_pack(instance: Instance, bought: str) -> None:
    first = evidence(instance, bought)
    [[number]] = observe(instance, "SELECT max(number) FROM signed_blocks")
    pay(instance)
    instance.work()
    sign(instance)
    later = evidence(instance, bought)
    assert evidence(instance, bought, f"?head={number}") == first
    assert later != first
    assert check(files_of(later), [key_of(instance)]).forged == []


def test_each_taking_is_recorded_and_only_auditors_take(instance: Instance, bought: str) -> None:
    for role in ("customer", "analyst", "operator"):
        path = f"/api/audit/payments/{bought}/evidence/"
        assert instance.client(AUDITOR, role).get(path).status_code == 403
    evidence(instance, bought)
    _, [entry] = instance.services.audit_log.entries(kind="access", actor=f"user:{AUDITOR}")
    assert (entry.subject, entry.details["what"]) == (f"session:{bought}", "evidence")


def test_what_no_head_covers_is_refused(instance: Instance, bought: str) -> None:
    session_id = pay(instance)
    for path, status, code in (
        (f"{session_id}/evidence/", 404, "NOT_SIGNED_YET"),
        (f"{bought}/evidence/?head=99", 404, "HEAD_NOT_FOUND"),
        (f"{'0' * 8}-0000-4000-8000-{'0' * 12}/evidence/", 404, "SESSION_NOT_FOUND"),
        (f"{bought}/evidence/?head=0", 400, "INVALID_INPUT"),
        (f"{bought}/evidence/?head=1_0", 400, "INVALID_INPUT"),
        (f"{bought}/evidence/?head=%201", 400, "INVALID_INPUT"),
        (f"{bought}/evidence/?head=\u0661", 400, "INVALID_INPUT"),
        (f"{bought}/evidence/?heads=1", 400, "INVALID_INPUT"),
    ):
        answer = instance.client(AUDITOR, "auditor").get(f"/api/audit/payments/{path}")
        assert (answer.status_code, answer.json()["error_code"]) == (status, code), answer.text


def test_with_an_altered_event_it_is_taken_all_the_same(instance: Instance, bought: str) -> None:
    with psycopg.connect(instance.settings.database_url) as superuser:
        superuser.execute("SET session_replication_role = replica")
        change = "UPDATE payment_events SET state = state {} WHERE session_id = %s AND topic = %s"
        superuser.execute(change.format("|| '{\"odd\": 1}'").encode(), (bought, Paid.TOPIC))
        superuser.commit()
        pack = evidence(instance, bought)
        superuser.execute(
            change.format("- 'odd'").encode(), (bought, Paid.TOPIC)
        )  # All is verified at the end.
    report = check(files_of(pack), [key_of(instance)])
    assert (report.forged, report.lines[0].startswith("NOT GENUINE: event 4 ")) == ([4], True)


def test_after_an_erasure_it_says_erased_and_is_proved_as_before(instance: Instance, bought: str) -> None:
    services = instance.services
    erase(services.database, services.vault, CUSTOMER)
    files = files_of(evidence(instance, bought))
    report = "\n".join(check(files, [key_of(instance)]).lines)
    assert "were erased" in report
    assert "the event commits to it" not in report
    assert {message["salt"] for message in json.loads(files["messages.json"])} == {None}
    assert {each["phone"] for each in json.loads(files["requests.json"]) if "phone" in each} == {"erased"}
    assert found_in(zip_of(files), STORED) == set()


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", *arguments], capture_output=True, text=True, check=False, cwd=folder, env={}
    )


def test_the_verifier_alone_says_what_is_proved_by_whom_and_what_is_not(
    instance: Instance, bought: str, tmp_path: Path
) -> None:
    pack, key = evidence(instance, bought), key_of(instance).hex()
    (tmp_path / "pack.zip").write_bytes(pack)
    (tmp_path / "verify.py").write_bytes(files_of(pack)["verify.py"])
    with ZipFile(io.BytesIO(pack)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "unpacked")

    pinned = run("verify.py", "pack.zip", "--key", key, folder=tmp_path)
    unpacked = run("verify.py", folder=tmp_path / "unpacked")
    other = run("verify.py", "pack.zip", "--key", "ab" * 32, folder=tmp_path)
    missing = run("verify.py", "no.zip", folder=tmp_path)

    assert (pinned.returncode, unpacked.returncode) == (0, 0), pinned.stdout + pinned.stderr
    assert f"by the holder of the key {key} (the key that you gave)" in pinned.stdout
    assert "the key in the pack; compare it" in unpacked.stdout
    for part in ("PROVED", "SAID", "NOT PROVED", "WHAT THE EVENTS SAY"):
        assert part in pinned.stdout
    assert (other.returncode, "not a key that you gave" in other.stdout) == (1, True)
    assert missing.returncode == 2
    (tmp_path / "unpacked" / "more.txt").write_text("More.")
    assert run("verify.py", folder=tmp_path / "unpacked").returncode == 1


def changes(pack: bytes, every: int) -> Iterator[tuple[int, bytes]]:
    """Yield the pack with one byte changed: each `every`th byte of long files, and each one of all else."""
    tested = bytearray(pack)
    files = files_of(pack)
    long = {name: content for name, content in files.items() if name not in (MANIFEST, SIGNATURE)}
    spared = set[int]()
    for content in long.values():
        start = pack.index(content) if content else 0
        spared |= {at for at in range(start, start + len(content)) if at % every}
    for at in range(len(pack)):
        if at not in spared:
            tested[at] ^= 1 << at % 8
            yield at, bytes(tested)
            tested[at] = pack[at]


def is_found(pack: bytes, keys: list[bytes]) -> bool:
    try:
        check(files_of(pack), keys)
    except PackChanged:
        return True
    return False


def missed(pack: bytes, every: int) -> list[int]:
    assert check(files_of(pack), []).forged == []
    return [at for at, changed in changes(pack, every) if not is_found(changed, [])]


def test_a_byte_that_was_changed_added_or_cut_is_found(instance: Instance, bought: str) -> None:
    pack = evidence(instance, bought)
    assert missed(pack, every=41) == []
    for changed in (pack + b"\0", b"\0" + pack, pack[:-1], pack[1:], b"", pack * 2, pack[:-22]):
        assert is_found(changed, [])


@pytest.mark.system
def test_every_changed_byte_is_found(instance: Instance, bought: str) -> None:
    assert missed(evidence(instance, bought), every=1) == []


Forge = Callable[[dict[str, Any]], object]


def forged(pack: bytes, name: str, change: Forge, key: Ed25519PrivateKey) -> bytes:
    """Return a pack in which one file was changed by somebody who signs with a key of their own."""
    files = files_of(pack)
    value = json.loads(files[name])
    change(value)
    files[name] = json.dumps(value).encode()
    manifest = json.loads(files[MANIFEST])
    manifest["public_key"] = key.public_key().public_bytes_raw().hex()
    manifest["files"][name]["sha256"] = sha256(files[name]).hexdigest()
    files[MANIFEST] = json.dumps(manifest).encode()
    files[SIGNATURE] = key.sign(signed_text(files[MANIFEST]))
    return zip_of(files)


def test_a_message_is_proved_by_the_event_that_was_recorded_from_it(instance: Instance, bought: str) -> None:
    files = files_of(evidence(instance, bought))
    report = "\n".join(check(files, [key_of(instance)]).lines)
    [message] = [
        each for each in json.loads(files["messages.json"]) if each["file"] == "messages/001-stk.json"
    ]
    paid = json.loads(files["events.json"])[3]
    commitment = sha256(bytes.fromhex(message["salt"]) + files[message["file"]]).hexdigest()
    assert paid["metadata"]["source_commitment"] == commitment
    assert "- messages/001-stk.json is, to the byte, what event 4 was recorded from" in report
    assert report.index("what event 4 was") < report.index("SAID by the holder")


def other_receipt(callback: Any) -> None:
    callback["Body"]["stkCallback"]["CallbackMetadata"]["Item"][1]["Value"] = "RCPTFALSE1"


def without_salt(messages: Any) -> None:
    messages[0]["salt"] = None


def drop_last(events: Any) -> None:
    events.pop()


def raise_amount(events: Any) -> None:
    events[3]["state"]["amount_cents"] += 1


def swap(events: Any) -> None:
    events[1], events[2] = events[2], events[1]


def other_time(proofs: Any) -> None:
    proofs["head"]["signed_at"] = "2020-01-01T00:00:00+00:00"


def other_leaf(proofs: Any) -> None:
    proofs["inclusion"][0]["leaf_index"] = "1"


FORGERIES: tuple[tuple[str, Forge], ...] = (
    ("events.json", drop_last),
    ("events.json", raise_amount),
    ("events.json", swap),
    ("proofs.json", other_time),
    ("proofs.json", other_leaf),
    ("messages/001-stk.json", other_receipt),
    ("messages.json", without_salt),
)


def test_not_even_the_holder_of_the_key_changes_what_is_under_a_head(instance: Instance, bought: str) -> None:
    pack, own, key = (
        evidence(instance, bought),
        instance.services.vault.block_key,
        Ed25519PrivateKey.generate(),
    )
    for name, change in FORGERIES:
        assert is_found(forged(pack, name, change, own), []), change
        assert is_found(forged(pack, name, change, key), []), change
    assert is_found(forged(pack, "order.json", lambda _: None, key), [key_of(instance)])


def test_the_canonical_json_of_the_verifier_is_that_of_the_log() -> None:
    value = [
        'a\x00\x1f\x7f"\\/\b\t\n\f\r',
        "½ Wanjikũ 😀\u2028",
        {"b": 2**63 + 1, "a": None, "B": [True, -1]},
    ]
    assert pack_verifier._canonical(value) == canonical_json(value)
