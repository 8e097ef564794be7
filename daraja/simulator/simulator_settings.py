"""The settings of a simulator, with defaults for a checkout on one machine."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

MAX_DELAY_SECONDS = 10 * 86_400


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Credentials, limits and behaviour of the simulated M-Pesa; amounts are whole shillings, times are seconds.

    `auto_approve_seconds`: None: a person answers prompts; 0: paid when the push is answered; else after so long.
    `strict`: refuse what the real gateway is documented to limit (12 and 13 characters, a missing description, a
    payer who is not the prompted phone); lax accepts them. `seed` fixes random choices; identifiers and receipts
    depend on the clock as well, so that a restarted simulator does not issue a receipt twice.
    `till`: the only till number that CustomerBuyGoodsOnline may pay to; None takes any.
    `organisation_shillings` is what the shop's account holds at the start. `state_file` keeps the books over a kill;
    None keeps them in memory.
    `initiator_password`: if it is set, the initiator's credential is checked. `result_seconds`: how long after
    the acknowledgement a result comes. `result_values_as_text`: amounts and times in it as text, not as numbers.
    `c2b_for_prompts`: whether payments by prompt are confirmed by C2B as well, and before or after their callback.
    `c2b_msisdn`: how C2B names the payer; None as the registered version does, hashed (v1) or masked (v2).
    `statement_has_negative_paid_in`: a reversal is below zero under Paid In, as some exports have it.
    `chaos_seed`: a number turns chaos on from the start. `chaos_longest_delay_seconds` bounds how late
    its callbacks come, in the simulator's time.
    """

    consumer_key: str = "simulator-key"
    consumer_secret: str = field(default="simulator-secret", repr=False)
    shortcode: str = "174379"
    passkey: str = field(default="simulator-passkey", repr=False)
    auto_approve_seconds: float | None = None
    seed: int = 0
    prompt_seconds: float = 60
    strict: bool = True
    port: int = 8001
    host: str = "127.0.0.1"
    business_name: str = "DAFTARI SHOP"
    till: str | None = None
    wallet_shillings: int = 400_000
    wallet_limit_shillings: int = 500_000
    daily_limit_shillings: int = 500_000
    transaction_limit_shillings: int = 250_000
    repeat_window_seconds: float = 120
    late_callback_seconds: float = 130
    callback_timeout_seconds: float = 5
    callback_workers: int = 8
    organisation_shillings: int = 0
    initiator_name: str = "testapi"
    initiator_password: str | None = field(default=None, repr=False)
    result_seconds: float = 2
    result_values_as_text: bool = False
    c2b_for_prompts: Literal["never", "before", "after"] = "never"
    c2b_validates: bool = True
    c2b_registers_once: bool = False
    c2b_msisdn: Literal["plain", "masked", "hashed"] | None = None
    pull_page_rows: int = 100
    pull_writes_eat: bool = False
    pull_masks_msisdn: bool = False
    statement_has_negative_paid_in: bool = False
    payment_charge_cents: int = 0
    reversal_charge_cents: int = 0
    state_file: Path | None = None
    chaos_seed: int | None = None
    chaos_longest_delay_seconds: float = 60

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9]{5,7}", self.shortcode):
            raise ValueError("The simulator's shortcode is 5 to 7 digits, such as 174379.")
        if self.auto_approve_seconds is not None and self.auto_approve_seconds < 0:
            raise ValueError("Auto-approve takes 0 or more seconds; leave it out to answer prompts by hand.")
        if not 0 <= self.chaos_longest_delay_seconds <= MAX_DELAY_SECONDS:
            raise ValueError(f"The longest delay of chaos is 0 to {MAX_DELAY_SECONDS} seconds.")
        if self.prompt_seconds <= 0 or self.callback_timeout_seconds <= 0 or self.callback_workers < 1:
            raise ValueError(
                "The prompt's lifetime, the callback's timeout and its workers are all above zero."
            )
