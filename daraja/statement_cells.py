"""The cells of a statement: columns by their meaning, amounts and times by the form that the whole file keeps to.

What importers met between 2017 and 2026, and what spreadsheets make of a file, is read where it has one meaning. A
file whose amounts or dates could be read in two ways is refused.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from daraja.eat import EAT, MPESA_BEGAN
from daraja.statement_text import not_a_statement, unreadable
from daraja.untrusted import written_cents

# Of several names for one column in a file the first counts. Names are compared by their letters, without brackets.
_NAMES: dict[str, tuple[str, ...]] = {
    "receipt": (
        "receiptno", "receiptnumber", "receipt", "mpesareceiptno", "mpesareceiptnumber", "mpesareceipt",
        "transactionid", "transactioncode", "transactionno", "mpesacode",
    ),
    "time": (
        "completiontime", "completiondate", "completiondatetime", "completedtime", "transactiontime",
        "transactiondate", "datetime", "date",
    ),
    "status": ("transactionstatus", "status"),
    "paid_in": ("paidin", "moneyin", "credit", "amountreceived", "deposit"),
    "withdrawn": ("withdrawn", "withdrawal", "withdrawals", "paidout", "moneyout", "debit"),
    "balance": ("balance", "runningbalance", "accountbalance"),
    "details": ("details", "transactiondetails", "description", "narration", "particulars"),
    "reason": ("reasontype", "transactiontype", "type"),
    "linked": ("linkedtransactionid", "linkedreceiptno", "linkedreceipt", "linkedtransaction"),
    "account": (
        "acno", "accountno", "accountnumber", "accno", "account", "billreference", "billreferencenumber",
        "billrefnumber", "billref", "accountreference", "referencenumber", "referenceno", "reference",
    ),
}  # fmt: skip
REQUIRED = ("receipt", "time", "paid_in", "withdrawn", "balance")
_LOOKS_LIKE_A_REFERENCE = re.compile(r"^ac|account|bill|ref(?!und)")
_NO_REFERENCE = frozenset({"accountname", "accounttype", "accountholder"})
_KNOWN = frozenset(name for names in _NAMES.values() for name in names)

_RECEIPT = re.compile(r"[A-Z0-9]{6,40}")
_CURRENCY = re.compile(r"^(?:kes|kshs?)\.?|(?:kes|kshs?)$", re.IGNORECASE)
_COMMA = re.compile(r"-?(?:[0-9]{1,13}|[0-9]{1,3}(?:\.[0-9]{3}){1,4})(?:,[0-9]{1,2}0*)?")
_PLAIN = re.compile(r"-?(?:[0-9]{1,12}|[0-9]{1,3}(?:,[0-9]{3}){1,3})\.[0-9]{2}")
"""How nearly every amount is written, which the other patterns need not look at."""

_SHOWS_POINT = re.compile(r"\.[0-9]{1,2}$|,[0-9]{3}\.|^-?[0-9]{1,3}(?:,[0-9]{3}){2,}$")
_SHOWS_COMMA = re.compile(r",[0-9]{1,2}$|\.[0-9]{3},|^-?[0-9]{1,3}(?:\.[0-9]{3}){2,}$")

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_YEAR_FIRST = re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})")
_DAY_FIRST = re.compile(r"([0-9]{1,2})([-.])([0-9]{1,2})\2([0-9]{4})")
_SLASHED = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}|[0-9]{2})")
_NAMED = re.compile(r"([0-9]{1,2})[-/ ]([A-Za-z]{3})[a-z]*[-/ ,]+([0-9]{4}|[0-9]{2})")
_CLOCK = re.compile(
    r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]{1,9})?)? ?([AaPp]\.?[Mm]\.?)?"
    r"(?: ?(?:(Z|UTC)|([+-])([0-9]{2}):?([0-9]{2})|EAT))?"
)
_SERIAL = re.compile(r"[2-9][0-9]{4}\.[0-9]{1,12}")
_EXCEL_DAY_ZERO = datetime(1899, 12, 30, tzinfo=EAT)
_FAR_FUTURE = datetime(3000, 1, 1, tzinfo=EAT)
_EAT_OFFSET = timedelta(hours=3)


def columns_of(cells: Sequence[str]) -> dict[str, int] | None:
    """Return the columns by meaning if the cells are a header, else None; raise StatementError for a doubtful one."""
    names = [re.sub(r"\(.*?\)|[^a-z]", "", cell.lower()) for cell in cells]
    found: dict[str, int] = {}
    for meaning, known in _NAMES.items():
        name = next((name for name in known if name in names), None)
        if name is not None:
            found[meaning] = names.index(name)
            if names.count(name) > 1:
                raise not_a_statement(
                    "The header names a column twice. Export the statement again, unedited."
                )
    if not all(meaning in found for meaning in REQUIRED):
        return None
    if "account" not in found:
        _refuse_unknown_reference(cells, names)
    return found


def _refuse_unknown_reference(cells: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a column that may be the account number: to go on without it would lose references in silence."""
    for cell, name in zip(cells, names, strict=True):
        if _LOOKS_LIKE_A_REFERENCE.search(name) and name not in _NO_REFERENCE | _KNOWN:
            raise not_a_statement(
                f"The column {cell.strip()[:40]!r} may be the account number that buyers typed. Call it `A/C No.` "
                "if it is, or remove it if it is not; nothing was imported."
            )


