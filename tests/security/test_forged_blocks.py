"""A block that somebody adds by the application's login hides no event from an export, and stops no verification."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection
from psycopg.errors import CheckViolation
from psycopg.rows import TupleRow

from ledger.application import Ledger
from ledger.store.block_signer import BlockSigner
from ledger.store.database import Database
from ledger.store.vault import Vault
from projections.export.event_export import Wanted, export_events
from projections.export.exported_events import EventReader
from projections.integrity.chain import check_chain
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs

ADD = """
SELECT add_signed_head(
    origin, coalesce((SELECT max(number) FROM signed_blocks), 0) + 1,
    coalesce((SELECT max(until_position) FROM signed_blocks), 0), position, events, digest,
    coalesce((SELECT hash FROM signed_blocks ORDER BY number DESC LIMIT 1), decode(repeat('00', 32), 'hex')),
    sha256('x'), %(public_key)s, sha512('z'), %(signed_at)s, %(tree_size)s, sha256('y'), sha256('y'))
FROM (SELECT origin, max(position) AS position FROM payment_events GROUP BY origin) AS last,
     digest_of_events(origin, coalesce((SELECT max(until_position) FROM signed_blocks), 0), position)
"""


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


def exported(database: Database, vault: Vault, folder: Path, **span: datetime) -> dict[str, Any]:
    own_keys = {key.public_bytes_raw() for key in vault.block_keys}
    options: dict[str, Any] = {"since": None, "before": None} | span
    wanted = Wanted(
        "jsonl", options["since"], options["before"], has_personal_data=False, events_per_file=100
    )
    return export_events(EventReader(database, event_macs(database), own_keys), folder, wanted)


@pytest.mark.parametrize("claims_our_key", [False, True])
@pytest.mark.parametrize("signed_at", [datetime(2000, 1, 2, tzinfo=UTC), datetime(2999, 1, 2, tzinfo=UTC)])
def test_a_foreign_block_hides_no_event_from_an_export_and_covers_none(
    ledger: Ledger,
    database: Database,
    vault: Vault,
    login: Connection[TupleRow],
    tmp_path: Path,
    signed_at: datetime,
    claims_our_key: bool,
) -> None:
    Checkout(ledger).prompt().pay("RCPTONE001")
    until_readable(database)
    [ours] = vault.block_keys
    public_key = ours.public_bytes_raw() if claims_our_key else bytes(32)
    for _ in range(2):
        login.execute(ADD, {"public_key": public_key, "signed_at": signed_at, "tree_size": 9})
        Checkout(ledger)
        until_readable(database)
    today = datetime.now(UTC)

    whole = exported(database, vault, tmp_path / "whole")
    of_today = exported(
        database, vault, tmp_path / "today", since=today - timedelta(days=2), before=today + timedelta(days=2)
    )

    assert whole["events"] == of_today["events"] == 6
    assert of_today["origins"][0]["signed_block"] is None
    BlockSigner(database, lambda: vault.block_key).run()
    after = exported(database, vault, tmp_path / "after")["origins"][0]["signed_block"]
    assert after["public_key"] == ours.public_bytes_raw().hex()
    assert (after["name"].startswith("1-3-"), json.loads(json.dumps(after))) == (True, after)


def test_a_tree_of_fewer_events_than_none_is_refused_and_one_from_before_is_named(
    ledger: Ledger,
    database: Database,
    vault: Vault,
    login: Connection[TupleRow],
    superuser: Connection[TupleRow],
) -> None:
    values = {"public_key": bytes(32), "signed_at": datetime.now(UTC)}
    Checkout(ledger)
    until_readable(database)
    with pytest.raises(CheckViolation, match="tree_size"):
        login.execute(ADD, values | {"tree_size": -1})
    superuser.execute("ALTER TABLE signed_blocks DROP CONSTRAINT signed_blocks_tree_size_check")
    for tree_size in (-1, 0):
        login.execute(ADD, values | {"tree_size": tree_size})
        Checkout(ledger)
        until_readable(database)
    for stored_only in (True, False):
        told = [each.detail for each in check_chain(database, vault, stored_only=stored_only).violations]
        assert [number for number in (1, 2) if any(f"block 1-{number} " in detail for detail in told)] == [
            1,
            2,
        ]
