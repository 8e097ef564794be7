"""What comes after a head changes no pack under it, and an event that is not ours hinders none."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledger import clock
from ledger.application import Ledger
from ledger.session.values import Evidence, Payment
from ledger.store.block_signer import BlockSigner
from ledger.store.canonical import chained_hashes
from ledger.store.database import Database
from ledger.store.metadata import Cause, caused_by
from ledger.store.vault import ERASED_VALUE, PHONE, Vault
from payments.evidence.evidence_pack import GONE, NOT_OURS, EvidencePack, EvidencePacks
from payments.evidence.pack_verifier import check, files_of
from payments.inbox.inbox import Channel, Inbox
from payments.reconciliation.movements import MatchResult, MatchVerdict, Movement, MovementKind, Movements
from tests.support.appending import append
from tests.support.checkouts import TOTAL_CENTS, Checkout, new_session
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY

FORGED_MOVEMENT = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, verdict,
                             first_seen_at)
VALUES ('payment RCPTONE001', 'payment', 'RCPTONE001', true, 1, '2024-01-15 07:30+00', 'statement', 'posted',
        '2024-01-15 07:30+00')
"""


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.fixture
def sign(database: Database, vault: Vault) -> Callable[[], None]:
    """Sign a head over all that is in the log."""

    def run() -> None:
        until_readable(database)
        BlockSigner(database, lambda: vault.block_key).run()

    return run


@pytest.fixture
def packs(database: Database, vault: Vault) -> EvidencePacks:
    return EvidencePacks(database, vault, lambda *_: None)


@pytest.fixture
def asked(ledger: Ledger, vault: Vault) -> Checkout:
    """A payment that M-Pesa was asked for."""
    session_id = new_session().id
    phone = vault.encrypt(7, "254712345678", purpose=PHONE, row=session_id)
    return Checkout(ledger, session_id=session_id, phone_sealed=phone).request(phone)


def test_a_later_import_changes_no_pack_under_an_earlier_head(
    database: Database, vault: Vault, asked: Checkout, packs: EvidencePacks, sign: Callable[[], None]
) -> None:
    movements = Movements(database, vault)
    paid = Movement(MovementKind.PAYMENT, "RCPTONE001", TOTAL_CENTS, asked.at, Evidence.C2B)
    movements.store([paid], asked.at)
    asked.pay("RCPTONE001", evidence=Evidence.C2B)
    sign()
    first = packs.pack(asked.session_id, 1).content
    better = replace(paid, evidence=Evidence.STATEMENT, happened_at=asked.at + timedelta(seconds=40))
    movements.store_results([MatchResult(better, MatchVerdict.CREDITED)], clock.now())
    assert b"RCPTONE001" in first
    assert packs.pack(asked.session_id, 1).content == first


def test_a_forged_movement_is_not_in_the_pack(
    database: Database, asked: Checkout, packs: EvidencePacks, sign: Callable[[], None]
) -> None:
    asked.pay("RCPTONE001")
    with database.transaction() as attacker:
        attacker.execute(FORGED_MOVEMENT)
    sign()
    assert json.loads(files_of(packs.pack(asked.session_id, 1).content)["movements.json"]) == []


@pytest.fixture
def alter(database_url: str, asked: Checkout) -> Iterator[Callable[[int, str], None]]:
    """Change the state of an event in place, as only a superuser can: its version, and SQL with the new state."""
    with psycopg.connect(database_url, autocommit=True) as superuser:

        def run(version: int, state: str) -> None:
            superuser.execute("ALTER TABLE payment_events DISABLE TRIGGER USER")
            change = f"UPDATE payment_events SET state = {state} WHERE session_id = %s AND version = %s"
            superuser.execute(change.encode(), (asked.session_id, version))

        yield run


