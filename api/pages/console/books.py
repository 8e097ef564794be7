"""The books for auditors: the trial balance of any period, the close of a day, and the statement of an account."""

from flask import Response, render_template, request

from api.http.framework.services import current_services
from api.http.middleware.access_log import reads_personal_data
from api.http.resources.audit_books import EntryQuery, PeriodFields, period_of
from api.http.schemas.pagination import link_after
from api.pages.console.blueprint import in_section, pages, read_query
from api.pages.console.navigation import BOOKS
from ledger import clock
from ledger.errors import NotFound
from projections import books
from projections.book_formats import BALANCE_COLUMNS, balance_row, csv_lines
from projections.postings import CHART, Account


@pages.get("/books/")
@in_section(BOOKS)
def show_books() -> str:
    """Show the trial balance: every account over a period, as it was known at a time."""
    today = clock.now().astimezone(clock.NAIROBI).date()
    return render_template("console/books.html", balance=_balance(), chart=CHART, today=today)


@pages.get("/books/trial-balance.csv")
@in_section(BOOKS)
def download_books() -> Response:
    """Return the trial balance as CSV, for a spreadsheet."""
    rows = map(balance_row, _balance().accounts)
    response = Response("".join(csv_lines(BALANCE_COLUMNS, rows)), mimetype="text/csv")
    response.headers["Content-Disposition"] = 'attachment; filename="trial-balance.csv"'
    response.headers["Cache-Control"] = "no-store"
    return response


@pages.get("/books/<name>/")
@in_section(BOOKS)
@reads_personal_data("entries of the books")
def show_account(name: str) -> str:
    """Show the statement of an account: its entries of a period, in the order in which they were posted."""
    if name not in set(Account):
        raise NotFound("There is no such account.")
    account, query = Account(name), read_query(EntryQuery)
    entries = books.entries_of(
        current_services().database,
        account,
        period_of(query),
        after=query["after"],
        limit=query["page_size"],
    )
    is_last = len(entries) < query["page_size"]
    return render_template(
        "console/account.html",
        account=account,
        facts=CHART[account],
        entries=entries,
        following=None if is_last else link_after("after", str(entries[-1].entry_id)),
        is_first=not query["after"],
        chart=CHART,
    )


def _balance() -> books.TrialBalance:
    return books.trial_balance(current_services().database, period_of(read_query(PeriodFields)))


@pages.context_processor
def keep_period() -> dict[str, dict[str, str]]:
    """Give pages of the books the period that was asked for, for their links."""
    names = PeriodFields().fields
    return {"period": {name: text for name, text in request.args.items() if name in names and text.strip()}}
