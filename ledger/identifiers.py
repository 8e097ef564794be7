"""Ids of what is stored in large numbers."""

from datetime import datetime
from uuid import UUID, uuid4

UNNAMED_USERS = range(2**53 - 2**51, 2**53)
"""Ids of buyers whom nobody named, each of one session: they have a key to be erased by, and no account."""

_RANDOM_BITS = 0x0FFF_3FFF_FFFF_FFFF_FFFF
"""Of the last 80 bits all but the version and the variant."""


def new_id(moment: datetime) -> UUID:
    """Return a new UUID of version 7 (RFC 9562): the milliseconds of a moment, then 74 random bits.

    Ids of one time lie together in an index, so that inserts change few pages of it; random ones touch a page each,
    which PostgreSQL then writes to its log as a whole.
    """
    milliseconds = int(moment.timestamp() * 1_000)
    return UUID(int=milliseconds << 80 | 7 << 76 | 0b10 << 62 | uuid4().int & _RANDOM_BITS)
