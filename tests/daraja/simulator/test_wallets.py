"""The rules of a payer's wallet, which M-Pesa applies once the PIN is right."""

from typing import Any

import pytest

from daraja.simulator.simulator_settings import SimulatorSettings
from daraja.simulator.wallets import MAX_WALLETS, Wallets
from tests.daraja.simulator.conftest import NOON, PHONE, Receiver, Shop


def pay(shop: Shop, amount: int) -> str:
    prompt = shop.simulator.approve(shop.push(amount=amount)["CheckoutRequestID"])
    assert prompt.outcome is not None
    return prompt.outcome.code


def test_a_payment_is_taken_from_the_wallet(shop: Shop) -> None:
    assert pay(shop, 350) == "0"
    assert shop.simulator.balance(PHONE) == 400_000 - 350


def test_a_wallet_that_holds_too_little_pays_nothing(shop: Shop, receiver: Receiver) -> None:
    shop.simulator.set_balance(PHONE, 349)
    assert pay(shop, 350) == "1"
    assert shop.simulator.balance(PHONE) == 349
    assert shop.simulator.wait_until_idle()
    assert receiver.received[0].callback["ResultDesc"] == "The balance is insufficient for the transaction."


def test_the_same_amount_from_the_same_payer_waits_for_two_minutes(shop: Shop) -> None:
    assert pay(shop, 350) == "0"
    shop.simulator.advance(119)
    assert pay(shop, 350) == "17"
    assert pay(shop, 351) == "0"
    shop.simulator.advance(1)
    assert pay(shop, 350) == "0"


def test_a_payment_that_failed_does_not_stop_the_next(shop: Shop) -> None:
    shop.simulator.wrong_pin(shop.push()["CheckoutRequestID"])
    assert pay(shop, 350) == "0"


def test_the_daily_limit_starts_over_at_midnight_in_nairobi(open_shop: Any) -> None:
    shop = open_shop(daily_limit_shillings=1_000)
    assert pay(shop, 700) == "0"
    shop.simulator.advance(12 * 3600 - 1)
    assert pay(shop, 301) == "4"
    shop.simulator.advance(1)
    assert pay(shop, 301) == "0"


def test_a_payment_above_the_largest_is_declined(open_shop: Any) -> None:
    shop = open_shop(transaction_limit_shillings=70_000)
    assert pay(shop, 70_001) == "3"


def test_a_wallet_cannot_hold_less_than_nothing(shop: Shop) -> None:
    with pytest.raises(ValueError, match="0 shillings or more"):
        shop.simulator.set_balance(PHONE, -1)


def test_the_wallet_used_longest_ago_is_forgotten_beyond_the_limit() -> None:
    wallets = Wallets(SimulatorSettings())
    wallets.take(PHONE, 350, NOON)
    for number in range(MAX_WALLETS):
        wallets.balance(f"2547{number:08d}")
    assert wallets.balance(PHONE) == 400_000
