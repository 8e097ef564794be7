"""The figures of the dashboard: each is the result of a query on the schema `analytics`, which is shown beside it.

The queries run as they are shown. So a figure is what an analyst gets who runs its query, and nothing states it twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ledger.clock import NAIROBI
from ledger.session.values import ATTEMPT_MAY_TAKE
from ledger.store.database import Database

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A span of time until now, in whole steps of which the last has not ended; `before` is how one calls the last."""

    name: str
    title: str
    before: str
    span: timedelta
    step: timedelta


PERIODS = {
    period.name: period
    for period in (
        Period("hour", "Last hour", "the hour before", HOUR, timedelta(minutes=5)),
        Period("day", "Last day", "the day before", DAY, HOUR),
        Period("week", "Last week", "the week before", 7 * DAY, DAY),
        Period("month", "Last 30 days", "the 30 days before", 30 * DAY, DAY),
    )
}
# What the sessions created in a period have come to: whole hours as they were summed up, then session by session.
_PARTS = """
    SELECT hour AS created_at, sessions_created AS created, payments_initiated AS prompted,
           payment_initiated AS waiting, payments_received AS paid, orders_created AS ordered, paid_cents
    FROM analytics.payment_metrics_hourly WHERE hour >= '{since}' AND hour < '{whole_until}'
    UNION ALL
    SELECT created_at, 1, (session_status NOT IN ('pending', 'expired'))::integer,
           (session_status = 'payment_initiated')::integer, (paid_at IS NOT NULL)::integer,
           (order_created_at IS NOT NULL)::integer, CASE WHEN paid_at IS NOT NULL THEN total_cents ELSE 0 END
    FROM analytics.payment_sessions WHERE created_at >= '{whole_until}' AND created_at < '{until}'
"""
# How long payments took: whole days and hours by spans of time, then payment by payment.
_TIMES = """
    SELECT over_seconds, up_to_seconds, payments FROM analytics.times_to_pay_daily
    WHERE day >= '{first_day}' AND day < '{day_until}'
    UNION ALL
    SELECT over_seconds, up_to_seconds, payments FROM analytics.times_to_pay_hourly
    WHERE hour >= '{days_until}' AND hour < '{whole_until}'
    UNION ALL
    SELECT seconds, seconds, 1 FROM (
        SELECT greatest(extract(epoch FROM paid_at - last_requested_at)::float8, 0) AS seconds
        FROM analytics.payment_sessions
        WHERE paid_at IS NOT NULL AND created_at >= '{whole_until}' AND created_at < '{until}'
    ) AS payment
"""

FUNNEL = f"""
SELECT coalesce(sum(created), 0)::bigint AS created, coalesce(sum(prompted), 0)::bigint AS prompted,
       coalesce(sum(paid), 0)::bigint AS paid, coalesce(sum(ordered), 0)::bigint AS ordered,
       coalesce(sum(paid_cents), 0)::bigint AS paid_cents,
       round(100.0 * sum(paid) / nullif(sum(prompted) - sum(waiting), 0), 1) AS success_percent
FROM ({_PARTS}) AS part;
"""  # noqa: S608 - made of this file's constants only
OVER_TIME = f"""
SELECT date_bin('{{step}}', created_at, '{{since}}') AS since, sum(created)::bigint AS created,
       sum(paid)::bigint AS paid, sum(ordered)::bigint AS ordered
FROM ({_PARTS}) AS part GROUP BY 1 ORDER BY 1;
"""  # noqa: S608 - made of this file's constants only
BY_HOUR = f"""
SELECT extract(hour FROM created_at AT TIME ZONE 'Africa/Nairobi')::integer AS hour, sum(created)::bigint AS created,
       sum(paid)::bigint AS paid, sum(ordered)::bigint AS ordered
FROM ({_PARTS}) AS part GROUP BY 1 ORDER BY 1;
"""  # noqa: S608 - made of this file's constants only
FAILURES = """
SELECT failure_code, sum(sessions)::bigint AS sessions FROM (
    SELECT failure_code, sessions FROM analytics.failure_reasons_hourly
    WHERE hour >= '{since}' AND hour < '{whole_until}'
    UNION ALL
    SELECT failure_code, 1 FROM analytics.payment_sessions
    WHERE session_status = 'failed' AND created_at >= '{whole_until}' AND created_at < '{until}'
) AS failure GROUP BY failure_code ORDER BY sessions DESC, failure_code;
"""
TIME_TO_PAY = f"""
WITH span AS (
    SELECT over_seconds, up_to_seconds, sum(payments) AS payments FROM ({_TIMES}) AS part GROUP BY 1, 2
), running AS (
    SELECT *, sum(payments) OVER (ORDER BY up_to_seconds, over_seconds) AS passed, sum(payments) OVER () AS in_all
    FROM span
), percentile AS (
    SELECT share, over_seconds
        + (up_to_seconds - over_seconds) * (share * in_all - passed + payments) / payments AS seconds
    FROM running JOIN (VALUES (0.5), (0.95)) AS wanted (share)
        ON passed >= share * in_all AND passed - payments < share * in_all
)
SELECT coalesce((SELECT sum(payments) FROM span), 0)::bigint AS payments,
       (SELECT seconds FROM percentile WHERE share = 0.5)::numeric(12, 1) AS p50_seconds,
       (SELECT seconds FROM percentile WHERE share = 0.95)::numeric(12, 1) AS p95_seconds;
"""  # noqa: S608 - made of this file's constants only
SECONDS_TO_PAY = (5, 10, 20, 30, 60, 120)
HOW_LONG = f"""
SELECT width_bucket(over_seconds, ARRAY[{", ".join(map(str, SECONDS_TO_PAY))}]::float8[]) AS group_number,
       sum(payments)::bigint AS payments
FROM ({_TIMES}) AS part GROUP BY 1 ORDER BY 1;
"""  # noqa: S608 - made of this file's constants only
COUNTIES = """
SELECT counties.name AS county, sum(sessions)::bigint AS sessions, sum(payments_received)::bigint AS paid,
       sum(paid_cents)::bigint AS paid_cents
FROM analytics.county_figures('{month}') JOIN analytics.counties USING (county_id)
GROUP BY county_id, counties.name ORDER BY sessions DESC, county;
"""
MONEY = """
SELECT 'without_order' AS what, count(*) AS sessions, coalesce(sum(total_cents), 0)::bigint AS cents
FROM analytics.payment_sessions WHERE session_status = 'paid'
UNION ALL
SELECT 'refund_due', count(*), coalesce(sum(refund_due_cents), 0)::bigint
FROM analytics.payment_sessions WHERE refund_due_cents > 0
UNION ALL
SELECT 'waiting', count(*), coalesce(sum(total_cents), 0)::bigint
FROM analytics.payment_sessions
WHERE open_attempts > 0 AND last_attempt_state <> 'uncertain' AND last_requested_at > '{in_doubt_until}'
UNION ALL
SELECT 'in_doubt', count(*), coalesce(sum(total_cents), 0)::bigint
FROM analytics.payment_sessions
WHERE open_attempts > 0 AND (last_attempt_state = 'uncertain' OR last_requested_at <= '{in_doubt_until}');
"""
LAG = """
SELECT name, events_behind, seconds_behind FROM analytics.projection_status ORDER BY name;
"""

