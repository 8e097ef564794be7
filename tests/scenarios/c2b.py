"""C2B notices, and posting them as M-Pesa does."""

from typing import Any
from urllib.parse import urlsplit

import requests

from tests.scenarios.steps import report
from tests.support.instance import Instance

SUCCESS = {"ResultCode": 0, "ResultDesc": "Success"}
TOTAL = "350.00"


def c2b_paths(instance: Instance) -> tuple[str, str]:
    """Return the registered paths of C2B confirmation and validation."""
    confirmation, validation = (urlsplit(url).path for url in instance.services.c2b.urls)
    return confirmation, validation


def c2b_notice(receipt: str = "UKG7Q2X9LM", reference: str = "rent", **changed: Any) -> dict[str, Any]:
    """Return a C2B notice; all values are text."""
    return {
        "TransactionType": "Pay Bill",
        "TransID": receipt,
        "TransTime": "20261116103500",
        "TransAmount": TOTAL,
        "BusinessShortCode": "174379",
        "BillRefNumber": reference,
        "InvoiceNumber": "",
        "OrgAccountBalance": "49197.00",
        "ThirdPartyTransID": "",
        "MSISDN": "2547 ***** 126",
        "FirstName": "JANE",
        "MiddleName": "",
        "LastName": "WANJIRU",
    } | changed


def confirm_c2b(instance: Instance, notice: object) -> requests.Response:
    answer = report(instance, c2b_paths(instance)[0], notice)
    assert (answer.status_code, answer.json()) == (200, SUCCESS)
    return answer
