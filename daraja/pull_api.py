"""Pull: asking M-Pesa for the payments of the last 48 hours, to find those that were never reported."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from daraja import eat, untrusted
from daraja.daraja_errors import Refused, Uncertain
from daraja.replies import DarajaAnswer, submission_error
from daraja.untrusted import Unreadable

PULL_REGISTER_PATH = "/pulltransactions/v1/register"
PULL_PATH = "/pulltransactions/v1/query"

MAX_PULL_BYTES = 4 * 1024 * 1024
"""A page of payments is longer than an answer about one; how long is not documented."""

PULL_DOUBT = "it says nothing of the payments. Ask again."

_NEW = "1000"
_NONE = "1001"
_PHONE = re.compile(r"254[17][0-9]{8}")
_MAX_NESTING = 3
_MAX_ROWS = 20_000
_MAX_ROW = 2_000

PullRegistrationState = Literal["registered", "already_registered"]


@dataclass(frozen=True, slots=True)
class PulledTransaction:
    """One payment as Pull lists it. Match it by `receipt`, never by its time alone.

    `happened_at_text` is the time as it came; `happened_at` is a guess in aware UTC, taking a trailing Z at its word
    which is not confirmed (it may be three hours off). `amount_cents` is exact, None when unreadable. The
    rest is untrusted text and personal data, kept out of the repr.
    """

    receipt: str
    amount_cents: int | None
    happened_at_text: str
    happened_at: datetime | None
    kind: str
    bill_reference: str = field(repr=False)
    payer: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class PulledPage:
    """One page. `rows` counts what M-Pesa sent; `unreadable` holds the rows without a receipt, as JSON text."""

    transactions: tuple[PulledTransaction, ...]
    rows: int
    unreadable: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class PulledWindow:
    """All pages of a window, each payment once. `complete` is False if there were more pages than were read."""

    transactions: tuple[PulledTransaction, ...]
    unreadable: tuple[str, ...] = field(repr=False)
    pages: int
    complete: bool


def pull_registration_request(shortcode: str, nominated_number: str, callback_url: str) -> dict[str, Any]:
    """Return the body that asks for Pull to be switched on; raise Refused when M-Pesa could not take it."""
    if not _PHONE.fullmatch(nominated_number):
        raise Refused(
            "DARAJA_INVALID_REQUEST",
            "The nominated number must be 254, then 7 or 1, then eight digits: a Safaricom number of the shop.",
        )
    return {
        "ShortCode": shortcode,
        "RequestType": "Pull",
        "NominatedNumber": nominated_number,
        "CallBackURL": callback_url,
    }


def read_pull_registration(answer: DarajaAnswer) -> PullRegistrationState:
    """Read the answer to a registration: 1000 is new, 1001 had been made before; raise a SubmissionError if neither."""
    for spelling in ("ResponseStatus", "Response Status", "ResponseCode"):
        status = untrusted.code(answer.members.get(spelling))
        if answer.error_code is None and status in (_NEW, _NONE):
            return "registered" if status == _NEW else "already_registered"
    raise submission_error(answer, "it may or may not have registered the shortcode. Register it again.")


def pull_request(shortcode: str, start: datetime, end: datetime, offset: int) -> dict[str, Any]:
    """Return the body of a query; `start` and `end` are aware, `offset` is the number of rows to skip."""
    if not (start < end and offset >= 0):
        raise Refused("DARAJA_INVALID_REQUEST", "A window must begin before it ends, at a row of 0 or more.")
    return {
        "ShortCode": shortcode,
        "StartDate": eat.with_dashes(start),
        "EndDate": eat.with_dashes(end),
        "OffSetValue": str(offset),
    }


def read_page(answer: DarajaAnswer) -> PulledPage:
    """Read a page; raise Refused, Retryable or Uncertain when the answer is none.

    An empty page comes as code 1001, as `[[]]`, as that in quotes, or as a server fault that says so.
    """
    response_code = untrusted.code(answer.members.get("ResponseCode"))
    listed = answer.error_code is None and answer.status == 200 and response_code in (_NEW, _NONE, None)
    rows = _rows(answer.members) if listed else None
    if rows:
        return _page(rows)
    if rows is not None or _says_none(answer, response_code):
        return PulledPage((), 0)
    if listed:
        raise Uncertain("DARAJA_UNCERTAIN", f"M-Pesa's answer holds no list, and {PULL_DOUBT}")
    raise submission_error(answer, PULL_DOUBT)


def pull_pages(ask: Callable[[int], PulledPage], max_pages: int) -> PulledWindow:
    """Ask for page after page by row offset until one is empty or holds nothing new, or `max_pages` were read."""
    seen: dict[tuple[str, int | None], PulledTransaction] = {}
    unreadable: dict[str, None] = {}
    offset = 0
    for page_number in range(1, max_pages + 1):
        page = ask(offset)
        known = len(seen) + len(unreadable)
        for transaction in page.transactions:
            seen.setdefault((transaction.receipt, transaction.amount_cents), transaction)
        unreadable.update(dict.fromkeys(page.unreadable))
        if len(seen) + len(unreadable) == known:
            return PulledWindow(tuple(seen.values()), tuple(unreadable), page_number, complete=True)
        offset += page.rows
    return PulledWindow(tuple(seen.values()), tuple(unreadable), max_pages, complete=False)


def _says_none(answer: DarajaAnswer, response_code: str | None) -> bool:
    if answer.is_token_refusal or answer.is_rate_limit:
        return False
    words = f"{answer.error_message} {untrusted.text(answer.members.get('ResponseMessage'))}".lower()
    return _NONE in (response_code, answer.error_code) or "no transaction" in words


def _rows(members: dict[str, Any]) -> list[object] | None:
    """Return the rows of an answer, out of the lists that they are wrapped in; None when there is no list."""
    for name in ("Response", "Transaction", "Transactions"):
        rows = members.get(name)
        if isinstance(rows, str):
            try:
                rows = untrusted.read_json(rows.encode("utf-8", "replace"), MAX_PULL_BYTES)
            except Unreadable:
                continue
        if isinstance(rows, list):
            return _flat(rows, _MAX_NESTING)[:_MAX_ROWS]
    return None


def _flat(rows: list[object], depth: int) -> list[object]:
    flat: list[object] = []
    for item in rows:
        if isinstance(item, list) and depth > 1:
            flat.extend(_flat(item, depth - 1))
        else:
            flat.append(item)
    return flat


def _page(rows: list[object]) -> PulledPage:
    read = [(row, _transaction(row)) for row in rows]
    return PulledPage(
        transactions=tuple(transaction for _, transaction in read if transaction is not None),
        rows=len(rows),
        unreadable=tuple(
            json.dumps(row, default=str)[:_MAX_ROW] for row, transaction in read if transaction is None
        ),
    )


def _transaction(row: object) -> PulledTransaction | None:
    if not isinstance(row, dict):
        return None
    members = {name.lower(): value for name, value in row.items()}
    receipt = untrusted.genuine_receipt(members.get("transactionid"))
    if receipt is None:
        return None
    written = untrusted.text(members.get("trxdate"))
    return PulledTransaction(
        receipt=receipt,
        amount_cents=untrusted.amount_in_cents(members.get("amount")),
        happened_at_text=written,
        happened_at=eat.guess_moment(written),
        kind=untrusted.text(members.get("transactiontype")),
        bill_reference=untrusted.reference(members.get("billreference")),
        payer=untrusted.payer(members.get("msisdn")) or untrusted.payer(members.get("sender")),
    )
