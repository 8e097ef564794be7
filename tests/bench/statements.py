"""`python -m tests.bench.statements`: how long `daftari reconcile` takes over a long statement, and what it costs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import psutil  # type: ignore[import-untyped]  # it comes without types
import psycopg
from psycopg.rows import dict_row

from api.cli.reconcile import DIFFERENCES_LEFT
from api.local.postgres import EmbeddedPostgres
from tests.bench.bench_stack import DAFTARI
from tests.bench.sample_store import sample_store
from tests.support.statements import Booking, statement

CENTS_OFF = 1_00
_PAYMENTS = """
SELECT state->>'receipt' AS receipt, (state->>'amount_cents')::bigint AS amount_cents,
       (state->>'paid_at')::timestamptz AS paid_at, requested.transaction_id
FROM payment_events, LATERAL (
    SELECT state->>'transaction_id' AS transaction_id FROM payment_events AS request
    WHERE request.session_id = payment_events.session_id AND topic = 'payment_session.payment_requested.v1'
      AND request.state->'attempt' = payment_events.state->'attempt'
) AS requested
WHERE topic = 'payment_session.paid.v1' AND state->>'receipt' LIKE 'Z%' ORDER BY paid_at
"""
_WAL = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS bytes"
_EVENTS = "SELECT count(*) AS count FROM payment_events"


@click.command()
@click.option(
    "--sessions",
    default=70_000,
    show_default=True,
    help="In the store; two of three were paid, and are in the file.",
)
def statements(sessions: int) -> None:
    """Fill a store, and import a statement of its payments twice: most known, some of every other kind."""
    with sample_store() as store, EmbeddedPostgres(store.folder) as server:
        url = server.database_url
        store.fill(url, sessions)
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            payments = connection.execute(_PAYMENTS).fetchall()
        file = store.folder / "statement.csv"
        file.write_bytes(statement(list(_bookings(payments)), preamble=[]))
        click.echo(f"{file.stat().st_size / 1e6:.1f} MB, {len(payments)} payments are stored", err=True)
        for name in ("first import", "second import"):
            click.echo(json.dumps({"what": name} | _import(server, store.environ, file), indent=2))
        environ = store.environ | {"DATABASE_URL": url}
        subprocess.run([*DAFTARI, "verify"], env=environ, stdout=sys.stderr, check=True)


def _bookings(payments: Sequence[dict[str, Any]]) -> Iterator[Booking]:
    """Yield the lines of a day's account: of a hundred payments one is unknown, one has another amount, one came
    twice, one was reversed, one is not in the file; and there are two charges.
    """
    for number, payment in enumerate(payments):
        at: datetime = payment["paid_at"]
        line = Booking(
            payment["receipt"],
            paid_in=payment["amount_cents"],
            at=at,
            account=f"D{payment['transaction_id']}",
        )
        match number % 100:
            case 10:
                yield replace(line, receipt=f"UN{number:08d}", account="rent of May")
                yield line
            case 20:
                yield replace(line, paid_in=line.paid_in - CENTS_OFF)
            case 30:
                yield line
                yield replace(line, receipt=f"TW{number:08d}")
            case 40:
                yield line
                yield Booking(
                    f"RV{number:08d}", withdrawn=line.paid_in, at=at + timedelta(seconds=1), reason="Pay Bill Reversal",
                    linked=line.receipt,
                )  # fmt: skip
            case 50:
                pass
            case 60 | 70:
                yield line
                yield Booking(
                    line.receipt, withdrawn=5_00, at=at, reason="Pay Bill Charge", linked=line.receipt
                )
            case _:
                yield line


def _import(server: EmbeddedPostgres, environ: dict[str, str], file: Path) -> dict[str, Any]:
    """Run the command; return its seconds, its processor time and PostgreSQL's, WAL, events and memory."""
    with psycopg.connect(server.database_url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("CHECKPOINT")
        before, wal, events = _postgres_seconds(server), _one(connection, _WAL), _one(connection, _EVENTS)
        started = perf_counter()
        command = [*DAFTARI, "reconcile", "--json", str(file)]
        process = subprocess.Popen(
            command, env=environ | {"DATABASE_URL": server.database_url}, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        report = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode in (0, DIFFERENCES_LEFT), process.returncode
        appended = _one(connection, _EVENTS) - events
        return {
            "rows": report["found"]["rows"],
            "counts": {kind: count for kind, count in report["found"]["counts"].items() if count},
            "events": appended,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "postgres_cpu_seconds": round(_postgres_seconds(server) - before, 1),
            "wal_bytes_a_row": round((_one(connection, _WAL) - wal) / report["found"]["rows"]),
            "max_rss_mb": round(usage.ru_maxrss / 1024),
        }


def _one(connection: psycopg.Connection[dict[str, Any]], query: Any) -> int:
    [row] = connection.execute(query).fetchall()
    [value] = row.values()
    return int(value)


def _postgres_seconds(server: EmbeddedPostgres) -> float:
    """Return the processor time of the server, of its processes, and of those that ended."""
    postmaster = psutil.Process(server.pid)
    times = postmaster.cpu_times()
    ended = times.children_user + times.children_system
    running = [process.cpu_times() for process in (postmaster, *postmaster.children())]
    return float(ended + sum(each.user + each.system for each in running))


if __name__ == "__main__":
    statements()