def receipt_in(text: str) -> str | None:
    """Return a receipt, also as spreadsheets write it to keep it text: ="UKF7Q2X9LM" or 'UKF7Q2X9LM."""
    bare = text.lstrip("='").strip('" ').upper()
    return bare if _RECEIPT.fullmatch(bare) else None


@dataclass(frozen=True, slots=True)
class Forms:
    """How a file writes amounts and slashed dates."""

    decimal_comma: bool
    month_first: bool | None

    def cents(self, text: str, number: int) -> int:
        """Return an amount as cents, with its sign; an empty cell and a dash are zero. Raises StatementError."""
        if _PLAIN.fullmatch(text) and not self.decimal_comma:
            return int(text.replace(",", "").replace(".", ""))
        bare = _bare_amount(text)
        if bare in ("", "-"):
            return 0
        if self.decimal_comma:
            readable = _COMMA.fullmatch(bare)
            bare = bare.replace(".", "").replace(",", ".") if readable else ""
        cents = written_cents(bare)
        if cents is None:
            example = "1.350,00, as others in this file" if self.decimal_comma else "1,350.00"
            raise unreadable(number, f"an amount in it is not a plain number such as {example}")
        return cents

    def moment(self, text: str, number: int) -> datetime:
        """Return a time as aware UTC: in the zone that it names, else in EAT. Raises StatementError."""
        try:
            if _SERIAL.fullmatch(text):
                return _of_mpesa(_of_serial(text))
            date, clock = _date_and_clock(text)
            moment = datetime(*self._date(date), *_time(clock), tzinfo=EAT)
            return _of_mpesa(moment.astimezone(UTC) + _ahead_of_eat(clock))
        except (ValueError, OverflowError) as error:
            why = (
                str(error)
                if isinstance(error, _Doubt)
                else "its completion time is no date with a time of day"
            )
            raise unreadable(number, why) from None

    def _date(self, text: str) -> tuple[int, int, int]:
        if match := _YEAR_FIRST.fullmatch(text):
            return int(match[1]), int(match[2]), int(match[3])
        if match := _DAY_FIRST.fullmatch(text):
            return int(match[4]), int(match[3]), int(match[1])
        if match := _NAMED.fullmatch(text):
            return _year(match[3]), _MONTHS.get(match[2].lower(), 0), int(match[1])
        match = _SLASHED.fullmatch(text)
        if match is None:
            raise ValueError(text)
        first, second = int(match[1]), int(match[2])
        if self.month_first is None and first != second:
            raise _Doubt(
                "its date may be day/month or month/day, and no date in this file tells which. Write dates as "
                "YYYY-MM-DD"
            )
        day, month = (second, first) if self.month_first else (first, second)
        return _year(match[3]), month, day


