"""Invariants of the log: versions, positions, hash chains, signed blocks, the audit log."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
from psycopg import Connection

from ledger.store import api_key_macs, audit_log, block_faults, blocks, published_heads
from ledger.store.canonical import GENESIS, chained_hash, event_digest
from ledger.store.event_macs import EventMacs
from ledger.store.key_ring import AlteredKey, WrongKey
from ledger.store.vault import SYSTEM_USER_ID, WEBHOOK_DEFINITION, Vault
from projections.integrity.guards import run_guarded
from projections.integrity.session_log import SessionLog
from projections.integrity.violations import MAX_PER_RULE, Reader, Tally, Task, Violation

SHARED_POSITIONS = """
SELECT position FROM payment_events WHERE origin <> %s OR position > %s
GROUP BY origin, position HAVING count(*) > 1 LIMIT %s
"""
WEBHOOK_ENDPOINTS = (
    "SELECT endpoint_id, sealed_definition FROM webhook_endpoints ORDER BY created_at, endpoint_id"
)
BLOCKS_AT_ONCE = 20


def versions(log: SessionLog) -> Iterator[Violation]:
    """Versions run 1, 2, 3, ... and positions rise with them."""
    if [event.version for event in log.recorded] != list(range(1, len(log.recorded) + 1)):
        yield log.violation("versions", "its versions do not run 1, 2, 3, ...")
    if any(later.position <= earlier.position for earlier, later in pairwise(log.recorded)):
        yield log.violation("versions", "its positions do not rise with its versions")


def genuine(log: SessionLog, macs: EventMacs | None) -> Iterator[Violation]:
    """Each event carries our MAC, unless it is older than MACs; what follows the first without is cut off."""
    if macs is None:
        return
    for number, row in enumerate(log.rows):
        if not macs.is_genuine(row):
            detail = f"version {row['version']} does not carry our MAC: somebody else wrote it"
            yield log.violation("event macs", detail)
            log.cut(number)
            return


def hash_chain(log: SessionLog) -> Iterator[Violation]:
    """Each event carries the hash of the one before, and its own fits its content."""
    previous, session_id = GENESIS, str(log.session_id)
    for row, event in zip(log.rows, log.recorded, strict=True):
        metadata = row["metadata"] and msgspec.json.decode(row["metadata"])
        digest = event_digest(session_id, event.version, event.topic, event.state, metadata)
        before, own = row["previous_hash"], row["hash"]
        if before != previous:
            detail = f"version {event.version} does not carry the hash of the one before"
            yield log.violation("hash chain", detail)
        if own != chained_hash(before, digest):
            yield log.violation("hash chain", f"version {event.version} was altered after it was written")
        previous = own


def positions(connection: Connection[Any], origin: int, after: int) -> Iterator[Violation]:
    """No two events share a position; blocks are signed over both, so that none is added to those below `after`."""
    for row in connection.execute(SHARED_POSITIONS, (origin, after, MAX_PER_RULE)):
        yield Violation("versions", f"position {row['position']} is not of one event only")


def signed_blocks(
    connection: Connection[Any],
    vault: Vault | None,
    kept: Iterable[blocks.KeptName],
    verified: blocks.KeptName | None,
    published: Iterable[bytes] = (),
) -> Iterator[Violation]:
    """Signed blocks follow one another, and those that were kept or published elsewhere are still there."""
    own_keys = vault.block_keys if vault is not None else []
    for fault in blocks.faults(connection, own_keys, verified):
        yield Violation("blocks", fault)
    for name in kept:
        if blocks.find(connection, name) is None:
            detail = f"block {name.origin}-{name.number} is not there as it was when its name was kept"
            yield Violation("blocks", detail)
    for found in published_heads.faults(connection, published, {key.public_bytes_raw() for key in own_keys}):
        yield Violation("blocks", found.detail, position=found.position)


def digest_tasks(connection: Connection[Any]) -> Iterator[Task]:
    """Return what compares all blocks with the log, a few at a time."""
    for origin, last in blocks.last_numbers(connection).items():
        for first in range(1, last + 1, BLOCKS_AT_ONCE):
            check = partial(check_digests, origin, first, first + BLOCKS_AT_ONCE - 1)
            yield partial(run_guarded, check, "blocks")


def check_digests(origin: int, first: int, last: int, reader: Reader) -> Tally:
    """Compare the blocks of these numbers with the positions and hashes that they were signed over."""
    tally = Tally()
    faults = block_faults.faults_of_events(reader.connection, origin, first, last)
    tally.findings.add(Violation("blocks", fault.detail) for fault in faults)
    return tally


def keys(connection: Connection[Any], vault: Vault | None) -> Iterator[Violation]:
    """Each row of the key ring opens by the master key, as those that Daftari made do."""
    for purpose, key_id in vault.keys.altered(connection) if vault is not None else ():
        yield Violation("keys", AlteredKey(purpose[:60], key_id).message)


def api_keys(connection: Connection[Any], vault: Vault | None) -> Iterator[Violation]:
    """Each API key carries the MAC that only the application can make."""
    for key_id in api_key_macs.forged(connection, vault.keys) if vault is not None else ():
        detail = f"API key {key_id} was not made by Daftari, or was altered; it is not accepted"
        yield Violation("api keys", detail)


def webhook_endpoints(connection: Connection[Any], vault: Vault | None) -> Iterator[Violation]:
    """Each definition of a webhook endpoint opens for its row, as those that Daftari made do."""
    if vault is None:
        return
    for row in connection.execute(WEBHOOK_ENDPOINTS):
        endpoint_id, sealed = row["endpoint_id"], row["sealed_definition"]
        try:
            vault.decrypt(SYSTEM_USER_ID, sealed, purpose=WEBHOOK_DEFINITION, row=endpoint_id)
        except WrongKey:
            detail = (
                f"webhook endpoint {endpoint_id} was not made by Daftari, or was altered; it is told nothing"
            )
            yield Violation("webhook endpoints", detail)


def audit_entries(connection: Connection[Any], vault: Vault | None) -> Iterator[Violation]:
    """Each entry of the audit log carries the MAC that only the application can make."""
    if vault is not None:
        for fault in audit_log.faults(connection, vault.keys):
            yield Violation("audit log", fault)