OF_PERIOD = {
    "funnel": FUNNEL,
    "over_time": OVER_TIME,
    "by_hour": BY_HOUR,
    "failures": FAILURES,
    "time_to_pay": TIME_TO_PAY,
    "how_long": HOW_LONG,
    "counties": COUNTIES,
}
"""The queries about a period, each of which is asked for the period before too."""
OF_NOW = {"money": MONEY, "lag": LAG}
"""The queries about this moment."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Window:
    """What a period is at a moment: from `since` to before `until`, of the sessions created in it.

    Whole hours end at `whole_until`, whole days at `days_until`; each is `since` where none are summed up.
    """

    since: datetime
    until: datetime
    days_until: datetime
    whole_until: datetime
    step: timedelta

    def sql(self, query: str) -> str:
        """Return a query as it runs and is shown."""
        return query.strip().format(
            since=_literal(self.since),
            until=_literal(self.until),
            first_day=_day(self.since),
            day_until=_day(self.days_until),
            days_until=_literal(self.days_until),
            whole_until=_literal(self.whole_until),
            in_doubt_until=_literal(self.until - ATTEMPT_MAY_TAKE),
            step=f"{self.step // timedelta(minutes=1)} minutes",
            month=_day(self.until.astimezone(NAIROBI).replace(day=1)),
        )

    @property
    def starts(self) -> list[datetime]:
        """When each step begins."""
        steps = -((self.since - self.until) // self.step)
        return [self.since + number * self.step for number in range(steps)]


@dataclass(frozen=True, slots=True)
class Figures:
    """The rows of each query for a window, and for the one before; `sql` is by which query they were read."""

    window: Window
    now: Mapping[str, Rows]
    before: Mapping[str, Rows]
    sql: Mapping[str, str]


def windows(period: Period, until: datetime) -> tuple[Window, Window]:
    """Return a period until a moment, and the one before: as long, and up to the same time of its last step."""
    start = datetime(2000, 1, 1, tzinfo=NAIROBI)
    since = until - (until - start) % period.step + period.step - period.span
    whole_until = until - (until - start) % HOUR if period.span >= DAY else since
    days_until = until - (until - start) % DAY if period.step == DAY else since
    now, before = (
        Window(since - back, until - back, days_until - back, whole_until - back, period.step)
        for back in (timedelta(), period.span)
    )
    return now, before


def read(database: Database, period: Period, until: datetime) -> Figures:
    """Return the figures of a period until a moment, which is the present."""
    now, before = windows(period, until)
    month_before = until.astimezone(NAIROBI).replace(day=1) - DAY
    sql = {name: now.sql(query) for name, query in (OF_PERIOD | OF_NOW).items()}
    earlier = {name: before.sql(query) for name, query in OF_PERIOD.items()}
    # A place is counted by the month, so that no two windows differ by one buyer.
    earlier["counties"] = replace(before, until=month_before).sql(COUNTIES)
    with database.connection() as connection:
        return Figures(
            now,
            {name: connection.execute(query.encode()).fetchall() for name, query in sql.items()},
            {name: connection.execute(query.encode()).fetchall() for name, query in earlier.items()},
            sql,
        )


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(NAIROBI):%Y-%m-%d}"


def _literal(moment: datetime) -> str:
    """Return a moment as a literal of SQL reads best, in the time of Nairobi."""
    return f"{moment.astimezone(NAIROBI):%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".") + "+03"
