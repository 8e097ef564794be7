"""Results and confirmations on their way: each posted once, unless a fault or chaos has something else in mind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from daraja.simulator.callback_dispatcher import CallbackDispatcher, QueuedDelivery
from daraja.simulator.chaos import Chaos
from daraja.simulator.faults import LATE, TRUTH, DeliveryKind, Faults
from daraja.simulator.kenya_time import SimulatedClock
from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.scheduler import Scheduler
from daraja.simulator.simulator_settings import SimulatorSettings

_AFTER_TIMEOUT_SECONDS = 5.0
_CUT_BYTES = 25

Then = Callable[[], None]


@dataclass(frozen=True, slots=True)
class ResultDelivery:
    """Something to post. `reference` is what chaos makes its dice of; `delay_seconds` is how long it takes as a rule.

    `timeout_url` and `timeout_body` are for the news that M-Pesa gave up waiting, where there is such news.
    """

    what: DeliveryKind
    reference: str
    url: str = field(repr=False)
    body: bytes = field(repr=False)
    delay_seconds: float = 0
    timeout_url: str = field(default="", repr=False)
    timeout_body: bytes = field(default=b"", repr=False)


class ResultSender:
    """Decides on the fate of each piece of mail and has the courier deliver it."""

    def __init__(
        self,
        settings: SimulatorSettings,
        clock: SimulatedClock,
        scheduler: Scheduler,
        callback_dispatcher: CallbackDispatcher,
        faults: Faults,
        chaos: Chaos,
        mobile_money: MobileMoney,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._scheduler = scheduler
        self._callback_dispatcher = callback_dispatcher
        self._faults = faults
        self._chaos = chaos
        self._mobile_money = mobile_money

    @property
    def is_full(self) -> bool:
        """Whether so much is waiting that nothing more should be promised."""
        return self._callback_dispatcher.is_full or self._scheduler.is_full

    def delivery_fault_of(self, what: DeliveryKind, reference: str) -> str:
        """Return what becomes of the next mail: a fault set by hand, else what chaos rolls; it is counted."""
        delivery_fault = self._faults.take_delivery_fault(what)
        if delivery_fault is not None:
            return delivery_fault
        delivery_fault = self._chaos.delivery_fault_of(what, reference)
        if delivery_fault != TRUTH:
            self._mobile_money.count(f"chaos_{what}_{delivery_fault.partition(':')[0]}")
        return delivery_fault

    def post(self, delivery: ResultDelivery, delivery_fault: str, then: Then | None = None) -> None:
        """Post mail as its fate wants it; `then` runs once the first copy is delivered, or will not be soon."""
        late = LATE.fullmatch(delivery_fault)
        if delivery_fault == "lost" or late:
            if late:
                seconds = self._settings.late_callback_seconds if late[1] is None else float(late[1])
                self._send(delivery.url, delivery.body, delivery.delay_seconds + seconds)
            if then is not None:
                then()
        elif delivery_fault == "early":
            self._callback_dispatcher.send_and_wait(self._queue_entry(delivery.url, delivery.body, then))
        elif delivery_fault.startswith("timeout"):
            self._send(delivery.timeout_url, delivery.timeout_body, delivery.delay_seconds, then)
            if delivery_fault != "timeout":
                self._send(delivery.url, delivery.body, delivery.delay_seconds + _AFTER_TIMEOUT_SECONDS)
        else:
            body = delivery.body[:-_CUT_BYTES] if delivery_fault == "truncated" else delivery.body
            self._send(delivery.url, body, delivery.delay_seconds, then)
            if delivery_fault == "doubled":
                self._send(delivery.url, body, delivery.delay_seconds)

    def _send(self, url: str, body: bytes, delay_seconds: float, then: Then | None = None) -> None:
        queued = self._queue_entry(url, body, then)
        if delay_seconds:
            moment = self._clock.now() + timedelta(seconds=delay_seconds)
            self._scheduler.at(moment, lambda: self._callback_dispatcher.send(queued))
        else:
            self._callback_dispatcher.send(queued)

    def _queue_entry(self, url: str, body: bytes, then: Then | None) -> QueuedDelivery:
        def done(delivery_fault: str) -> None:
            self._mobile_money.count(f"posts_{delivery_fault}")
            if then is not None:
                then()

        return QueuedDelivery(url, body, self._settings.shortcode, done)
