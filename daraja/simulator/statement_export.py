"""The organisation statement, as the M-Pesa portal exports it: CSV, a preamble, the newest row first, times in EAT."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime

from daraja.simulator.books import Kind, Movement
from daraja.simulator.c2b import first_name
from daraja.simulator.kenya_time import dashed_stamp
from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.settings import SimulatorSettings

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


def export_statement(
    settings: SimulatorSettings, mobile_money: MobileMoney, start: datetime | None, end: datetime | None
) -> str:
    """Return the movements from `start` on and before `end`, aware moments or None for no bound, as CSV text."""
    with mobile_money.changed:
        movements = mobile_money.books.where(
            lambda movement: (start is None or movement.at >= start) and (end is None or movement.at < end)
        )
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["Organization Name", settings.business_name])
    writer.writerow(["Short Code", settings.shortcode])
    writer.writerow(["Time Period", f"From {_bound(start)} to {_bound(end)}"])
    writer.writerow([])
    writer.writerow(HEADER)
    writer.writerows(_row(movement) for movement in reversed(movements))
    return text.getvalue()


def _row(movement: Movement) -> Iterator[str]:
    at = dashed_stamp(movement.at)
    is_in = movement.change_cents > 0
    yield movement.receipt
    yield at
    yield at
    yield _details(movement)
    yield "Completed"
    yield _shillings(movement.change_cents) if is_in else ""
    yield "" if is_in else _shillings(movement.change_cents)
    yield _shillings(movement.balance_cents)
    yield "true"
    yield _reason(movement)
    yield (
        f"{movement.phone[:4]}****{movement.phone[-3:]} - {first_name(movement.phone)}"
        if movement.phone
        else ""
    )
    yield movement.linked_receipt or ""
    yield "" if movement.is_till or movement.kind != Kind.PAYMENT else movement.reference


def _reason(movement: Movement) -> str:
    if movement.kind == Kind.REVERSAL:
        return "Transaction Reversal"
    if movement.kind == Kind.SETTLEMENT:
        return "Organization Settlement"
    reason = "Customer Buy Goods Online" if movement.is_till else "Pay Bill Online"
    return f"{reason} Charge" if movement.kind == Kind.CHARGE else reason


def _details(movement: Movement) -> str:
    if movement.kind == Kind.REVERSAL:
        return f"Reversal of {movement.linked_receipt}"
    if movement.kind == Kind.SETTLEMENT:
        return "Organization settlement to bank"
    if movement.kind == Kind.CHARGE:
        return f"Charge for {movement.linked_receipt}"
    return f"Payment received. Acc. {movement.reference}"


def _shillings(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02}"


def _bound(moment: datetime | None) -> str:
    return "-" if moment is None else dashed_stamp(moment)
