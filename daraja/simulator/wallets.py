"""Payers' wallets and the rules that M-Pesa checks once the PIN is right. All amounts are whole shillings."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from daraja.simulator.kenya_time import in_kenya
from daraja.simulator.outcomes import (
    INSUFFICIENT_FUNDS,
    OVER_DAILY_LIMIT,
    OVER_TRANSACTION_LIMIT,
    PAID,
    RULE_LIMITED,
)
from daraja.simulator.simulator_settings import SimulatorSettings

MAX_WALLETS = 20_000


@dataclass(slots=True)
class _Wallet:
    balance: int
    spent_on: date | None = None
    spent_that_day: int = 0
    paid_at_by_amount: dict[int, datetime] = field(default_factory=dict)


class Wallets:
    """Wallets by phone, full when first used; beyond the limit the least recently used goes. Not thread-safe."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._repeat_window = timedelta(seconds=settings.repeat_window_seconds)
        self._wallets: OrderedDict[str, _Wallet] = OrderedDict()

    def balance(self, phone: str) -> int:
        """Return what the phone's wallet holds."""
        return self._wallet(phone).balance

    def set_balance(self, phone: str, shillings: int) -> None:
        """Set what the phone's wallet holds; raise ValueError below zero."""
        if shillings < 0:
            raise ValueError("A wallet holds 0 shillings or more.")
        self._wallet(phone).balance = shillings

    def balances(self) -> Iterator[tuple[str, int]]:
        """Return what every wallet holds that was ever used."""
        return ((phone, wallet.balance) for phone, wallet in self._wallets.items())

    def result_code_for(self, phone: str, shillings: int, now: datetime) -> str:
        """Return the result code of a payment: PAID where every rule allows it."""
        return self._result_code(self._wallet(phone), shillings, now)

    def take(self, phone: str, shillings: int, now: datetime) -> None:
        """Take the amount of a payment that was allowed."""
        wallet = self._wallet(phone)
        wallet.balance -= shillings
        wallet.spent_that_day = self._spent_today(wallet, now) + shillings
        wallet.spent_on = in_kenya(now).date()
        wallet.paid_at_by_amount[shillings] = now

    def can_hold(self, phone: str, shillings: int) -> bool:
        """Tell whether a wallet may hold so much more."""
        return self._wallet(phone).balance + shillings <= self._settings.wallet_limit_shillings

    def give(self, phone: str, shillings: int) -> None:
        """Put the amount of a reversal back, or of a payout in; what was spent that day stays spent."""
        self._wallet(phone).balance += shillings

    def _result_code(self, wallet: _Wallet, shillings: int, now: datetime) -> str:
        if shillings > self._settings.transaction_limit_shillings:
            return OVER_TRANSACTION_LIMIT
        if self._spent_today(wallet, now) + shillings > self._settings.daily_limit_shillings:
            return OVER_DAILY_LIMIT
        if self._is_repeat(wallet, shillings, now):
            return RULE_LIMITED
        if shillings > wallet.balance:
            return INSUFFICIENT_FUNDS
        return PAID

    def _is_repeat(self, wallet: _Wallet, shillings: int, now: datetime) -> bool:
        horizon = now - self._repeat_window
        recent = {amount: at for amount, at in wallet.paid_at_by_amount.items() if at > horizon}
        wallet.paid_at_by_amount = recent
        return shillings in recent

    @staticmethod
    def _spent_today(wallet: _Wallet, now: datetime) -> int:
        return wallet.spent_that_day if wallet.spent_on == in_kenya(now).date() else 0

    def _wallet(self, phone: str) -> _Wallet:
        wallet = self._wallets.get(phone)
        if wallet is None:
            wallet = self._wallets[phone] = _Wallet(self._settings.wallet_shillings)
            if len(self._wallets) > MAX_WALLETS:
                self._wallets.popitem(last=False)
        else:
            self._wallets.move_to_end(phone)
        return wallet
