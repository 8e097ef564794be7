"""The simulator as one thing: started, stopped, asked and steered, by tests and by the command line."""

import logging
import signal
import threading
from datetime import datetime

from flask import Flask

from daraja.simulator.books import MAX_BOOKINGS, Booking, PaymentChannel
from daraja.simulator.books_control import BooksControl
from daraja.simulator.c2b_payments import C2b, HandPayment
from daraja.simulator.callback_dispatcher import CallbackDispatcher
from daraja.simulator.callback_sender import CallbackSender
from daraja.simulator.chaos import Chaos
from daraja.simulator.control import Control
from daraja.simulator.faults import DeliveryKind, Endpoint, Faults
from daraja.simulator.initiator_api import InitiatorApi
from daraja.simulator.initiator_keys import InitiatorKeys
from daraja.simulator.initiator_operations import InitiatorOperations
from daraja.simulator.kenya_time import Clock, SimulatedClock, utc_now
from daraja.simulator.mobile_money import MobileMoney, PaymentOrder
from daraja.simulator.outcomes import CANCELLED, NO_RESPONSE, PAID, WRONG_PIN
from daraja.simulator.phone_pages import phone_pages
from daraja.simulator.pipeline import RequestPipeline
from daraja.simulator.prompt_lifecycle import PromptLifecycle
from daraja.simulator.prompts import PromptOutcome, StkPrompt
from daraja.simulator.pull_transactions import Pull
from daraja.simulator.result_sender import ResultSender
from daraja.simulator.scheduler import Scheduler
from daraja.simulator.server import SimulatorServer
from daraja.simulator.simulator_settings import SimulatorSettings
from daraja.simulator.spike_arrest import CallRate
from daraja.simulator.state_file import StateFile
from daraja.simulator.statement_export import export_statement
from daraja.simulator.stk_api import StkApi
from daraja.simulator.token_issuer import TokenIssuer

_MAX_LISTED = 1_000

_log = logging.getLogger(__name__)


class PortTaken(RuntimeError):
    """The address cannot be listened on; the message says what to do."""