class _Doubt(ValueError):
    """A date that can be read in two ways."""


def forms_of(amounts: Iterable[tuple[int, str]], times: Iterable[tuple[int, str]]) -> Forms:
    """Decide once for a file how it writes amounts and dates, from all its cells with the numbers of their rows.

    Raises StatementError, with the row, where two cells contradict each other.
    """
    comma = _one_way(
        amounts,
        _shows_comma,
        "its amount has a decimal comma and others in the file have a point, or the other way round",
    )
    month_first = _one_way(
        times,
        _month_first,
        "its date has the month first and others in the file have the day first, or the other way round",
    )
    return Forms(bool(comma), month_first)


def _one_way(
    cells: Iterable[tuple[int, str]], decide: Callable[[str], bool | None], contradiction: str
) -> bool | None:
    decided: bool | None = None
    for number, text in cells:
        says = decide(text)
        if says is not None and decided not in (None, says):
            raise unreadable(number, contradiction)
        decided = decided if says is None else says
    return decided


def _shows_comma(text: str) -> bool | None:
    """Return whether an amount has a decimal comma, None if it does not show."""
    if not text:
        return None
    if _PLAIN.fullmatch(text):
        return False
    bare = _bare_amount(text)
    point, comma = bool(_SHOWS_POINT.search(bare)), bool(_SHOWS_COMMA.search(bare))
    return None if point == comma else comma


def _month_first(text: str) -> bool | None:
    match = _SLASHED.match(text)
    if match is None:
        return None
    first, second = int(match[1]), int(match[2])
    return None if (first > 12) == (second > 12) else second > 12


def _bare_amount(text: str) -> str:
    bare = _CURRENCY.sub("", text.replace(" ", "")).lstrip("'")
    if bare.startswith("(") and bare.endswith(")"):
        bare = f"-{bare[1:-1]}"
    return bare.replace("\u2212", "-").removeprefix("+")


def _date_and_clock(text: str) -> tuple[str, "re.Match[str]"]:
    """Split a time into the text of its date and the match of its time of day."""
    for match in re.finditer(r"[ T,]+(?=[0-9]{1,2}:)", text):
        clock = _CLOCK.fullmatch(text[match.end() :].strip())
        if clock:
            return text[: match.start()].strip(), clock
    raise ValueError(text)


def _time(clock: "re.Match[str]") -> tuple[int, int, int]:
    hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
    if clock[4]:
        if not 1 <= hour <= 12:
            raise ValueError(clock[0])
        hour = hour % 12 + (12 if clock[4].lower().startswith("p") else 0)
    return hour, minute, second


def _ahead_of_eat(clock: "re.Match[str]") -> timedelta:
    """Return by how much the clock's zone, if it names one, is behind EAT."""
    if clock[5]:
        return _EAT_OFFSET
    if clock[6]:
        offset = timedelta(hours=int(clock[7]), minutes=int(clock[8]))
        return _EAT_OFFSET - (offset if clock[6] == "+" else -offset)
    return timedelta()


def _year(text: str) -> int:
    return int(text) if len(text) == 4 else 2000 + int(text)


def _of_mpesa(moment: datetime) -> datetime:
    if not MPESA_BEGAN <= moment < _FAR_FUTURE:
        raise ValueError(moment)
    return moment


def _of_serial(text: str) -> datetime:
    """Return the moment that a spreadsheet counts in days since 30 December 1899."""
    seconds = round(Decimal(text) * 86_400)
    return (_EXCEL_DAY_ZERO + timedelta(seconds=int(seconds))).astimezone(UTC)
