"""The books, for auditors: trial balance, daily close, entries, and how they tie to M-Pesa's statements."""

from dataclasses import asdict
from datetime import date
from typing import Any

from marshmallow import fields, validate

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.json import amount_text
from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.middleware.auth import require_role
from api.http.schemas.fields import AwareMoment, Choice, Day, Moment, RequestSchema, ResponseSchema, Text
from api.http.schemas.named_enums import ACCOUNT_GROUPS
from api.http.schemas.pagination import KeysetList, KeysetQuery, Ordinal, link_after
from api.issued_tokens import Role
from ledger import clock
from projections.booked_receipts import MAX_WALKED, Missing, ReceiptDifference, receipt_differences
from projections.books import JournalEntry, Period, TrialBalance, entries_of, period, trial_balance
from projections.postings import CHART, Account

blueprint = ApiBlueprint("audit_books", __name__, description="The books, in double entry.")


class DaysFields(RequestSchema):
    """Whole days of Nairobi."""

    since = Day(
        metadata={"description": "Money that moved from this day on, in Nairobi.", "example": "2024-01-15"}
    )
    until = Day(
        metadata={"description": "Money that moved until the end of this day.", "example": "2024-01-31"}
    )


class PeriodFields(DaysFields):
    """Whole days of Nairobi, and what was known of them at a time."""

    recorded_as_of = AwareMoment(
        metadata={"description": "By what was recorded until then; by default, now."}
    )


class CloseQuery(RequestSchema):
    """The day of a daily close."""

    day = Day(required=True, metadata={"description": "The day, in Nairobi.", "example": "2024-01-15"})
    recorded_as_of = AwareMoment(
        metadata={"description": "By what was recorded until then; by default, now."}
    )


class EntryQuery(KeysetQuery, PeriodFields):
    """Which entries of the journal."""

    account = Choice(
        [str(account) for account in Account], metadata={"description": "Only those of an account."}
    )
    after = Ordinal(
        load_default=0, metadata={"description": "What the links carry; leave it out at the start."}
    )


class ReceiptQuery(KeysetQuery, DaysFields):
    """Which receipts are compared."""

    after = Text(
        most=60, load_default="", metadata={"description": "What the links carry; leave it out at first."}
    )


class ShownAccount(ResponseSchema):
    """One account, in shillings. Its closing balance stands on one side, and is 0.00 on the other."""

    account = fields.String(validate=validate.OneOf([str(account) for account in Account]))
    title = fields.String()
    group = fields.String(validate=validate.OneOf(ACCOUNT_GROUPS))
    opening = fields.String(
        metadata={"description": "Debits less credits before the period.", "example": "-350.00"}
    )
    debits = fields.String(metadata={"example": "350.00"})
    credits = fields.String(metadata={"example": "350.00"})
    closing_debit = fields.String(metadata={"example": "350.00"})
    closing_credit = fields.String(metadata={"example": "0.00"})


class ShownTrialBalance(ResponseSchema):
    """Every account over a period. What is debited is credited: the two sums are equal."""

    recorded_as_of = Moment()
    entries = fields.Integer(metadata={"description": "How many entries it is made of."})
    accounts = fields.List(fields.Nested(ShownAccount))
    closing_debit = fields.String(metadata={"example": "350.00"})
    closing_credit = fields.String(metadata={"example": "350.00"})


class ShownJournalEntry(ResponseSchema):
    """An entry. Its source is an event's position, which may exceed JSON's numbers, or a movement's ordinal."""

    entry_id = fields.Integer()
    what = fields.String(metadata={"description": "The name of the event, or what M-Pesa's movement is."})
    debit_account = fields.String()
    credit_account = fields.String()
    amount = fields.String(metadata={"example": "350.00"})
    occurred_at = Moment()
    recorded_at = Moment()
    position = fields.String(allow_none=True)
    movement = fields.Integer(allow_none=True)
    receipt = fields.String(allow_none=True)
    session_id = fields.UUID(allow_none=True)


class EntryList(KeysetList):
    """A page of entries, in the order in which they were posted."""

    results = fields.List(fields.Nested(ShownJournalEntry))


class ShownDifference(ResponseSchema):
    """A receipt that the books and M-Pesa's statements do not agree about; money that went out is negative."""

    receipt = fields.String()
    kind = fields.String(validate=validate.OneOf([str(kind) for kind in Missing]))
    happened_at = Moment()
    session_id = fields.UUID(allow_none=True)
    booked = fields.String(allow_none=True, metadata={"example": "350.00"})
    reported = fields.String(allow_none=True, metadata={"example": "350.00"})


