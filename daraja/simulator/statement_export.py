"""The organisation statement, as the M-Pesa portal exports it: CSV, a preamble, the newest row first, times in EAT."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime

from daraja.simulator.books import Booking, BookingKind
from daraja.simulator.kenya_time import dashed_stamp
from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.simulator_settings import SimulatorSettings

HEADER = (
    "Receipt No.",
    "Completion Time",
    "Initiation Time",
    "Details",
    "Transaction Status",
    "Paid In",
    "Withdrawn",
    "Balance",
    "Balance Confirmed",
    "Reason Type",
    "Other Party Info",
    "Linked Transaction ID",
    "A/C No.",
)

_REASONS = {
    BookingKind.REVERSAL: "Transaction Reversal",
    BookingKind.SETTLEMENT: "Organization Settlement",
    BookingKind.PAYOUT: "Business Payment to Customer",
}


def export_statement(
    settings: SimulatorSettings, mobile_money: MobileMoney, start: datetime | None, end: datetime | None
) -> str:
    """Return the bookings from `start` on and before `end`, aware moments or None for no bound, as CSV text."""
    with mobile_money.changed:
        bookings = mobile_money.books.where(
            lambda booking: (start is None or booking.at >= start) and (end is None or booking.at < end)
        )
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["Organization Name", settings.business_name])
    writer.writerow(["Short Code", settings.shortcode])
    writer.writerow(["Time Period", f"From {_bound(start)} to {_bound(end)}"])
    writer.writerow([])
    writer.writerow(HEADER)
    negative = settings.statement_has_negative_paid_in
    writer.writerows(_row(booking, negative) for booking in reversed(bookings))
    return text.getvalue()


def _row(booking: Booking, negative_paid_in: bool) -> Iterator[str]:
    at = dashed_stamp(booking.at)
    is_in = booking.change_cents > 0 or (negative_paid_in and booking.kind == BookingKind.REVERSAL)
    yield booking.receipt
    yield at
    yield at
    yield _details(booking)
    yield "Completed"
    yield _shillings(booking.change_cents) if is_in else ""
    yield "" if is_in else _shillings(booking.change_cents)
    yield _shillings(booking.balance_cents)
    yield "true"
    yield _reason(booking)
    yield _party(booking)
    yield booking.linked_receipt or ""
    yield "" if booking.is_till or booking.kind != BookingKind.PAYMENT else booking.reference


def _reason(booking: Booking) -> str:
    if booking.kind in _REASONS:
        return _REASONS[booking.kind]
    reason = "Customer Buy Goods Online" if booking.is_till else "Pay Bill Online"
    return f"{reason} Charge" if booking.kind == BookingKind.CHARGE else reason


def _details(booking: Booking) -> str:
    if booking.kind == BookingKind.REVERSAL:
        return f"Reversal of {booking.linked_receipt}"
    if booking.kind == BookingKind.SETTLEMENT:
        return "Organization settlement to bank"
    if booking.kind == BookingKind.PAYOUT:
        return f"Business Payment to {_party(booking)}"
    if booking.kind == BookingKind.CHARGE:
        return f"Charge for {booking.linked_receipt}"
    return f"Payment received. Acc. {booking.reference}"


def _party(booking: Booking) -> str:
    return f"{booking.phone[:4]}****{booking.phone[-3:]} - {booking.first_name}" if booking.phone else ""


def _shillings(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02}"


def _bound(moment: datetime | None) -> str:
    return "-" if moment is None else dashed_stamp(moment)
