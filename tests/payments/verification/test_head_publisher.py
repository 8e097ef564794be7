"""Heads are published outside of the database, soon, and again where a destination failed."""

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.application import Ledger
from ledger.store.block_signer import BlockSigner
from ledger.store.blocks import Blocks
from ledger.store.database import Database
from ledger.store.published_heads import faults, line_of
from payments.destinations import Destination
from payments.verification.head_publisher import HeadPublisher, destination_of
from tests.ledger.store.test_blocks import KEY, all_of, sign, tamper
from tests.support.checkouts import Checkout
from tests.support.http_receiver import HttpReceiver, http_receiver

OWN = {KEY.public_key().public_bytes_raw()}


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def signer(database: Database) -> BlockSigner:
    return BlockSigner(database, lambda: KEY)


def publisher(database: Database, *destinations: Destination) -> HeadPublisher:
    return HeadPublisher(database, lambda: [KEY.public_key()], destinations)


def signed(ledger: Ledger, database: Database, signer: BlockSigner) -> None:
    Checkout(ledger)
    sign(database, signer)


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_each_head_is_appended_to_a_file_once(
    ledger: Ledger, database: Database, signer: BlockSigner, tmp_path: Path
) -> None:
    file = tmp_path / "heads"
    to_file = publisher(database, destination_of(str(file)))
    assert to_file.run() == 0
    for _ in range(2):
        signed(ledger, database, signer)
        assert (to_file.run(), to_file.run()) == (1, 0)
    assert file.read_bytes() == b"".join(line_of(head) for head in all_of(database))
    with database.connection() as connection:
        assert list(faults(connection, file.open("rb"), OWN)) == []


def test_a_line_that_a_full_disk_cuts_off_is_taken_back(
    ledger: Ledger, database: Database, signer: BlockSigner, tmp_path: Path
) -> None:
    file = tmp_path / "heads"
    to_file = publisher(database, destination_of(str(file)))
    signed(ledger, database, signer)
    assert to_file.run() == 1
    first = file.read_bytes()
    signed(ledger, database, signer)
    with files_of_at_most(len(first) + 20):
        assert to_file.run() == 0
    assert file.read_bytes() == first
    with freeze_time(clock.now() + timedelta(minutes=1)):
        assert to_file.run() == 1
    assert file.read_bytes() == b"".join(line_of(head) for head in all_of(database))


def test_a_command_and_an_address_are_given_the_head(
    ledger: Ledger,
    database: Database,
    signer: BlockSigner,
    receiver: HttpReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAFTARI_MASTER_KEY", "a secret")
    told = tmp_path / "told"
    program = f"import os, sys; open('{told}', 'w').write(sys.stdin.read() + os.environ.get('DAFTARI_MASTER_KEY', ''))"
    address = receiver.url
    command = destination_of(f'command:{sys.executable} -c "{program}"')
    signed(ledger, database, signer)
    assert publisher(database, command, destination_of(address)).run() == 2
    [head] = all_of(database)
    assert json.loads(told.read_text()) == head.shown()
    assert receiver.taken == [line_of(head)]


def test_a_destination_that_fails_is_left_alone_for_a_while_and_holds_no_other_up(
    ledger: Ledger, database: Database, signer: BlockSigner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    texts = (
        "command:false",
        receiver.refusing_url,
        str(tmp_path / "gone" / "heads"),
    )
    failing = [destination_of(text) for text in texts]
    both = publisher(database, *failing, destination_of(str(tmp_path / "heads")))
    signed(ledger, database, signer)
    assert (both.run(), both.run()) == (1, 0)
    assert [each.failures for each in failing] == [1, 1, 1]
    for each in failing:
        each.not_before = clock.now() - timedelta(seconds=1)
    (tmp_path / "gone").mkdir()
    assert both.run() == 1
    assert [each.failures for each in failing] == [2, 2, 0]


def test_a_log_that_was_made_anew_is_found_by_what_was_published(
    ledger: Ledger, database: Database, signer: BlockSigner
) -> None:
    """Who has the keys can make blocks that hold; they cannot take back a head."""
    for _ in range(3):
        signed(ledger, database, signer)
    lines = [line_of(head) for head in all_of(database)]
    second = all_of(database)[1]
    tamper(database, "DELETE FROM signed_blocks WHERE number > 1")
    tamper(database, "DELETE FROM payment_events WHERE position = %s", second.until_position)
    signer.run()
    renewed = Blocks(database).last()
    assert renewed is not None
    with database.connection() as connection:
        gone, missing = faults(connection, lines, OWN)
    assert f"head {second.name} was published at line 2 and is block {renewed.name} now" in gone.detail
    assert gone.position == missing.position == renewed.until_position
    assert "line 3 and is not there any more" in missing.detail


def test_a_line_that_nobody_signed_is_named(ledger: Ledger, database: Database, signer: BlockSigner) -> None:
    signed(ledger, database, signer)
    [head] = all_of(database)
    altered = line_of(head).replace(b'"events":1', b'"events":2')
    lines = [line_of(head), b"\n", altered, b"{}", b"no JSON", line_of(head)[:200]]
    with database.connection() as connection:
        found = [fault.detail.split(" of ")[0] for fault in faults(connection, lines, OWN)]
        assert found == ["line 3", "line 4", "line 5", "line 6"]
        assert len(list(faults(connection, [line_of(head)], set()))) == 1
