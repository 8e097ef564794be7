"""The text of an exported statement: what kind of file it is, its encoding, and its rows of cells."""

import csv
import io
import re
from collections.abc import Iterator

from daraja.daraja_errors import DarajaError

MAX_BYTES = 64 << 20
MAX_ROWS = 1_000_000

_OTHER_FILES = {
    b"PK\x03\x04": "This is an Excel workbook",
    b"\xd0\xcf\x11\xe0": "This is an Excel workbook",
    b"%PDF": "This is a PDF",
}
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_EXPORT_AS_CSV = "Export the statement from the M-Pesa organisation portal as CSV"


class StatementError(DarajaError):
    """A file that is no statement or an incomplete one. `reason` is a stable slug, `row` if one is at fault.

    Reasons: `too_large`, `not_a_statement`, `unreadable_row`, `broken_balance`. Rows are counted as a spreadsheet
    counts them, from 1. The message repeats nothing of the file but column names, amounts and row numbers.
    """

    def __init__(self, reason: str, message: str, row: int | None = None) -> None:
        super().__init__("STATEMENT_REFUSED", message)
        self.args = (reason, message, row)
        self.reason = reason
        self.row = row


def not_a_statement(message: str | None = None) -> StatementError:
    """Return the refusal of a file that is none; `message` says why where more is known."""
    return StatementError(
        "not_a_statement",
        message
        or "This is not an organisation statement: no row names the columns Receipt No., Completion Time, Paid In, "
        f"Withdrawn and Balance. {_EXPORT_AS_CSV}.",
    )


def unreadable(number: int, why: str) -> StatementError:
    """Return the refusal of a file because of one row."""
    return StatementError(
        "unreadable_row", f"Row {number} cannot be read: {why}. Export the statement again, unedited.", number
    )


def decode(content: bytes) -> str:
    """Return the text of a file: by its byte order mark, else as UTF-8, else as Windows-1252.

    Raises StatementError for another kind of file, and says how to export one that can be read.
    """
    if len(content) > MAX_BYTES:
        raise StatementError(
            "too_large", f"This file is larger than {MAX_BYTES >> 20} MiB. Export a shorter period."
        )
    for magic, kind in _OTHER_FILES.items():
        if content.startswith(magic):
            raise not_a_statement(
                f"{kind}, which cannot be checked row by row. {_EXPORT_AS_CSV}, or save the sheet as `CSV UTF-8`."
            )
    try:
        for mark, encoding in _BYTE_ORDER_MARKS.items():
            if content.startswith(mark):
                return content.decode(encoding)
        if b"\0" in content:
            raise not_a_statement()
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def rows_of(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Return the rows with their numbers; raise StatementError where quotes do not match or there are too many."""
    number = 0
    try:
        for number, cells in enumerate(
            csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), 1
        ):
            if number > MAX_ROWS:
                raise StatementError(
                    "too_large", f"This file has more than {MAX_ROWS} rows. Export a shorter period."
                )
            yield number, cells
    except csv.Error:
        raise unreadable(number + 1, "its quotes do not match, as where a file was cut off") from None


def lines_of(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Return each line as a row of its own, for a file whose names hold quotes that are not doubled."""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        try:
            yield number, next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            raise unreadable(number, "its quotes do not match") from None
