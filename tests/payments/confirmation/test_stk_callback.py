"""What an STK callback proves about its attempt."""

import pytest

from daraja import StkCallback
from ledger.session.values import Evidence
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
AT = {"received_at": clock("10:32"), "at": clock("10:33")}


def _callback(code: str, **items: int | str) -> StkCallback:
    return StkCallback("merchant-1", "checkout 1", code, "As the code says.", **items)  # type: ignore[arg-type]


def test_a_success_proves_a_payment() -> None:
    command = outcome_command(_callback("0", receipt=RECEIPT, amount_cents=TOTAL), 1, **AT)
    assert command is not None
    given(*PROMPTED).when(command).then(paid(evidence=Evidence.CALLBACK))


def test_a_final_failure_proves_that_nothing_was_paid() -> None:
    command = outcome_command(_callback("1032"), 1, **AT)
    assert command is not None
    text = "The payment request was cancelled on the phone. You can try again."
    given(*PROMPTED).when(command).then(failed(code="CANCELLED_BY_USER", text=text))


@pytest.mark.parametrize("code", ["4999", "26", "9999", "77777"])
def test_a_result_that_is_not_final_in_a_callback_proves_nothing(code: str) -> None:
    assert outcome_command(_callback(code), 1, **AT) is None
