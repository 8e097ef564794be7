"""The simulator's parts, put together: started, stopped and steered by tests and by the command line."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from daraja.simulator.books import MAX_BOOKINGS, Booking, PaymentChannel
from daraja.simulator.c2b_payments import C2b, HandPayment
from daraja.simulator.callback_dispatcher import CallbackDispatcher
from daraja.simulator.chaos import Chaos
from daraja.simulator.delivery_sender import DeliverySender
from daraja.simulator.faults import Endpoint, Faults
from daraja.simulator.initiator_keys import InitiatorKeys
from daraja.simulator.initiator_operations import InitiatorOperations
from daraja.simulator.kenya_time import Clock, SimulatedClock
from daraja.simulator.mobile_money import MobileMoney, PaymentOrder
from daraja.simulator.outcomes import CANCELLED, NO_RESPONSE, PAID, WRONG_PIN
from daraja.simulator.prompt_lifecycle import PromptLifecycle
from daraja.simulator.prompts import PromptOutcome, StkPrompt
from daraja.simulator.pull_transactions import Pull
from daraja.simulator.scheduler import Scheduler
from daraja.simulator.server import SimulatorServer
from daraja.simulator.simulator_settings import SimulatorSettings
from daraja.simulator.state_file import StateFile
from daraja.simulator.statement_export import export_statement
from daraja.simulator.token_issuer import TokenIssuer
from daraja.simulator.utility_account import UtilityAccount

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_MAX_LISTED = 1_000


class PortTaken(RuntimeError):
    """The address cannot be listened on; the message says what to do."""


class Simulator:
    """One simulated Daraja; `create_app` makes the WSGI application that serves it.

    Its state is in memory and ends with it, unless the settings name a state file. The parts that tests and endpoints
    use are attributes: `faults` and `chaos`, `tokens`, `mobile_money`, `initiator_keys`, `c2b` and `pull`.
    """

    def __init__(
        self, settings: SimulatorSettings, clock: Clock, create_app: "Callable[[Simulator], WSGIApplication]"
    ) -> None:
        self.settings = settings
        self.stopping = threading.Event()
        self._clock = SimulatedClock(clock)
        self._scheduler = Scheduler(self._clock.now)
        self._dispatcher = CallbackDispatcher(settings)
        self._state_file = StateFile(settings.state_file)
        self.faults = Faults(self._clock.now)
        self.chaos = Chaos(settings.chaos_seed, settings.chaos_longest_delay_seconds, settings.prompt_seconds)
        self.mobile_money = MobileMoney(settings, self._clock, self._state_file)
        self.initiator_keys = InitiatorKeys(self.mobile_money)
        sender = DeliverySender(self.mobile_money, self._scheduler, self._dispatcher, self.faults, self.chaos)
        self.c2b = C2b(self.mobile_money, sender)
        self.prompt_lifecycle = PromptLifecycle(
            self.mobile_money, self._scheduler, sender, self.c2b, self.chaos
        )
        self.operations = InitiatorOperations(self.mobile_money, self.initiator_keys, sender)
        self.utility_account = UtilityAccount(self.mobile_money, self.operations)
        self.pull = Pull(self.mobile_money)
        self.tokens = TokenIssuer(self.mobile_money)
        self._app = create_app(self)
        self._server: SimulatorServer | None = None
        self._serving: threading.Thread | None = None

    def start(self, host: str | None = None, port: int | None = None) -> str:
        """Serve in the background, return the base URL; port 0 takes a free one. Raise PortTaken, StateFileProblem."""
        self.stopping.clear()
        self._state_file.open()
        address = (host or self.settings.host, self.settings.port if port is None else port)
        try:
            self._server = SimulatorServer(address, self._app)
        except OSError as error:
            self._state_file.close()
            raise PortTaken(
                f"The simulator cannot listen on {address[0]}:{address[1]} ({error.strerror}). Stop what uses "
                "that port, or give the simulator another one."
            ) from error
        self.prompt_lifecycle.resume()
        self._dispatcher.start()
        self._scheduler.start()
        self._serving = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="simulator-server", daemon=True
        )
        self._serving.start()
        return self._server.base_url

    @property
    def base_url(self) -> str:
        """Where it serves, such as `http://127.0.0.1:8001`; raise RuntimeError if it does not."""
        if self._server is None:
            raise RuntimeError("The simulator serves nowhere: call its start() first.")
        return self._server.base_url

    def stop(self) -> None:
        """Stop serving, cut open connections and end every thread; callbacks still waiting are not posted."""
        if self._server is None or self._serving is None:
            return
        # Hang up first: an answer that is held back must not be sent because the simulator stops.
        self._server.hang_up_on_all()
        self.stopping.set()
        self._server.shutdown()
        self._serving.join()
        self._server.hang_up_on_all()
        self._server.server_close()
        self._server = self._serving = None
        self._scheduler.stop()
        self._dispatcher.stop()
        self._state_file.close()

    def now(self) -> datetime:
        """Return the simulated time: the clock, plus what `advance` has added."""
        return self._clock.now()

    def advance(self, seconds: float) -> int:
        """Advance the simulated time and run what is due; return how many tasks ran."""
        self.mobile_money.move_clock(seconds)
        return self.run_due()

    def run_due(self) -> int:
        """Run what is due, such as expiring prompts; return how many tasks ran."""
        return self._scheduler.run_due()

    def wait_until_idle(self, timeout_seconds: float = 10) -> bool:
        """Wait until every push is answered and every callback that is due is posted; False if the time runs out."""
        return self.prompt_lifecycle.wait_until_idle(timeout_seconds)

    def prompts(self, phone: str | None = None, *, open_only: bool = False) -> list[StkPrompt]:
        """Return the prompts kept, open ones first, each group newest first, at most a thousand."""
        return self.prompt_lifecycle.prompts(phone, _MAX_LISTED, open_only)

    def prompt(self, checkout_request_id: str) -> StkPrompt:
        """Return one prompt; raise UnknownPrompt."""
        return self.prompt_lifecycle.get(checkout_request_id)

    def wait_for_prompt(self, phone: str, timeout_seconds: float = 5) -> StkPrompt:
        """Wait until a phone shows a prompt and return it; raise TimeoutError."""

        def newest() -> StkPrompt | None:
            return next(iter(self.prompt_lifecycle.prompts(phone, 1, open_only=True)), None)

        return self.prompt_lifecycle.wait_for(newest, timeout_seconds)

    def wait_for_outcome(self, checkout_request_id: str, timeout_seconds: float = 5) -> PromptOutcome:
        """Wait until a prompt has ended and return how; raise UnknownPrompt or TimeoutError."""
        prompt = self.prompt_lifecycle.get(checkout_request_id)
        return self.prompt_lifecycle.wait_for(lambda: prompt.outcome, timeout_seconds)

    def approve(self, checkout_request_id: str) -> StkPrompt:
        """Enter the PIN. The wallet's rules may still refuse: look at the outcome. Raise PromptClosed."""
        return self.answer(checkout_request_id, PAID)

    def wrong_pin(self, checkout_request_id: str) -> StkPrompt:
        """Enter a wrong PIN: result 2001. Raise PromptClosed."""
        return self.answer(checkout_request_id, WRONG_PIN)

    def cancel(self, checkout_request_id: str) -> StkPrompt:
        """Dismiss the prompt: result 1032. Raise PromptClosed."""
        return self.answer(checkout_request_id, CANCELLED)

    def ignore(self, checkout_request_id: str) -> StkPrompt:
        """Let the prompt expire now: result 1037. Raise PromptClosed."""
        return self.answer(checkout_request_id, NO_RESPONSE)

    def answer(self, checkout_request_id: str, code: str) -> StkPrompt:
        """End a prompt with any result code. Raise UnknownPrompt or PromptClosed."""
        return self.prompt_lifecycle.answer(self.prompt_lifecycle.get(checkout_request_id), code)

    def submissions(self, phone: str | None = None) -> int:
        """Count the pushes accepted since the start or the last reset; for one phone, those still kept."""
        if phone is None:
            return self.statistics().get("pushes_accepted", 0)
        return len(self.prompts(phone))

    def statistics(self) -> dict[str, int]:
        """Return how many of each thing happened since the start or the last reset."""
        return {**self.mobile_money.counts(), "open_prompts": self.prompt_lifecycle.open_count}

    def set_balance(self, phone: str, shillings: int) -> None:
        """Set what a payer's wallet holds, in whole shillings; raise ValueError below zero."""
        with self.mobile_money.changed:
            self.mobile_money.set_balance(phone, shillings)

    def balance(self, phone: str) -> int:
        """Return what a payer's wallet holds, in whole shillings."""
        with self.mobile_money.changed:
            return self.mobile_money.wallets.balance(phone)

    def pay_by_hand(
        self, phone: str, shillings: int, reference: str, *, to_till: bool = False
    ) -> HandPayment:
        """Let a payer pay to the shop's shortcode by hand, with any account number.

        Blocks while the shop validates, if it has registered for that. Raise StateFileProblem.
        """
        return self.c2b.pay(PaymentOrder(phone, shillings, reference, to_till, PaymentChannel.BY_HAND))

    def withdraw(self, shillings: int) -> str:
        """Settle from the shop's account to its bank; return the result code: 1 if there is too little."""
        with self.mobile_money.changed:
            proposal = self.mobile_money.propose_withdrawal(shillings, self.now())
            self.mobile_money.commit(proposal)
        return proposal.code

    def movements(self, since: int = 0, limit: int = MAX_BOOKINGS) -> list[Booking]:
        """Return the bookings of the shop's account from a position on, oldest first: the truth."""
        with self.mobile_money.changed:
            return self.mobile_money.books.since(since, limit)

    def statement(self, start: datetime | None = None, end: datetime | None = None) -> str:
        """Return the organisation statement of a period, or of all bookings kept, as CSV."""
        return export_statement(self.settings, self.mobile_money, start, end)

    def fail_next(self, endpoint: Endpoint, fault: str, times: int = 1) -> None:
        """Let the next requests at an endpoint, such as `push`, meet a fault; raise UnknownFault."""
        self.faults.add(endpoint, [fault] * times)

    def reset(self) -> None:
        """Forget prompts, books, wallets, C2B addresses, counts and faults; the valid token stays."""
        with self.mobile_money.changed:
            self.prompt_lifecycle.forget()
            self.mobile_money.forget()
            self.operations.forget()
            self.c2b.forget()
            self._state_file.compact()
        self.faults.clear()
