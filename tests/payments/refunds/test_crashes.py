"""A process dies at any moment of a refund: the money goes back once, never by a second request after silence."""

import pytest

from ledger.session.values import RefundState
from tests.daraja.client.scripted import Request
from tests.payments.refunds.steps import REVERSAL, STATUS, TAKEN, Till, reversed_in_full, status_of
from tests.support.crashes import each_crash_point
from tests.support.horizon import until_readable
from tests.support.proxy import DatabaseProxy


def _sent(till: Till, receipt: str) -> list[Request]:
    return [request for request in till.sent() if request.json["TransactionID"] == receipt]


def _until_the_worker_sees_it(till: Till) -> None:
    until_readable(till.instance.services.database)
    for job in till.instance.jobs:
        if job.name in ("payment_refunds", "views"):
            job.work()


@pytest.mark.system
def test_a_sender_that_dies_at_any_statement_sends_no_money_twice(till: Till, proxy: DatabaseProxy) -> None:
    till.script.at(REVERSAL, TAKEN)
    till.script.at(STATUS, TAKEN)
    for number, _, die in each_crash_point(till.instance, proxy):
        receipt = f"UKG7Q2{number:04d}"
        checkout = till.due(receipt)
        assert till.decide(checkout, "approve").status_code == 200
        _until_the_worker_sees_it(till)
        die(lambda services: services.worker.refund_sender.run())
        till.wait(seconds=91)
        if not _sent(till, receipt):
            till.wait(minutes=16)
            till.tell(status_of(receipt, "Completed"), till.sent(STATUS)[-1])
            till.approve(checkout)
        [asked] = _sent(till, receipt)
        till.tell(reversed_in_full(OriginalTransactionID=receipt), asked)
        assert till.refund(checkout).state == RefundState.REFUNDED, till.facts(checkout)
        assert len(_sent(till, receipt)) == 1