def forge(ledger: Ledger, database: Database, checkout: Checkout, metadata: str = "{}") -> None:
    """Append a Paid that is right in all but its MAC, as a login of the database can."""
    session = ledger.session(checkout.session_id)
    session.record_payment(Payment(1, None, TOTAL_CENTS, Evidence.QUERY, checkout.at), at=checkout.at)
    stored = [ledger.mapper.to_stored_event(event) for event in session.pending_events]
    hashes = chained_hashes(stored, metadata.encode(), session.last_hash)
    with database.transaction() as attacker:
        append(attacker, ledger, session, metadata=[metadata], hashes=hashes, macs=[bytes(range(32))])


def verified(pack: EvidencePack, tmp_path: Path, vault: Vault) -> tuple[int, str]:
    """Return the exit code of the verifier that is in a pack, and what it says."""
    path = tmp_path / "pack.zip"
    path.write_bytes(pack.content)
    (tmp_path / "verify.py").write_bytes(files_of(pack.content)["verify.py"])
    key = vault.block_key.public_key().public_bytes_raw().hex()
    arguments = [sys.executable, "-I", str(tmp_path / "verify.py"), str(path), "--key", key]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False, env={})
    return ended.returncode, ended.stdout + ended.stderr


def test_a_forged_event_stands_in_the_pack_and_is_told_first_and_not_believed(
    ledger: Ledger,
    database: Database,
    vault: Vault,
    asked: Checkout,
    packs: EvidencePacks,
    sign: Callable[[], None],
    tmp_path: Path,
) -> None:
    sign()
    first = packs.pack(asked.session_id, 1)
    forge(ledger, database, asked)
    sign()
    pack = packs.pack(asked.session_id)
    files = files_of(pack.content)
    event = json.loads(files["events.json"])[2]
    page = files["account.html"].decode()
    body = page[page.index("<body>") :]
    status, report = verified(pack, tmp_path, vault)
    assert (first.forged, pack.forged, packs.pack(asked.session_id, 1)) == ([], [3], first)
    assert (event["event"], event["is_genuine"], "state" in event) == ("Forged", False, False)
    assert json.loads(event["state_text"])["amount_cents"] == TOTAL_CENTS
    assert body.startswith("<body><p><strong>NOT GENUINE: event 3 of this payment")
    assert "The money arrived" not in page
    assert (status, report.startswith("NOT GENUINE: event 3 of the payment")) == (3, True), report
    assert "Event 3: the holder of the key says that it lacks Daftari's MAC" in report
    assert "somebody else's" in json.loads(files["manifest.json"])["personal_data"]


@pytest.mark.parametrize("version", [1, 2])
def test_an_event_whose_content_was_altered_is_told_first_and_ends_the_account(
    alter: Callable[[int, str], None],
    vault: Vault,
    asked: Checkout,
    packs: EvidencePacks,
    sign: Callable[[], None],
    tmp_path: Path,
    version: int,
) -> None:
    asked.refuse()
    sign()
    alter(version, """state || '{"amount_cents": 1}'""")
    pack = packs.pack(asked.session_id)
    names = [event["event"] for event in json.loads(files_of(pack.content)["events.json"])]
    status, report = verified(pack, tmp_path, vault)
    assert pack.forged == [version]
    assert [number for number, name in enumerate(names, 1) if name == "Forged"] == [version]
    assert json.loads(files_of(pack.content)["requests.json"]) == []
    assert "is not told above" in files_of(pack.content)["account.html"].decode()
    assert (status, f"Event {version}: its content is not the one" in report) == (3, True), report


@pytest.mark.parametrize(
    "state", ["null", "[]", '{"at": 1e400}', "[" * 3000 + "]" * 3000, '"' + "x" * 70_000 + '"']
)
def test_a_forged_event_of_any_form_hinders_no_pack(
    alter: Callable[[int, str], None],
    vault: Vault,
    asked: Checkout,
    packs: EvidencePacks,
    sign: Callable[[], None],
    tmp_path: Path,
    state: str,
) -> None:
    sign()
    alter(2, f"'{state}'")
    pack = packs.pack(asked.session_id)
    assert pack.forged == [2]
    assert verified(pack, tmp_path, vault)[0] == 3
    assert len(pack.content) < 200_000


