"""The reasons that a failed session can show, and docs/errors.md, say the same."""

import re
from pathlib import Path

from api.pages.console.dashboard import FAILURE_NAMES
from daraja.codes import RESULT_MEANINGS
from ledger.session.outcome_commands import NOT_PAID
from payments.fulfilment.order_process import PAYMENT_REVERSED
from shop.port import CART_ALREADY_BOUGHT, LISTING_WITHDRAWN, ORDER_NOT_MADE, OUT_OF_STOCK

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"


def test_the_document_lists_every_reason_of_a_failure() -> None:
    of_mpesa = {meaning.reason.upper() for meaning in RESULT_MEANINGS if meaning.outcome == "failed"}
    of_the_shop = {CART_ALREADY_BOUGHT, LISTING_WITHDRAWN, ORDER_NOT_MADE, OUT_OF_STOCK}
    rows = re.findall(r"^\| `([A-Z_]+)` \| [A-Z]", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == of_mpesa | of_the_shop | {"AMOUNT_MISMATCH", NOT_PAID, PAYMENT_REVERSED}
    assert FAILURE_NAMES.keys() == set(rows)
