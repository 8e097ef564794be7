"""The console's first page: how payments are doing now, and in a period against the one before.

The page is whole without a script; with one it stays live. Its stream says only that the figures have changed: the page
is then fetched anew, so that who looks is asked for their token each time, and a stream never has much to send.
"""

from datetime import datetime
from itertools import pairwise
from typing import Any

from flask import render_template, request
from marshmallow import fields, validate
from werkzeug.wrappers import Response as AnyResponse

from api.http.framework.services import current_settings
from api.http.middleware.auth import caller
from api.http.schemas.fields import RequestSchema
from api.http.streaming.long_poll import EVENT_STREAM, begin_stream
from api.http.streaming.notifier import current_notifier
from api.pages.console.blueprint import in_section, pages, read_query
from api.pages.console.charts import Change, Line, changed, columns_of, lines_of
from api.pages.console.navigation import CASES, DASHBOARD
from api.pages.console.readings import FiguresStream, Reading, current_readings
from api.pages.wording import NOTHING, shillings
from ledger.clock import NAIROBI
from payments.exceptions.next_steps import KIND_NAMES
from projections.dashboard import DAY, PERIODS, SECONDS_TO_PAY, Period, Rows

FAILURE_NAMES = {
    "CANCELLED_BY_USER": "Cancelled on the phone",
    "NO_RESPONSE": "No answer from the phone",
    "EXPIRED": "The prompt timed out",
    "PROMPT_NOT_DELIVERED": "The prompt could not be shown",
    "WRONG_PIN": "Wrong PIN",
    "PIN_LOCKED": "PIN locked",
    "INSUFFICIENT_FUNDS": "Not enough money",
    "ACCOUNT_NOT_ACTIVE": "M-Pesa account not active",
    "SUBSCRIBER_BUSY": "Another request on the phone",
    "REPEATED_TOO_SOON": "Same amount twice in two minutes",
    "BELOW_MINIMUM": "Below M-Pesa's minimum",
    "ABOVE_MAXIMUM": "Above M-Pesa's maximum",
    "DAILY_LIMIT": "M-Pesa's daily limit",
    "SYSTEM_BUSY": "M-Pesa was busy",
    "RECEIVER_FULL": "The shop's account is full",
    "RECEIVER_UNKNOWN": "The shop's account is not set up",
    "PRODUCT_MISMATCH": "The shop's account is not set up for this",
    "NOT_PAID": "Not paid by M-Pesa's statement",
    "PAYMENT_REVERSED": "Paid, and taken back",
    "AMOUNT_MISMATCH": "Paid, but another amount",
    "OUT_OF_STOCK": "Paid, but sold out",
    "LISTING_WITHDRAWN": "Paid, but no longer on sale",
    "CART_ALREADY_BOUGHT": "Paid, but the cart was bought already",
    "ORDER_NOT_MADE": "Paid, but the shop made no order",
}
STEPS = {"created": "Created", "prompted": "Prompt sent", "paid": "Paid", "ordered": "Order made"}
HELD = {"without_order": "Paid, no order yet", "refund_due": "Refund due"}
OPEN = {"waiting": "Waiting for the buyer", "in_doubt": "In doubt"}


class PeriodQuery(RequestSchema):
    """Which period is shown."""

    period = fields.String(load_default="day", validate=validate.OneOf(list(PERIODS)))


class LiveQuery(PeriodQuery):
    """Which period is shown, and in which version."""

    seen = fields.String(load_default="", validate=validate.Length(max=64))


@pages.get("/")
@in_section(DASHBOARD)
def show_dashboard() -> AnyResponse | str:
    """Show the figures of a period, and the sections that the role allows."""
    period = PERIODS[read_query(PeriodQuery)["period"]]
    reading = current_readings().get(period)
    return render_template(
        "console/dashboard.html",
        period=period,
        periods=PERIODS.values(),
        reading=reading,
        window=reading.figures.window,
        sql=reading.figures.sql,
        may_see_cases=not caller().roles.isdisjoint(CASES.roles),
        **_shown(reading, period),
    )


