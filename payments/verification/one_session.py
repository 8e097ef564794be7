"""One session verified by itself: its hashes, its MACs, its rows, and the signed blocks that cover its events."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger import clock
from ledger.store import block_faults, blocks
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.positions import read_horizon
from ledger.store.vault import Vault
from projections.follower import position_of
from projections.integrity.invariants import FOLLOWED, SETTLING
from projections.integrity.session_checks import check_sessions
from projections.integrity.violations import Reader, Terms, Violation

BLOCKS_OF_SESSION = """
SELECT block.origin, block.number, count(*) AS events
FROM payment_events AS event
LEFT JOIN LATERAL (SELECT origin, number, after_position FROM signed_blocks
                   WHERE origin = event.origin AND until_position >= event.position
                   ORDER BY until_position LIMIT 1) AS block ON block.after_position < event.position
WHERE event.session_id = %s GROUP BY block.origin, block.number ORDER BY block.origin, block.number
"""


@dataclass(frozen=True, slots=True)
class SessionVerified:
    """What was found about one session: how many events, what is wrong, which blocks cover it, what none does yet.

    `blocks` are their names, ORIGIN-NUMBER-HASH; `unsigned` counts the events that no block covers.
    """

    events: int
    violations: tuple[Violation, ...]
    blocks: tuple[str, ...]
    unsigned: int

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violations


def verify_session(
    database: Database, vault: Vault, session_id: UUID, *, prompt_seconds: int
) -> SessionVerified:
    """Check one session in one snapshot, as `daftari verify` does all of them. Raises Unavailable."""
    with database.snapshot() as connection:
        origin, _ = read_horizon(connection)
        followed = {name: position_of(connection, name, origin) for name in FOLLOWED}
        terms = Terms(prompt_seconds, clock.now() - SETTLING, followed)
        macs = EventMacs(database, vault.keys)
        tally = check_sessions([session_id], Reader(connection, vault, macs, terms))
        rows = connection.execute(BLOCKS_OF_SESSION, (session_id,)).fetchall()
        signed = [(row["origin"], row["number"]) for row in rows if row["number"] is not None]
        covering = [block for name in signed if (block := blocks.numbered(connection, *name))]
        tally.findings.add(_faults(connection, covering, vault))
    return SessionVerified(
        tally.events,
        tuple(tally.findings.all()),
        tuple(block.name for block in covering),
        sum(row["events"] for row in rows if row["number"] is None),
    )


def _faults(connection: Connection[Any], covering: list[blocks.Block], vault: Vault) -> Iterator[Violation]:
    own = {key.public_bytes_raw() for key in vault.block_keys}
    for block in covering:
        if not block.is_genuine(own):
            yield Violation("blocks", f"block {block.origin}-{block.number} is not signed by a key of ours")
        for fault in block_faults.faults_of_events(connection, block.origin, block.number, block.number):
            yield Violation("blocks", fault.detail)
