"""What was signed cannot be altered, added to, reordered or removed unseen."""

from dataclasses import replace

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import clock
from ledger.application import Ledger
from ledger.errors import InvalidValue
from ledger.store import block_faults, blocks
from ledger.store.block_signer import BlockSigner
from ledger.store.blocks import Block, Blocks, KeptName
from ledger.store.canonical import GENESIS
from ledger.store.database import APP_ROLE, Database
from ledger.store.listing import Place
from tests.ledger.store.test_finality import REWRITES
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
WRITE_FREELY = "SET session_replication_role = replica"


@pytest.fixture
def block_signer(database: Database) -> BlockSigner:
    return BlockSigner(database, lambda: KEY)


@pytest.fixture
def signed(ledger: Ledger, database: Database, block_signer: BlockSigner) -> list[Checkout]:
    """Three blocks of a session each: one paid and ordered, one prompted, one just created."""
    sessions = []
    for steps in ("paid", "prompted", "created"):
        checkout = Checkout(ledger)
        if steps != "created":
            checkout.prompt()
        if steps == "paid":
            checkout.pay("NLJ7RT61SV").order(789)
        sessions.append(checkout)
        sign(database, block_signer)
    return sessions


def sign(database: Database, block_signer: BlockSigner) -> None:
    until_readable(database)
    block_signer.run()


def faults(database: Database, key: Ed25519PrivateKey | None = KEY) -> list[str]:
    with database.transaction() as connection:
        found = list(blocks.faults(connection, [key.public_key()] if key else []))
        for origin, last in blocks.last_numbers(connection).items():
            faults_of_events = block_faults.faults_of_events(connection, origin, 1, last, with_tree=True)
            found += [fault.detail for fault in faults_of_events]
    return found


def tamper(database: Database, statement: str, *values: object) -> None:
    """Change tables as their owner, with the triggers off."""
    with psycopg.connect(database.url, autocommit=True) as intruder:
        intruder.execute(WRITE_FREELY)
        assert intruder.execute(statement.encode(), values).rowcount > 0


def all_of(database: Database) -> list[Block]:
    _, found = Blocks(database).page(Place(clock.now(), 100))
    return sorted(found, key=lambda block: block.number)


@pytest.mark.usefixtures("signed")
def test_blocks_cover_the_whole_log_and_follow_one_another(database: Database) -> None:
    first, second, third = all_of(database)
    assert [block.events for block in (first, second, third)] == [5, 3, 1]
    assert (first.after_position, first.previous_hash) == (0, GENESIS)
    assert (second.after_position, second.previous_hash) == (first.until_position, first.hash)
    assert (third.after_position, third.previous_hash) == (second.until_position, second.hash)
    assert third == Blocks(database).last()
    assert faults(database) == []


def test_without_events_there_is_no_block(database: Database, block_signer: BlockSigner) -> None:
    sign(database, block_signer)
    assert (Blocks(database).last(), faults(database)) == (None, [])


def test_without_new_events_there_is_no_further_block(
    database: Database, signed: list[Checkout], block_signer: BlockSigner
) -> None:
    assert len(signed) == 3
    sign(database, block_signer)
    assert len(all_of(database)) == 3


