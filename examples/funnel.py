"""Draw how far each week's payment sessions came, from Parquet files of two views; needs `pip install duckdb`.

daftari export-view daily_funnel --format parquet -o daily_funnel.parquet
daftari export-view payment_sessions --format parquet -o payment_sessions.parquet
python examples/funnel.py daily_funnel.parquet payment_sessions.parquet
"""

import sys

import duckdb

WIDTH = 50

FUNNEL = """
SELECT date_trunc('week', day)::date AS week, sum(sessions_created) AS created, sum(payments_initiated) AS prompted,
       sum(payments_received) AS paid, sum(orders_created) AS ordered
FROM read_parquet(?) GROUP BY week ORDER BY week
"""
LOST = """
SELECT coalesce(failure_code, session_status) AS why, count(*) AS sessions,
       round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS percent
FROM read_parquet(?) WHERE session_status IN ('failed', 'expired')
GROUP BY why ORDER BY sessions DESC, why LIMIT 8
"""


def main(daily_funnel: str, payment_sessions: str) -> None:
    """Print a bar for each step of each week, then why the others were lost."""
    for week, *steps in duckdb.execute(FUNNEL, [daily_funnel]).fetchall():
        print(f"Week of {week}")
        for name, count in zip(("created", "prompted", "paid", "ordered"), steps, strict=True):
            share = count / steps[0] if steps[0] else 0
            print(f"  {name:9}{'█' * round(WIDTH * share):{WIDTH}} {count:>9,} {share:6.1%}")
    print("\nWhy sessions were lost")
    for why, sessions, percent in duckdb.execute(LOST, [payment_sessions]).fetchall():
        print(f"  {why:24}{sessions:>9,} {percent:5}%")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
