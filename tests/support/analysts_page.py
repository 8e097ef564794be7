"""`python -m tests.support.analysts_page`: write docs/analysts.md anew, from a database that was just migrated."""

from collections.abc import Iterator
from pathlib import Path

import psycopg

from ledger.store.analysts import LIMITS, MAX_CONNECTIONS, MAX_TEMPORARY
from tests.support.analyst_cookbook import CONTRACT, COOKBOOK, Query
from tests.support.database import migrated_database

PAGE = Path(__file__).resolve().parents[2] / "docs" / "analysts.md"

VIEWS = """
SELECT oid, relname, obj_description(oid, 'pg_class') FROM pg_class
WHERE relnamespace = 'analytics'::regnamespace AND relkind = 'v' ORDER BY oid
"""
COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum) FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 ORDER BY attnum
"""

_HEAD = """# The views for analysts

The schema `analytics` is for people who ask the database questions. `make analysts` writes this page from a database
that was just migrated, and a test holds it to that: change a comment in a migration or
`tests/support/analyst_cookbook.py`, not the page.

The views are an interface: views and columns are added, and never renamed, retyped or taken away. Name the columns
that you need instead of `SELECT *`.

- Amounts are whole cents of a shilling, in columns that end in `_cents`; `(paid_cents / 100.0)::numeric(14, 2)` is
  shillings.
- Moments are `timestamp with time zone`, and an analyst's session shows them in Nairobi's time. Columns named `day` and
  `month`, and those that end in `_day`, are dates in Nairobi.
- There are no names, phones, addresses or texts of callers. Places are in `by_county` alone, where groups of fewer than
  five buyers are left out; of older sessions, which do not record their place, it knows nothing. `FROM
  county_groups('2024-01-15')` in its place reads the same rows of that day's month, and no other month.
  `county_figures` does so at once, without the number of buyers.
- [The dashboard](console.md) shows figures with the query of each, on these views.
- The log of events itself is not here: [export.md](export.md) says how to take it out as files.

## A login

```
daftari create-analyst wanjiru --by 9
```

makes a login and prints its password, once, and how to connect. `--rotate` gives a new password, and
`daftari drop-analyst wanjiru` removes the login. Each is an entry of the audit log. The login reads these views, and
finds them without naming the schema. It has no right on any table, makes no object, not even a temporary table, and
sees no text of other logins' queries.

"""
_LIMITS_END = """
The number of connections and `temp_file_limit` are walls. The others are what a session begins with: PostgreSQL lets
any login set them anew for itself. Where a superuser makes the login, as on the embedded database, PostgreSQL's
functions for advisory locks, ids of transactions and large objects are closed in this database to all logins but
Daftari's own, so that an analyst stops no job. On a server without such a superuser, `create-analyst` prints what is
left to do. The embedded server lets them into this database alone. On another server they enter each database that
PUBLIC may connect to, and there nothing is closed: take that right from PUBLIC (`REVOKE CONNECT ON DATABASE postgres
FROM PUBLIC`). A query that runs for long holds back vacuum and migrations, and no payment. A login can still change its
own password and settings, and a transaction that it leaves open after that holds followers back, as any that has
written does: the work list has the case `horizon_held`, which names who it is ([running.md](running.md)), and orders
are made all the same. A person who must hold back nothing at all reads a replica.

`payment_attempts`, `payments` and `order_lines` are read from the events of each session: over 100,000 sessions that
takes seconds, over a million half a minute, and on a busy server more than `statement_timeout` allows. A condition on
`session_created_at` bounds it in the first two.

## The contract's two queries

The first runs as [the contract](checkout-contract.md) prints it. The second needs PostgreSQL's spelling of an interval.
`DATE_SUB(NOW(), INTERVAL 24 HOUR)` is grammar of MySQL and not just a function of it: PostgreSQL refuses
`INTERVAL 24 HOUR` before it looks for any name, so that no function of ours could make it run. Where there are no
sessions, MySQL gives NULL for a division by zero and PostgreSQL an error, hence `NULLIF`.

"""


def write_page(database_url: str) -> str:
    """Return the page for a migrated database."""
    with psycopg.connect(database_url) as connection:
        views = [
            (name, comment, connection.execute(COLUMNS, (oid,)).fetchall())
            for oid, name, comment in connection.execute(VIEWS).fetchall()
        ]
    parts = [_HEAD, *_limits(), *map(_query, CONTRACT), "## The views\n\n"]
    for name, comment, columns in views:
        parts += [f"### {name}\n\n{comment}\n\n| column | type | meaning |\n| --- | --- | --- |\n"]
        parts += [f"| `{column}` | {kind} | {meaning} |\n" for column, kind, meaning in columns]
        parts += ["\n"]
    parts += [
        "## Cookbook\n\nThe suite runs each of these as an analyst, on the payments of a January.\n\n",
        *map(_query, COOKBOOK),
    ]
    return "".join(parts).rstrip("\n") + "\n"


def _limits() -> Iterator[str]:
    yield f"| limit | value |\n| --- | --- |\n| connections at once | {MAX_CONNECTIONS} |\n"
    for setting, value in LIMITS.items():
        yield f"| `{setting}` | {value} |\n"
    yield f"| `temp_file_limit` | {MAX_TEMPORARY} |\n"
    yield _LIMITS_END


def _query(query: Query) -> str:
    return f"{query.question}\n\n```sql\n{query.sql.strip()}\n```\n\n"


def main() -> None:
    """Migrate a fresh database of a server of our own, and write the page."""
    with migrated_database() as database_url:
        PAGE.write_text(write_page(database_url), "utf-8")


if __name__ == "__main__":
    main()
