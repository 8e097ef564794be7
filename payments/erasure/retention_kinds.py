"""The kinds of data that are kept for a time only: how long by default and at least, and why.

A test compares it with the constants of other rooms.
"""

import math
import re
from dataclasses import dataclass
from datetime import timedelta

CUSTOMERS = "customers"
LAW = timedelta(days=1_827)
"""Five years: Kenya's Tax Procedures Act 2015, section 23 (1) (c), counted from the end of the reporting period."""

LAW_AND_A_YEAR = timedelta(days=2_192)
"""Five years from the end of the year of income that a payment falls into."""

_TAX = "Tax Procedures Act 2015, s. 23 (1) (c): five years from the end of the reporting period"
_ABUSE = "limits against abuse"
_NONE = timedelta(0)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class RetentionKind:
    """A kind: how long it is kept (None for ever) and at least, `newest` rows at most, and on what basis.

    PostgreSQL holds the same minimum. `is_short` kinds are looked at each minute, the others each hour.
    """

    name: str
    what: str
    basis: str
    period: timedelta | None
    minimum: timedelta
    newest: int | None = None
    is_short: bool = False
    is_settable: bool = True

    @property
    def kept(self) -> str:
        """Say how long it is kept and why, after "kept": "for 24 hours (operation)"."""
        if self.period is None:
            return f"for ever ({self.basis})"
        return f"{_length(self.period)} ({self.basis})"


def _length(period: timedelta) -> str:
    if not period:
        return "until it is over"
    if period % _DAY:
        return f"for {period // timedelta(minutes=1)} minutes"
    days = period // _DAY
    return f"for {days:,} {'day' if days == 1 else 'days'}"


def _short(name: str, what: str, basis: str, period: timedelta, *, is_settable: bool = True) -> RetentionKind:
    return RetentionKind(name, what, basis, period, period, is_short=True, is_settable=is_settable)


_MAX_DAYS = 36_500
_PERIOD = re.compile(r"\s*([a-z_]+)\s*=\s*([0-9]{1,5}|never)\s*")

KINDS: tuple[RetentionKind, ...] = (
    _short("phone_locks", "phone locks that are over", _ABUSE, _NONE, is_settable=False),
    _short("request_leases", "counts of requests a minute", _ABUSE, timedelta(minutes=5), is_settable=False),
    _short("kept_answers", "answers kept for repeated requests", "the contract with clients", _DAY),
    _short("query_log", "when M-Pesa was asked about prompts", "operation", timedelta(days=2)),
    _short("refund_query_log", "when M-Pesa was asked about refunds", "operation", timedelta(days=30)),
    _short("order_failures", "failures to make orders", "operation", timedelta(days=30)),
    _short(
        "statement_uploads",
        "statements that operators upload, until they are imported",
        "operation",
        timedelta(hours=1),
        is_settable=False,
    ),
    _short("prompt_counts", "prompts that were not paid, by user and number", _ABUSE, _DAY),
    _short(
        "counts_after_erasure", "counts of prompts of erased customers", "erasure", _NONE, is_settable=False
    ),
    _short("revocations", "revocations of tokens that have ended", "security", _NONE, is_settable=False),
    RetentionKind(
        "paid_numbers",
        "which numbers a user has paid from, by digest",
        _ABUSE,
        timedelta(days=730),
        timedelta(days=30),
    ),
    RetentionKind(
        "unauthenticated_messages",
        "messages that anyone could have posted",
        "looking into forgeries",
        timedelta(days=90),
        timedelta(days=30),
        newest=10_000,
    ),
    RetentionKind(
        "webhook_deliveries",
        "when shops' servers were told of events",
        "operation, and claims about it",
        timedelta(days=30),
        timedelta(days=7),
    ),
    RetentionKind("authenticated_messages", "texts of M-Pesa's messages", _TAX, LAW_AND_A_YEAR, LAW),
    RetentionKind("payers", "payers' digests and what they typed, of movements", _TAX, LAW_AND_A_YEAR, LAW),
    RetentionKind(
        "delivery_addresses",
        "addresses of orders",
        "delivery, and claims about it",
        timedelta(days=730),
        timedelta(days=90),
    ),
    RetentionKind(
        "access_log",
        "who read personal data",
        "proof of who read what, as long as the books",
        LAW_AND_A_YEAR,
        LAW,
    ),
    RetentionKind(
        "verification_runs",
        "what verification runs found",
        "evidence of the books",
        LAW_AND_A_YEAR,
        LAW,
        newest=1_000,
    ),
    RetentionKind(
        CUSTOMERS,
        "customers without a session for so long; they are erased",
        "Data Protection Act 2019, s. 39, once tax law allows",
        None,
        LAW,
    ),
)


def parse_periods(given: str) -> dict[str, timedelta | None]:
    """Parse `kind=days, kind=never, ...` into the period of each kind, None for ever. Raises ValueError."""
    known = {kind.name: kind for kind in KINDS if kind.is_settable}
    periods: dict[str, timedelta | None] = {}
    for part in given.split(",") if given else ():
        found = _PERIOD.fullmatch(part)
        if found is None or found[1] not in known:
            raise ValueError(
                f"must be kind=days or kind=never, with commas between; kinds are {', '.join(known)}."
            )
        period = None if found[2] == "never" else timedelta(days=int(found[2]))
        minimum = known[found[1]].minimum
        if period is not None and not minimum <= period <= timedelta(days=_MAX_DAYS):
            fewest = math.ceil(minimum / _DAY)
            raise ValueError(f"must keep {found[1]} for {fewest} to {_MAX_DAYS} days, or for ever: never.")
        periods[found[1]] = period
    return periods