class Simulator:
    """One simulated Daraja. `app` is its WSGI application.

    Its state is in memory and ends with it, unless the settings name a state file.
    """

    def __init__(self, settings: SimulatorSettings, clock: Clock = utc_now) -> None:
        self.settings = settings
        self._stopping = threading.Event()
        self._clock = simulated = SimulatedClock(clock)
        self._scheduler = scheduler = Scheduler(simulated.now)
        callback_dispatcher = CallbackDispatcher(settings.callback_workers, settings.callback_timeout_seconds)
        self._callback_dispatcher = callback_dispatcher
        self._state_file = state_file = StateFile(settings.state_file)
        self.faults = Faults()
        self.chaos = Chaos(settings.chaos_seed, settings.chaos_longest_delay_seconds, settings.prompt_seconds)
        self._mobile_money = mobile_money = MobileMoney(settings, simulated, state_file)
        self.initiator_keys = InitiatorKeys(settings, simulated, mobile_money, state_file)
        result_sender = ResultSender(
            settings, simulated, scheduler, callback_dispatcher, self.faults, self.chaos, mobile_money
        )
        self.c2b = C2b(settings, simulated, mobile_money, callback_dispatcher, result_sender, state_file)
        sender = CallbackSender(settings, simulated, scheduler, callback_dispatcher, mobile_money, self.c2b)
        self._prompt_lifecycle = PromptLifecycle(
            settings, simulated, scheduler, mobile_money, sender, self.chaos, state_file
        )
        self._operations = InitiatorOperations(
            settings, simulated, mobile_money, self.initiator_keys, result_sender, state_file
        )
        self.pull = Pull(settings, simulated, mobile_money)
        self._tokens = TokenIssuer(
            settings.consumer_key, settings.consumer_secret, self._new_token, simulated.now
        )
        self.app = self._create_app()
        self._server: SimulatorServer | None = None
        self._serving: threading.Thread | None = None

    def start(self, host: str | None = None, port: int | None = None) -> str:
        """Serve in the background, return the base URL; port 0 takes a free one. Raise PortTaken, StateFileProblem."""
        self._stopping.clear()
        self._state_file.open()
        address = (host or self.settings.host, self.settings.port if port is None else port)
        try:
            self._server = SimulatorServer(address, self.app)
        except OSError as error:
            self._state_file.close()
            raise PortTaken(
                f"The simulator cannot listen on {address[0]}:{address[1]} ({error.strerror}). Stop what uses "
                "that port, or give the simulator another one."
            ) from error
        self._prompt_lifecycle.resume()
        self._callback_dispatcher.start()
        self._scheduler.start()
        self._serving = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="simulator-server", daemon=True
        )
        self._serving.start()
        return self._server.base_url

    def stop(self) -> None:
        """Stop serving, cut open connections and end every thread; callbacks still waiting are not posted."""
        if self._server is None or self._serving is None:
            return
        # Hung up first: an answer that was held back must not get out because we stop.
        self._server.hang_up_on_all()
        self._stopping.set()
        self._server.shutdown()
        self._serving.join()
        self._server.hang_up_on_all()
        self._server.server_close()
        self._server = self._serving = None
        self._scheduler.stop()
        self._callback_dispatcher.stop()
        self._state_file.close()

    def now(self) -> datetime:
        """Return the simulator's own time: its clock, plus what `advance` has added."""
        return self._clock.now()

    def advance(self, seconds: float) -> int:
        """Move the simulator's time on and do what is due; return how many things were done."""
        self._mobile_money.move_clock(seconds)
        return self.run_due()

    def run_due(self) -> int:
        """Do what is due by the clock, such as expiring prompts, and return how many things were done."""
        return self._scheduler.run_due()

    def wait_until_idle(self, timeout_seconds: float = 10) -> bool:
        """Wait until every push is answered and every callback due by now is posted; False where time runs out."""
        return self._prompt_lifecycle.wait_until_idle(timeout_seconds)

    def prompts(self, phone: str | None = None, *, open_only: bool = False) -> list[StkPrompt]:
        """Return the prompts kept, open ones first, each group newest first, at most a thousand."""
        return self._prompt_lifecycle.prompts(phone, _MAX_LISTED, open_only)

    def prompt(self, checkout_request_id: str) -> StkPrompt:
        """Return one prompt; raise UnknownPrompt."""
        return self._prompt_lifecycle.get(checkout_request_id)

    def wait_for_prompt(self, phone: str, timeout_seconds: float = 5) -> StkPrompt:
        """Wait until a phone shows a prompt and return it; raise TimeoutError."""

        def found() -> StkPrompt | None:
            return next(iter(self._prompt_lifecycle.prompts(phone, 1, open_only=True)), None)

        return self._prompt_lifecycle.wait_for(found, timeout_seconds)

    def wait_for_outcome(self, checkout_request_id: str, timeout_seconds: float = 5) -> PromptOutcome:
        """Wait until a prompt has ended and return how; raise UnknownPrompt or TimeoutError."""
        prompt = self._prompt_lifecycle.get(checkout_request_id)
        return self._prompt_lifecycle.wait_for(lambda: prompt.outcome, timeout_seconds)

    def approve(self, checkout_request_id: str) -> StkPrompt:
        """Enter the PIN. The wallet's rules may still say no: look at the outcome. Raise PromptClosed."""
        return self.answer(checkout_request_id, PAID)

    def wrong_pin(self, checkout_request_id: str) -> StkPrompt:
        """Enter a wrong PIN: result 2001. Raise PromptClosed."""
        return self.answer(checkout_request_id, WRONG_PIN)

    def cancel(self, checkout_request_id: str) -> StkPrompt:
        """Dismiss the prompt: result 1032. Raise PromptClosed."""
        return self.answer(checkout_request_id, CANCELLED)

    def ignore(self, checkout_request_id: str) -> StkPrompt:
        """Let the prompt run out now: result 1037. Raise PromptClosed."""
        return self.answer(checkout_request_id, NO_RESPONSE)

    def answer(self, checkout_request_id: str, code: str) -> StkPrompt:
        """End a prompt with any result code. Raise UnknownPrompt or PromptClosed."""
        return self._prompt_lifecycle.answer(self._prompt_lifecycle.get(checkout_request_id), code)

    def submissions(self, phone: str | None = None) -> int:
        """Count the pushes accepted since the start or the last reset; for one phone, those still kept."""
        if phone is None:
            return self.statistics().get("pushes_accepted", 0)
        return len(self.prompts(phone))

    def statistics(self) -> dict[str, int]:
        """Return how many of each thing happened since the start or the last reset."""
        return {**self._mobile_money.counts(), "open_prompts": self._prompt_lifecycle.open_count}

    def set_balance(self, phone: str, shillings: int) -> None:
        """Set what a payer's wallet holds, in whole shillings; raise ValueError below zero."""
        with self._mobile_money.changed:
            self._mobile_money.set_balance(phone, shillings)

    def balance(self, phone: str) -> int:
        """Return what a payer's wallet holds, in whole shillings."""
        with self._mobile_money.changed:
            return self._mobile_money.wallets.balance(phone)

    def pay_by_hand(
        self, phone: str, shillings: int, reference: str, *, to_till: bool = False
    ) -> HandPayment:
        """Let a payer pay to the shop's shortcode by hand, with whatever account number they type.

        Blocks while the shop validates, where it has registered for that. Raise StateFileProblem.
        """
        return self.c2b.pay(PaymentOrder(phone, shillings, reference, to_till, PaymentChannel.BY_HAND))

    def withdraw(self, shillings: int) -> str:
        """Pay money of the shop's account out to its bank, and return the result code: 1 where there is too little."""
        with self._mobile_money.changed:
            proposal = self._mobile_money.propose_withdrawal(shillings, self.now())
            self._mobile_money.commit(proposal)
        return proposal.code

    def movements(self, since: int = 0, limit: int = MAX_BOOKINGS) -> list[Booking]:
        """Return the bookings of the shop's account from a position on, oldest first: the truth."""
        with self._mobile_money.changed:
            return self._mobile_money.books.since(since, limit)

    def organisation_cents(self) -> int:
        """Return what the shop's account holds."""
        with self._mobile_money.changed:
            return self._mobile_money.books.balance_cents

    def statement(self, start: datetime | None = None, end: datetime | None = None) -> str:
        """Return the organisation statement of a period, or of everything that is kept, as CSV."""
        return export_statement(self.settings, self._mobile_money, start, end)

    def issue_token(self) -> str:
        """Make a new token the only valid one, as another process with the same key would."""
        return self._tokens.issue()

    def valid_token(self) -> str | None:
        """Return the token that would be accepted now."""
        return self._tokens.valid_token()

    def void_token(self) -> None:
        """Let no token be valid until the next is asked for."""
        self._tokens.void()

    def fail_next(self, endpoint: Endpoint, fault: str, times: int = 1) -> None:
        """Let the next requests at `token`, `push` or `query` meet a fault; raise UnknownFault."""
        self.faults.add(endpoint, [fault] * times)

    def script_queries(self, *answers: str) -> None:
        """Let queries meet these answers in turn, the last for ever; none tells the truth again."""
        self.faults.script_queries(answers)

    def start_outage(self, seconds: float, fault: str = "html-503") -> None:
        """Let every request meet a fault until so much of the simulator's time has passed."""
        self.faults.start_outage(self.now(), seconds, fault)

    def limit(self, endpoint: Endpoint, rate: CallRate | None) -> None:
        """Let a door take no more calls than a rate allows, and answer 429 beyond; None takes all."""
        self.faults.limit(endpoint, rate)

    def fault_next_delivery(self, what: DeliveryKind, delivery_fault: str, times: int = 1) -> None:
        """Let the next results or C2B confirmations meet a fate, such as `lost`; raise UnknownFault."""
        self.faults.add_delivery_faults(what, [delivery_fault] * times)

    def reset(self) -> None:
        """Forget prompts, books, wallets, C2B addresses, counts and faults; the valid token stays."""
        with self._mobile_money.changed:
            self._prompt_lifecycle.forget()
            self._mobile_money.forget()
            self._operations.forget()
            self.c2b.forget()
            self._state_file.begin_anew()
        self.faults.clear()

    def _new_token(self) -> str:
        self._mobile_money.count("tokens")
        with self._mobile_money.changed:
            return self._mobile_money.identifiers.token()

    def _create_app(self) -> Flask:
        app = Flask(__name__)
        pipeline = RequestPipeline(
            self._mobile_money, self._tokens, self.faults, self.chaos, self._clock, self._stopping.wait
        )
        gateway = StkApi(self.settings, self._prompt_lifecycle, self._tokens, self.faults, pipeline)
        initiator_api = InitiatorApi(
            self.settings, pipeline, self._mobile_money, self._operations, self.c2b, self.pull
        )
        app.register_blueprint(gateway.blueprint())
        app.register_blueprint(initiator_api.blueprint())
        app.register_blueprint(Control(self).blueprint())
        app.register_blueprint(BooksControl(self).blueprint())
        app.register_blueprint(phone_pages(self.settings))
        return app


def create_simulator(settings: SimulatorSettings, clock: Clock = utc_now) -> Simulator:
    """Make a simulator; nothing listens and no thread runs until its `start`."""
    return Simulator(settings, clock)


def run(settings: SimulatorSettings) -> None:
    """Serve until Ctrl-C or SIGTERM, then stop cleanly. Call it on the main thread; raise PortTaken."""
    simulator = create_simulator(settings)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    base_url = simulator.start()
    _log.info("the simulator listens on %s", base_url)
    stop.wait()
    simulator.stop()
