"""What each step may cost PostgreSQL at most, once every statement is prepared."""

from tests.performance.cost import Cost

MOST = {
    "create": Cost(statements=2, round_trips=2, commits=1, wal_bytes=2_700),
    "initiate": Cost(statements=3, round_trips=3, commits=2, wal_bytes=4_250),
    "callback, and its order": Cost(statements=2, round_trips=2, commits=1, wal_bytes=5_950),
    "status": Cost(statements=1, round_trips=1, commits=0, wal_bytes=0),
    "list": Cost(statements=1, round_trips=1, commits=0, wal_bytes=0),
    "create, with a key": Cost(statements=2, round_trips=2, commits=1, wal_bytes=4_250),
    "checkout": Cost(statements=2, round_trips=2, commits=1, wal_bytes=3_750),
    "extend, with a key": Cost(statements=2, round_trips=2, commits=1, wal_bytes=1_950),
    "initiate, with a key": Cost(statements=3, round_trips=3, commits=2, wal_bytes=5_150),
}
"""Lower a bound with the change that makes it possible; raise none without a reason."""