@pages.get("/live/")
@in_section(DASHBOARD)
def stream_changes() -> AnyResponse:
    """Tell of changes of the figures as server-sent events, for some minutes at most."""
    query = read_query(LiveQuery)
    if request.method != "GET":
        return AnyResponse(mimetype=EVENT_STREAM)
    here = caller()
    seconds = here.seconds_left(current_settings().daftari_stream_seconds)
    stream = FiguresStream(
        current_notifier(),
        here.user_id,
        seconds,
        current_readings(),
        PERIODS[query["period"]],
        query["seen"],
    )
    return begin_stream(stream)


def _shown(reading: Reading, period: Period) -> dict[str, Any]:
    now, before = reading.figures.now, reading.figures.before
    [funnel], [funnel_before] = now["funnel"], before["funnel"]
    [to_pay], [to_pay_before] = now["time_to_pay"], before["time_to_pay"]
    open_now = {row["what"]: row for row in now["money"]}
    series = columns_of(now["over_time"], "since", reading.figures.window.starts, _name_of_step(period))
    hours = columns_of(now["by_hour"], "hour", range(24), "{:02d}:00".format)
    return {
        "funnel": lines_of(
            [(STEPS[name], "", funnel[name], funnel_before[name]) for name in STEPS], of=funnel["created"]
        ),
        "success": (
            _percent(funnel["success_percent"]),
            changed(funnel["success_percent"], funnel_before["success_percent"], unit="points"),
        ),
        "received": (
            shillings(funnel["paid_cents"]),
            changed(funnel["paid_cents"], funnel_before["paid_cents"], show=shillings),
        ),
        "p50": (_seconds(to_pay["p50_seconds"]), _slower(to_pay, to_pay_before, "p50_seconds")),
        "p95": (_seconds(to_pay["p95_seconds"]), _slower(to_pay, to_pay_before, "p95_seconds")),
        "held": [(name, open_now[what]["sessions"], open_now[what]["cents"]) for what, name in HELD.items()],
        "open": [(name, open_now[what]["sessions"], open_now[what]["cents"]) for what, name in OPEN.items()],
        "series": series,
        "hours": hours if period.span > DAY else [],
        "failures": _failures(now["failures"], before["failures"]),
        "how_long": _how_long(now["how_long"], before["how_long"]),
        "counties": _counties(now["counties"], before["counties"]),
        "cases": [
            (KIND_NAMES[kind], tally.cases, tally.money_cents) for kind, tally in reading.cases.items()
        ],
        "lag": now["lag"],
    }


def _name_of_step(period: Period) -> Any:
    form = "{:%-d %b}" if period.step >= DAY else "{:%H:%M}"

    def name(moment: datetime) -> str:
        return form.format(moment.astimezone(NAIROBI))

    return name


def _failures(now: Rows, before: Rows) -> list[Line]:
    """Return a line for each reason, those of the period before that are gone included."""
    counts = {row["failure_code"]: row["sessions"] for row in now}
    earlier = {row["failure_code"]: row["sessions"] for row in before}
    codes = [*counts, *(code for code in earlier if code not in counts)]
    return lines_of(
        [
            (FAILURE_NAMES.get(code, "Another reason"), code or "", counts.get(code, 0), earlier.get(code, 0))
            for code in codes
        ]
    )


def _how_long(now: Rows, before: Rows) -> list[Line]:
    counts, earlier = ({row["group_number"]: row["payments"] for row in rows} for rows in (now, before))
    bounds = SECONDS_TO_PAY
    names = [f"Under {bounds[0]} s"]
    names += [f"{low} to {high} s" for low, high in pairwise(bounds)]
    names += [f"{bounds[-1]} s or more"]
    return lines_of(
        [(name, "", counts.get(group, 0), earlier.get(group, 0)) for group, name in enumerate(names)]
    )


def _counties(now: Rows, before: Rows) -> list[Line]:
    earlier = {row["county"]: row["sessions"] for row in before}
    return lines_of(
        [
            (
                row["county"],
                f"{row['paid']:,} paid, {shillings(row['paid_cents'])}",
                row["sessions"],
                earlier.get(row["county"]),
            )
            for row in now
        ]
    )


def _percent(value: Any) -> str:
    return NOTHING if value is None else f"{value} %"


def _seconds(value: Any) -> str:
    return NOTHING if value is None else f"{value} s"


def _slower(now: dict[str, Any], before: dict[str, Any], name: str) -> Change:
    return changed(now[name], before[name], unit="s", more="slower", fewer="faster")