def test_full_blocks_follow_at_once_and_the_rest_waits_for_the_next_round(
    ledger: Ledger, database: Database, block_signer: BlockSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MAX_EVENTS", 2)
    Checkout(ledger).prompt()
    until_readable(database)
    assert (block_signer.run(), block_signer.run(), block_signer.run()) == (2, 0, 0)
    assert [block.events for block in all_of(database)] == [2, 1]


def test_an_event_above_the_horizon_waits_for_the_next_block(
    ledger: Ledger, database: Database, block_signer: BlockSigner
) -> None:
    with psycopg.connect(database.url) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        Checkout(ledger)
        assert block_signer.run() == 0
        assert Blocks(database).last() is None
    sign(database, block_signer)
    assert all_of(database)[0].events == 1


def test_of_two_signers_one_signs(
    database: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    Checkout(ledger)
    until_readable(database)
    slow, quick = BlockSigner(database, lambda: KEY), BlockSigner(database, lambda: KEY)
    sign_slowly = slow._sign

    def overtaken(*about: object) -> Block:
        quick.run()
        return sign_slowly(*about)  # type: ignore[arg-type]

    monkeypatch.setattr(slow, "_sign", overtaken)
    assert slow.run() == 0
    assert len(all_of(database)) == 1
    assert faults(database) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM payment_events WHERE session_id = %(second)s", "block 1-2 was signed over 3 events"),
        (
            "DELETE FROM payment_events WHERE session_id = %(second)s AND version = 3",
            "block 1-2 was signed over 3",
        ),
        (
            "UPDATE payment_events SET hash = sha256(hash) WHERE session_id = %(first)s",
            "block 1-1 was signed over",
        ),
        (
            "UPDATE payment_events SET position = position + 1 WHERE session_id = %(third)s",
            "block 1-3 was signed",
        ),
        (
            "INSERT INTO payment_events SELECT gen_random_uuid(), 1, topic, state, previous_hash, hash, origin,"
            " position + 8, recorded_at FROM payment_events WHERE session_id = %(first)s AND version = 1",
            "block 1-1 was signed over 5 events, and what is there now (6 events)",
        ),
        ("DELETE FROM signed_blocks WHERE number = 2", "block 1-3 does not follow block 1"),
        ("DELETE FROM signed_blocks WHERE number = 1", "block 1-2 does not follow block 0"),
        ("UPDATE signed_blocks SET events = 1 WHERE number = 2", "block 1-2 was altered"),
        ("UPDATE signed_blocks SET signed_at = now() WHERE number = 3", "block 1-3 was altered"),
        (
            "UPDATE signed_blocks SET previous_hash = digest WHERE number = 2",
            "block 1-2 does not carry the hash",
        ),
        (
            "UPDATE signed_blocks SET signature = sha512(signature) WHERE number = 3",
            "block 1-3 is not signed by its key",
        ),
    ],
)
def test_tampering_is_reported(
    database: Database, signed: list[Checkout], statement: str, expected: str
) -> None:
    names = ("first", "second", "third")
    named = dict(zip(names, (checkout.session_id for checkout in signed), strict=True))
    with psycopg.connect(database.url, autocommit=True) as intruder:
        intruder.execute(WRITE_FREELY)
        assert intruder.execute(statement.encode(), named).rowcount > 0
    assert any(expected in one for one in faults(database))


@pytest.mark.usefixtures("signed")
def test_a_block_signed_again_by_somebody_else_is_reported(database: Database) -> None:
    stranger = Ed25519PrivateKey.generate()
    last = all_of(database)[-1]
    forged = replace(last, public_key=stranger.public_key().public_bytes_raw())
    forged = replace(forged, hash=forged.computed_hash())
    tamper(
        database,
        "UPDATE signed_blocks SET public_key = %s, hash = %s, signature = %s WHERE number = 3",
        forged.public_key,
        forged.hash,
        stranger.sign(forged.hash),
    )
    assert faults(database) == ["block 1-3 is signed by another key than that of DAFTARI_MASTER_KEY"]
    assert faults(database, key=None) == []


@pytest.mark.usefixtures("signed")
def test_a_kept_name_shows_that_the_last_blocks_are_gone(database: Database) -> None:
    kept = KeptName.parse(all_of(database)[-1].name)
    with database.transaction() as connection:
        assert blocks.find(connection, kept) is not None
    tamper(database, "DELETE FROM signed_blocks WHERE number = 3")
    assert faults(database) == []
    with database.transaction() as connection:
        assert blocks.find(connection, kept) is None


@pytest.mark.parametrize("text", ["", "1", "1-2", "1-2-abcd", "x-2-" + "00" * 32, f"1-{10**30}-" + "00" * 32])
def test_text_that_is_no_block_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="64 hex digits"):
        KeptName.parse(text)


@pytest.mark.usefixtures("signed")
@pytest.mark.parametrize("statement", [text.replace("payment_events", "signed_blocks") for text in REWRITES])
def test_blocks_are_final(database: Database, statement: str) -> None:
    statement = statement.replace("topic = 'x'", "events = 1")
    with (
        psycopg.connect(database.url) as owner,
        pytest.raises(psycopg.Error, match="signed_blocks is append-only"),
    ):
        owner.execute(statement.encode())
    with (
        psycopg.connect(database.url, options=f"-c role={APP_ROLE}") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())
