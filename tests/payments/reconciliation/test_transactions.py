"""The time of a payment as a channel reports it."""

from datetime import UTC, datetime, timedelta

import pytest

from daraja import C2bNotice
from daraja.eat import CLOCK_SKEW
from payments.reconciliation.transactions import of_notice

ARRIVED = datetime(2026, 11, 16, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("reported", "believed"),
    [
        (ARRIVED - timedelta(days=40), True),
        (ARRIVED + CLOCK_SKEW, True),
        (ARRIVED + CLOCK_SKEW + timedelta(seconds=1), False),
        (datetime(2099, 1, 1, tzinfo=UTC), False),
        (datetime(1970, 1, 1, tzinfo=UTC), False),
    ],
)
def test_a_notice_of_the_future_or_of_before_m_pesa_counts_from_its_arrival(
    *, reported: datetime, believed: bool
) -> None:
    movement = of_notice(C2bNotice("UKG7Q2X9LM", 350_00, "174379", completed_at=reported), ARRIVED)
    assert movement.happened_at == (reported if believed else ARRIVED)