def test_a_forged_event_brings_no_message_about_somebody_else_into_a_pack(
    ledger: Ledger,
    database: Database,
    vault: Vault,
    asked: Checkout,
    packs: EvidencePacks,
    sign: Callable[[], None],
) -> None:
    about: dict[str, Any] = {"channel": Channel.STK, "is_authenticated": True}
    other = Inbox(database, vault).store(b"{}", body_bytes=2, now=asked.at, **about)
    forge(ledger, database, asked, f'{{"source":"{other.inbox_id}"}}')
    sign()
    pack = packs.pack(asked.session_id)
    assert pack.forged == [3]
    assert json.loads(files_of(pack.content)["messages.json"]) == []


def test_a_message_that_no_event_commits_to_is_vouched_for(
    database: Database, vault: Vault, asked: Checkout, packs: EvidencePacks, sign: Callable[[], None]
) -> None:
    inbox = Inbox(database, vault)
    about: dict[str, Any] = {"channel": Channel.STK, "is_authenticated": True, "session_id": asked.session_id}
    message = inbox.store(b"{}", body_bytes=2, owner=7, now=asked.at, **about)
    with caused_by(
        Cause.CALLBACK, source=str(message.inbox_id)
    ):  # As events did before they committed to it.
        asked.refuse()
    sign()
    report = check(files_of(packs.pack(asked.session_id).content), []).lines
    assert (
        "- That 1 of them are as they came, or had to be left out: no event commits to what is here."
        in report
    )


def test_a_message_by_somebody_else_changes_no_pack(
    database: Database, vault: Vault, asked: Checkout, packs: EvidencePacks, sign: Callable[[], None]
) -> None:
    inbox = Inbox(database, vault)
    about: dict[str, Any] = {"channel": Channel.STK, "is_authenticated": True, "session_id": asked.session_id}
    message = inbox.store(b"{}", body_bytes=2, owner=7, now=asked.at, **about)
    sign()
    before = packs.pack(asked.session_id).content
    for encrypted in ("x", "v2.AAAA", f"v2.{'A' * 60}", f"v2.{'_' * 60}", "v1.AAAA"):
        for size in (2, 99_999_999):
            draft = inbox.draft(b"{}", body_bytes=size, now=asked.at - timedelta(hours=1), **about)
            inbox.keep(replace(draft, encrypted=encrypted))
    assert packs.pack(asked.session_id).content == before
    [listed] = json.loads(files_of(before)["messages.json"])
    assert (listed["inbox_id"], listed["is_authenticated"]) == (str(message.inbox_id), True)


def test_an_altered_message_that_an_event_names_is_listed_as_not_ours(
    database: Database, vault: Vault, asked: Checkout, packs: EvidencePacks, sign: Callable[[], None]
) -> None:
    inbox = Inbox(database, vault)
    about: dict[str, Any] = {"channel": Channel.STK, "is_authenticated": True, "session_id": asked.session_id}
    message = inbox.store(b"{}", body_bytes=2, owner=7, now=asked.at, **about)
    with caused_by(Cause.CALLBACK, **message.as_source):
        asked.refuse()
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("UPDATE daraja_inbox SET session_id = NULL")
    sign()
    pack = packs.pack(asked.session_id)
    [listed] = json.loads(files_of(pack.content)["messages.json"])
    assert (listed["file"], listed["is_authenticated"]) == (NOT_OURS, False)


def test_whether_an_erased_message_was_authenticated_is_not_told(
    database: Database, vault: Vault, asked: Checkout, packs: EvidencePacks, sign: Callable[[], None]
) -> None:
    about: dict[str, Any] = {"channel": Channel.STK, "is_authenticated": True, "session_id": asked.session_id}
    inbox = Inbox(database, vault)
    draft = inbox.draft(b"{}", body_bytes=2, now=asked.at, **about)
    inbox.keep(replace(draft, encrypted=ERASED_VALUE))
    sign()
    [listed] = json.loads(files_of(packs.pack(asked.session_id).content)["messages.json"])
    assert (listed["file"], listed["is_authenticated"]) == (GONE, None)