class DifferenceList(KeysetList):
    """A page of differences, in the order of receipts."""

    results = fields.List(fields.Nested(ShownDifference))


@blueprint.route("/api/audit/books/trial-balance/", methods=["GET"])
@require_role(Role.AUDITOR)
@blueprint.arguments(PeriodFields, location="query")
@blueprint.response(200, ShownTrialBalance)
def show_trial_balance(query: dict[str, Any]) -> dict[str, Any]:
    """Show the trial balance.

    Every account over a period, and its balance at the end. The sum over all accounts is zero at any time.
    """
    return _show(trial_balance(current_services().database, period_of(query)))


@blueprint.route("/api/audit/books/close/", methods=["GET"])
@require_role(Role.AUDITOR)
@blueprint.arguments(CloseQuery, location="query")
@blueprint.response(200, ShownTrialBalance)
def show_close(query: dict[str, Any]) -> dict[str, Any]:
    """Show the close of a day.

    What each account was before the day, what moved on it, and what it was at the end; with `recorded_as_of`, as it was
    known then.
    """
    day: date = query.pop("day")
    return _show(trial_balance(current_services().database, period_of(query | {"since": day, "until": day})))


@blueprint.route("/api/audit/books/entries/", methods=["GET"])
@require_role(Role.AUDITOR)
@reads_personal_data("entries of the books")
@blueprint.arguments(EntryQuery, location="query")
@blueprint.response(200, EntryList)
def list_entries(query: dict[str, Any]) -> dict[str, Any]:
    """List entries of the journal.

    In the order in which they were posted: all, or the statement of one account.
    """
    account = Account(query["account"]) if "account" in query else None
    found = entries_of(
        current_services().database,
        account,
        period_of(query),
        after=query["after"],
        limit=query["page_size"],
    )
    last = str(found[-1].entry_id) if len(found) == query["page_size"] else None
    return {"next": last and link_after("after", last), "results": [_show_entry(entry) for entry in found]}


@blueprint.route("/api/audit/books/receipts/", methods=["GET"])
@require_role(Role.AUDITOR)
@reads_personal_data("receipts in the books and in statements")
@blueprint.arguments(ReceiptQuery, location="query")
@blueprint.response(200, DifferenceList)
def list_differences(query: dict[str, Any]) -> dict[str, Any]:
    """List the receipts that do not tie.

    Those in the books and in no imported statement of M-Pesa, those in a statement and not in the books, and those of
    different sums. A page may be short, or empty, before the end: follow `next`.
    """
    services = current_services()
    found, last = receipt_differences(
        services.database,
        services.vault.keys,
        period_of(query),
        after=query["after"],
        limit=query["page_size"],
        walk=MAX_WALKED,
    )
    return {"next": last and link_after("after", last), "results": [_show_difference(each) for each in found]}


def period_of(query: dict[str, Any]) -> Period:
    """Return the period that a query asks for, by default all until now. Raises InvalidValue if it is empty."""
    return period(query.get("since"), query.get("until"), query.get("recorded_as_of") or clock.now())


def _show(found: TrialBalance) -> dict[str, Any]:
    return {
        "recorded_as_of": found.period.as_of,
        "entries": found.entries,
        "accounts": [
            {
                "account": str(each.account),
                "title": each.title,
                "group": CHART[each.account].group,
                "opening": amount_text(each.opening_cents),
                "debits": amount_text(each.debit_cents),
                "credits": amount_text(each.credit_cents),
                "closing_debit": amount_text(each.closing_debit_cents),
                "closing_credit": amount_text(each.closing_credit_cents),
            }
            for each in found.accounts
        ],
        "closing_debit": amount_text(found.debit_cents),
        "closing_credit": amount_text(found.credit_cents),
    }


def _show_entry(entry: JournalEntry) -> dict[str, Any]:
    position = None if entry.position is None else str(entry.position)
    return asdict(entry) | {"position": position, "amount": amount_text(entry.amount_cents)}


def _show_difference(found: ReceiptDifference) -> dict[str, Any]:
    booked, reported = (
        None if cents is None else amount_text(cents) for cents in (found.booked_cents, found.reported_cents)
    )
    return asdict(found) | {"kind": str(found.kind), "booked": booked, "reported": reported}
