"""The master key of databases that only tests use."""

from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.key_ring import KeyRing

MASTER_KEY = bytes(range(32))


def key_ring(database: Database) -> KeyRing:
    """Return the key ring of a test's database."""
    return KeyRing(database, MASTER_KEY)


def event_macs(database: Database) -> EventMacs:
    """Return what makes and checks the MACs of a test's database."""
    return EventMacs(database, key_ring(database))
