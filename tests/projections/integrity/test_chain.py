"""Whatever is done to one event of the log by hand, the chain shows it and names the position.

The log is of events with valid hashes and MACs, in sessions that go on beside each other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle, pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from ledger import clock
from ledger.errors import NotFound
from ledger.store import blocks
from ledger.store.block_signer import BlockSigner
from ledger.store.blocks import Blocks, KeptName
from ledger.store.canonical import GENESIS, canonical_json, chained_hash, event_digest
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.published_heads import line_of
from ledger.store.vault import Vault
from projections.integrity import chain
from projections.integrity.chain import check_chain
from projections.integrity.spans import Span, check_span
from projections.integrity.violations import Reader, Terms, Violation

MASTER_KEY = bytes(range(32))
TOPIC = "payment_session.created.v1"
WRITE_FREELY = "SET session_replication_role = replica"
COPY = """
COPY payment_events (session_id, version, topic, state, metadata, previous_hash, hash, key_id, mac, origin, position,
                     recorded_at) FROM STDIN
"""
RESIGN = "UPDATE payment_events SET state = %s, hash = %s, mac = %s WHERE position = %s"


@dataclass
class Log:
    """A log whose events are at `positions`, and a connection of its owner that takes back what it did."""

    database: Database
    vault: Vault
    owner: psycopg.Connection[Any]
    positions: list[int]
    spans: list[Span]

    def first_fault(self, position: int, *, stored_only: bool = False) -> int | None:
        """Return the first broken position of the span that a position is in."""
        span = next(each for each in self.spans if each.after < position <= each.until)
        found = self._faults_of(span, stored_only=stored_only)
        return min((each.position for each in found if each.position is not None), default=None)

    def faults(self, *, stored_only: bool) -> list[Violation]:
        """Return what is wrong in all spans."""
        return [fault for span in self.spans for fault in self._faults_of(span, stored_only=stored_only)]

    def _faults_of(self, span: Span, *, stored_only: bool) -> list[Violation]:
        macs = EventMacs(self.database, self.vault.keys)
        reader = Reader(self.owner, self.vault, macs, Terms(0, clock.now(), {}))
        return check_span(span, reader, stored_only=stored_only).findings.listed


def stored_events(count: int, macs: EventMacs) -> Iterator[tuple[Any, ...]]:
    """Yield rows of sessions that go on beside each other, so that neighbours are of several sessions."""
    last: dict[int, tuple[int, bytes]] = {}
    for number in range(count):
        session = number // 15 * 5 + number % 5 if number % 15 < 10 else number + 10**9
        version, previous = last.get(session, (0, GENESIS))
        session_id, state, metadata = UUID(int=session + 1), {"number": number, "text": "Ä b"}, {"cause": "x"}
        hashed = chained_hash(previous, event_digest(session_id, version + 1, TOPIC, state, metadata))
        last[session] = version + 1, hashed
        key_id, [mac] = macs.sign([hashed])
        texts = (canonical_json(state).decode(), canonical_json(metadata).decode())
        yield (
            session_id,
            version + 1,
            TOPIC,
            *texts,
            previous,
            hashed,
            key_id,
            mac,
            1,
            2 * number + 2,
            clock.now(),
        )


def filled(database: Database, count: int, in_a_block: int, monkeypatch: pytest.MonkeyPatch) -> Vault:
    monkeypatch.setattr(blocks, "MAX_EVENTS", in_a_block)
    monkeypatch.setattr(chain, "EVENTS_AT_ONCE", in_a_block)
    vault = Vault(database, MASTER_KEY)
    vault.claim()
    macs = EventMacs(database, vault.keys)
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute(WRITE_FREELY)
        with owner.cursor().copy(COPY) as copy:
            for row in stored_events(count, macs):
                copy.write_row(row)
    signer = BlockSigner(database, lambda: vault.block_key)
    while signer.run():
        pass
    return vault


@pytest.fixture
def log(database: Database, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    count, in_a_block = getattr(request, "param", (310, 100))
    vault = filled(database, count, in_a_block, monkeypatch)
    with psycopg.connect(database.url, row_factory=dict_row) as owner:
        owner.execute(WRITE_FREELY)
        found = owner.execute("SELECT position FROM payment_events ORDER BY position").fetchall()
        spans = list(chain._all_spans(owner))
        assert all(before.until == after.after for before, after in pairwise(spans))
        yield Log(database, vault, owner, [row["position"] for row in found], spans)
        owner.rollback()


def flip(log: Log, position: int) -> int:
    log.owner.execute(
        "UPDATE payment_events SET state = state || '{\"number\": -1}' WHERE position = %s", (position,)
    )
    return position


def nest(log: Log, position: int) -> int:
    state = "[" * 3_000 + "]" * 3_000
    log.owner.execute("UPDATE payment_events SET state = %s WHERE position = %s", (state, position))
    return position


def flip_hash(log: Log, position: int) -> int:
    flipped = "set_bit(hash, 7, 1 - get_bit(hash, 7))"
    log.owner.execute(f"UPDATE payment_events SET hash = {flipped} WHERE position = %s".encode(), (position,))
    return position


def flip_mac(log: Log, position: int) -> int:
    flipped = "set_bit(mac, 7, 1 - get_bit(mac, 7))"
    log.owner.execute(f"UPDATE payment_events SET mac = {flipped} WHERE position = %s".encode(), (position,))
    return position


def delete(log: Log, position: int) -> int:
    log.owner.execute("DELETE FROM payment_events WHERE position = %s", (position,))
    return position


def insert(log: Log, position: int) -> int:
    """Add a copy with a position of its own, which fits its content in all but its session."""
    log.owner.execute(
        "INSERT INTO payment_events (session_id, version, topic, state, metadata, previous_hash, hash, key_id, mac,"
        " origin, position, recorded_at) SELECT gen_random_uuid(), version, topic, state, metadata, previous_hash,"
        " hash, key_id, mac, origin, position - 1, recorded_at FROM payment_events WHERE position = %s",
        (position,),
    )
    return position - 1


def swap(log: Log, position: int) -> int:
    """Exchange the places of an event and the next."""
    after = log.positions[min(log.positions.index(position) + 1, len(log.positions) - 1)]
    for old, new in ((position, -1), (after, position), (-1, after)):
        log.owner.execute("UPDATE payment_events SET position = %s WHERE position = %s", (new, old))
    return position if after != position else 0


def resign(log: Log, position: int) -> int:
    """Give an event another content, with the hash that fits it, and the MAC of a key that is not ours."""
    [row] = log.owner.execute("SELECT * FROM payment_events WHERE position = %s", (position,))
    state = row["state"] | {"number": -1}
    digest = event_digest(row["session_id"], row["version"], row["topic"], state, row["metadata"])
    hashed = chained_hash(row["previous_hash"], digest)
    values = (canonical_json(state).decode(), hashed, sha256(hashed).digest(), position)
    log.owner.execute(RESIGN, values)
    return position


def postdate(log: Log, position: int) -> int:
    log.owner.execute(
        "UPDATE payment_events SET recorded_at = recorded_at + interval '2 hours' WHERE position = %s",
        (position,),
    )
    return position


def backdate(log: Log, position: int) -> int:
    """Let an event be recorded two hours before the one before it; there is none before the first."""
    log.owner.execute(
        "UPDATE payment_events SET recorded_at = recorded_at - interval '2 hours' WHERE position = %s",
        (position,),
    )
    return position if position != log.positions[0] else 0


STORED = (postdate, backdate, flip_hash, delete, insert, swap, resign)
FORGERIES = (flip, nest, flip_mac, *STORED)


def assert_found(log: Log, position: int, forge: Callable[[Log, int], int]) -> None:
    with log.owner.transaction(force_rollback=True):
        expected = forge(log, position)
        if expected:
            assert log.first_fault(expected, stored_only=forge in STORED) == expected, forge.__name__


def test_what_is_done_to_an_event_is_found_where_it_is(log: Log) -> None:
    for position in {*log.positions[::53], log.positions[99], log.positions[100], log.positions[-1]}:
        for forge in FORGERIES:
            assert_found(log, position, forge)


@pytest.mark.system
@pytest.mark.parametrize("log", [(10_000, 20)], indirect=True)
def test_what_is_done_to_any_event_of_ten_thousand_is_found_where_it_is(log: Log) -> None:
    """Each event meets one of the forgeries, in turn: all of them on each would take a quarter of an hour."""
    assert len(log.positions) == 10_000
    for position, forge in zip(log.positions, cycle(FORGERIES), strict=False):
        assert_found(log, position, forge)


def test_a_whole_chain_holds_and_is_counted(log: Log) -> None:
    for stored_only in (False, True):
        found = check_chain(log.database, log.vault, stored_only=stored_only)
        assert (found.violations, found.events, found.first) == ([], len(log.positions), None)
        assert found.last_block == Blocks(log.database).last()


def test_of_several_faults_the_first_position_is_named(log: Log) -> None:
    for index in (300, 150, 220):
        flip(log, log.positions[index])
    log.owner.commit()
    assert check_chain(log.database, log.vault).first == log.positions[150]
    assert check_chain(log.database, log.vault, stored_only=True).first is None


def test_times_that_are_set_back_together_are_bounded_by_the_head_before(log: Log) -> None:
    """The blocks are over 100, 100, 100 and 10 events: full ones bound nothing, since more waited already."""
    log.owner.execute("UPDATE payment_events SET recorded_at = recorded_at - interval '2 days'")
    log.owner.execute("UPDATE signed_blocks SET signed_at = signed_at - interval '1 day' WHERE number < 4")
    log.owner.commit()
    assert times(log) == []
    log.owner.execute(
        "UPDATE signed_blocks SET events = 99, signed_at = signed_at + interval '1 day' WHERE number = 2"
    )
    log.owner.commit()
    found = times(log)
    assert len(found) == 100
    assert found[0].position == log.positions[200]
    assert found[0].detail.endswith("says to be recorded before block 1-2 was signed, which is not over it")


def test_clocks_may_differ_by_an_hour_and_no_more(log: Log) -> None:
    for moment, expected in (
        ("recorded_at - interval '59 minutes'", []),
        ("recorded_at + interval '59 minutes'", []),
        ("recorded_at - interval '61 minutes'", [150]),
        ("recorded_at + interval '61 minutes'", [150, 151]),
        ("'-infinity'", [150]),
        ("'infinity'", [150, 151]),
    ):
        with log.owner.transaction(force_rollback=True):
            change = f"UPDATE payment_events SET recorded_at = {moment} WHERE position = %s"
            log.owner.execute(change.encode(), (log.positions[150],))
            faults = [each for each in log.faults(stored_only=True) if each.rule == "recorded times"]
            assert sorted(log.positions.index(each.position or 0) for each in faults) == expected, moment


def times(log: Log) -> list[Violation]:
    found = check_chain(log.database, log.vault, stored_only=True).violations
    return [each for each in found if each.rule == "recorded times"]


def test_a_dropped_session_is_named_by_its_first_position(log: Log) -> None:
    [session] = log.owner.execute(
        "SELECT session_id FROM payment_events WHERE position = %s", (log.positions[120],)
    )
    rows = log.owner.execute(
        "DELETE FROM payment_events WHERE session_id = %s RETURNING position", (session["session_id"],)
    ).fetchall()
    log.owner.commit()
    assert check_chain(log.database, log.vault, stored_only=True).first == min(
        row["position"] for row in rows
    )


def test_a_truncated_tail_is_found_by_its_block_or_by_the_name_of_one_that_was_kept(log: Log) -> None:
    last = Blocks(log.database).last()
    assert last is not None
    log.owner.execute("DELETE FROM payment_events WHERE position > %s", (log.positions[304],))
    log.owner.commit()
    assert check_chain(log.database, log.vault).first == log.positions[305]
    log.owner.execute("DELETE FROM signed_blocks WHERE number = %s", (last.number,))
    log.owner.execute("DELETE FROM payment_events WHERE position > %s", (last.after_position,))
    log.owner.commit()
    assert check_chain(log.database, log.vault).violations == []
    [fault] = check_chain(log.database, log.vault, kept_blocks=[KeptName.parse(last.name)]).violations
    assert "is not there as it was when its name was kept" in fault.detail


def test_since_a_head_only_what_came_after_is_read(log: Log) -> None:
    [second] = [block for block in all_blocks(log) if block.number == 2]
    flip(log, log.positions[150])
    log.owner.commit()
    since = KeptName.parse(second.name)
    found = check_chain(log.database, log.vault, since=since)
    assert (found.violations, found.events) == ([], 110)
    flip(log, log.positions[250])
    log.owner.commit()
    assert check_chain(log.database, log.vault, since=since).first == log.positions[250]
    with pytest.raises(NotFound):
        check_chain(log.database, log.vault, since=KeptName(1, 2, bytes(32)))


def all_blocks(log: Log) -> list[blocks.Block]:
    with log.database.connection() as connection:
        found = (blocks.numbered(connection, 1, number) for number in range(1, 9))
        return [block for block in found if block is not None]


def test_a_chain_that_was_made_anew_is_found_by_a_published_head(log: Log) -> None:
    """Every hash, MAC and signature holds: the keys were used."""
    lines = [line_of(block) for block in all_blocks(log)]
    log.owner.execute("DELETE FROM merkle_nodes")
    log.owner.execute("DELETE FROM signed_blocks WHERE number > 2")
    log.owner.execute("DELETE FROM payment_events WHERE position > %s", (log.positions[250],))
    log.owner.commit()
    BlockSigner(log.database, lambda: log.vault.block_key).run()
    assert check_chain(log.database, log.vault).violations == []
    found = check_chain(log.database, log.vault, published=lines)
    assert found.first == log.positions[200]
    assert len(found.violations) == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "UPDATE merkle_nodes SET hash = sha256(hash) WHERE level = 8 AND number = 1",
            "node 8-1 of origin 1",
        ),
        ("UPDATE merkle_nodes SET hash = sha256(hash) WHERE level = 9", "node 9-0 of origin 1"),
        ("DELETE FROM merkle_nodes WHERE level = 9", "nodes of level 9 of origin 1 are missing"),
        ("DELETE FROM merkle_nodes", "nodes of level 8 of origin 1 are missing"),
        ("INSERT INTO merkle_nodes VALUES (1, 10, 0, sha256('x'), 9)", "node 10-0 of origin 1"),
        ("INSERT INTO merkle_nodes VALUES (1, 8, 2, sha256('x'), 4000)", "node 8-2 of origin 1"),
    ],
)
@pytest.mark.parametrize("log", [(520, 100)], indirect=True)
def test_a_node_that_is_not_that_of_the_log_is_named_and_made_anew(
    log: Log, change: str, expected: str
) -> None:
    assert check_chain(log.database, log.vault, stored_only=True).violations == []
    log.owner.execute(change.encode())
    log.owner.commit()
    found = check_chain(log.database, log.vault, stored_only=True)
    assert {each.rule for each in found.violations} == {"tree"}
    assert any(expected in each.detail for each in found.violations)
    log.owner.execute("DELETE FROM merkle_nodes")
    log.owner.execute("SELECT complete_merkle_nodes(1::smallint)")
    log.owner.commit()
    assert check_chain(log.database, log.vault, stored_only=True).violations == []


@pytest.mark.parametrize("log", [(520, 100)], indirect=True)
def test_nodes_under_blocks_from_before_the_tree_are_compared_too(log: Log) -> None:
    log.owner.execute(
        "UPDATE signed_blocks SET tree_size = NULL, root_hash = NULL, peaks = NULL, leaves = NULL WHERE number < 5"
    )
    log.owner.commit()
    assert faults_of_the_tree(log) == []
    log.owner.execute("UPDATE merkle_nodes SET hash = sha256(hash) WHERE level = 8 AND number = 0")
    log.owner.commit()
    assert faults_of_the_tree(log) == ["node 8-0 of origin 1", "node 9-0 of origin 1"]


def test_the_link_to_an_event_of_an_earlier_span_is_followed(log: Log) -> None:
    """The one before is in the span before, and its hash is another now: the later one is named as well."""
    [row] = log.owner.execute(
        "SELECT later.position, earlier.position AS before FROM payment_events AS later JOIN payment_events AS earlier"
        " ON (earlier.session_id, earlier.version) = (later.session_id, later.version - 1)"
        " WHERE later.position > %(last)s AND earlier.position <= %(last)s ORDER BY later.position LIMIT 1",
        {"last": log.positions[199]},
    )
    flip_hash(log, row["before"])
    assert log.first_fault(row["position"], stored_only=True) == row["position"]


def faults_of_the_tree(log: Log) -> list[str]:
    found = check_chain(log.database, log.vault, stored_only=True).violations
    return [each.detail.partition(" is not")[0] for each in found if each.rule == "tree"]
