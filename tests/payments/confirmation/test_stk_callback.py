"""What an STK callback proves about its attempt."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from daraja import StkCallback
from daraja.eat import CLOCK_SKEW
from ledger.session.values import Attempt, Evidence
from payments.confirmation.stk_callback import outcome_command
from tests.ledger.session.event_specs import (
    RECEIPT,
    TOTAL,
    clock,
    created,
    failed,
    initiated,
    paid,
    requested,
)
from tests.ledger.session.scenario import given

PROMPTED = [created(), requested(), initiated()]
ATTEMPT = Attempt(1, 456, "v1.phone", requested_at=clock("10:31"))
AT = {"received_at": clock("10:32"), "at": clock("10:33")}


def _callback(code: str, **items: int | str) -> StkCallback:
    return StkCallback("merchant-1", "checkout 1", code, "As the code says.", **items)  # type: ignore[arg-type]


def test_a_success_proves_a_payment() -> None:
    command = outcome_command(_callback("0", receipt=RECEIPT, amount_cents=TOTAL), ATTEMPT, **AT)
    assert command is not None
    given(*PROMPTED).when(command).then(paid(evidence=Evidence.CALLBACK))


def test_a_final_failure_proves_that_nothing_was_paid() -> None:
    command = outcome_command(_callback("1032"), ATTEMPT, **AT)
    assert command is not None
    text = "The payment request was cancelled on the phone. You can try again."
    given(*PROMPTED).when(command).then(failed(code="CANCELLED_BY_USER", text=text))


@pytest.mark.parametrize("code", ["4999", "26", "9999", "77777"])
def test_a_result_that_is_not_final_in_a_callback_proves_nothing(code: str) -> None:
    assert outcome_command(_callback(code), ATTEMPT, **AT) is None


@pytest.mark.parametrize(
    ("reported", "believed"),
    [
        (clock("10:31:30"), True),
        (clock("10:31") - CLOCK_SKEW, True),
        (clock("10:32") + CLOCK_SKEW, True),
        (clock("10:31") - CLOCK_SKEW - timedelta(seconds=1), False),
        (clock("10:32") + CLOCK_SKEW + timedelta(seconds=1), False),
        (clock("10:32") - timedelta(hours=3), False),
        (clock("10:32") + timedelta(hours=3), False),
        (datetime(1970, 1, 1, tzinfo=UTC), False),
        (datetime(2099, 1, 1, tzinfo=UTC), False),
        (datetime(1, 1, 2, tzinfo=UTC), False),
    ],
)
def test_a_date_outside_the_time_of_the_attempt_is_not_believed(reported: datetime, believed: bool) -> None:
    callback = replace(_callback("0", receipt=RECEIPT, amount_cents=TOTAL), transaction_date=reported)
    command = outcome_command(callback, ATTEMPT, **AT)
    assert command is not None
    session = given(*PROMPTED).when(command).session
    assert session.paid is not None
    assert session.paid.paid_at == (reported if believed else AT["received_at"])
