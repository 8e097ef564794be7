"""What the payment page says of paying without a request: it is right, and who does as it says has paid."""

import re
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from api.daraja_wiring import paybill
from api.local.local_settings import local_settings
from api.pages.pay.texts import TEXTS
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.mpesa.credentials import CredentialStore
from tests.api.pages.test_cases import register
from tests.support.instance import SIMULATED, running_instance

CHECKOUT = {"amount": "1250.00", "buyer": {"phone_number": "0712345678"}}
OTHER_PHONE = "254712345679"


def store_credentials(database_url: str, data_folder: Path) -> None:
    """Store all of M-Pesa's credentials, as `daftari set-mpesa-credentials` does."""
    settings = local_settings({"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder)})
    with closing(Database(database_url, role="")) as database:
        CredentialStore(database, Vault(database, settings.daftari_master_key)).write(SIMULATED)


def test_who_pays_by_hand_as_the_page_says_has_paid_by_stored_credentials_too(
    database_url: str, data_folder: Path
) -> None:
    store_credentials(database_url, data_folder)
    with running_instance(database_url, data_folder, **dict.fromkeys(SIMULATED, "")) as instance:
        register(instance)
        server = instance.server()
        made = server.post("/api/payments/checkouts/", json=CHECKOUT).json()
        assert server.initiate(made["session_id"]).status_code == 200
        path = made["payment_url"].removeprefix(instance.base_url)
        told = dict(re.findall("<dt>([^<]+)</dt><dd>([^<]+)</dd>", instance.anonymous().get(path).text))
        assert told[TEXTS["business"][0]] == SIMULATED["MPESA_BUSINESS_SHORTCODE"]
        amount = Decimal(told[TEXTS["amount"][0]].removeprefix("KES ").replace(",", ""))
        paid = instance.simulator.pay_by_hand(OTHER_PHONE, int(amount), told[TEXTS["account"][0]])
        assert paid.receipt is not None
        instance.work()
        shown = server.status(made["session_id"])
        assert (shown["session_status"], shown["receipt"]) == ("order_created", paid.receipt)
        after = instance.anonymous().get(path).text
        assert TEXTS["done"][0] in after
        assert TEXTS["by_hand"][0] not in after


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "174379"),
        ({"MPESA_PARTY_B": "600001"}, "600001"),
        ({"MPESA_TRANSACTION_TYPE": "CustomerBuyGoodsOnline", "MPESA_PARTY_B": "5551234"}, ""),
    ],
)
def test_the_paybill_is_where_the_money_goes_and_a_till_is_none(
    tmp_path: Path, given: dict[str, str], shown: str
) -> None:
    assert paybill(local_settings({"DAFTARI_DATA_DIR": str(tmp_path), **SIMULATED, **given})) == shown
