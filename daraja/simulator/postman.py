"""Results and confirmations on their way: each posted once, unless a fault or chaos has something else in mind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from daraja.simulator.bank import Bank
from daraja.simulator.chaos import Chaos
from daraja.simulator.courier import Courier, Parcel
from daraja.simulator.faults import LATE, TRUTH, Faults, What
from daraja.simulator.kenya_time import Watch
from daraja.simulator.settings import SimulatorSettings
from daraja.simulator.timetable import Timetable

_AFTER_TIMEOUT_SECONDS = 5.0
_CUT_BYTES = 25

Then = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Mail:
    """Something to post. `reference` is what chaos makes its dice of; `delay_seconds` is how long it takes as a rule.

    `timeout_url` and `timeout_body` are for the news that M-Pesa gave up waiting, where there is such news.
    """

    what: What
    reference: str
    url: str = field(repr=False)
    body: bytes = field(repr=False)
    delay_seconds: float = 0
    timeout_url: str = field(default="", repr=False)
    timeout_body: bytes = field(default=b"", repr=False)


class Postman:
    """Decides on the fate of each piece of mail and has the courier deliver it."""

    def __init__(
        self,
        settings: SimulatorSettings,
        watch: Watch,
        timetable: Timetable,
        courier: Courier,
        faults: Faults,
        chaos: Chaos,
        bank: Bank,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._timetable = timetable
        self._courier = courier
        self._faults = faults
        self._chaos = chaos
        self._bank = bank

    @property
    def is_full(self) -> bool:
        """Whether so much is waiting that nothing more should be promised."""
        return self._courier.is_full or self._timetable.is_full

    def fate_of(self, what: What, reference: str) -> str:
        """Return what becomes of the next mail: a fault set by hand, else what chaos rolls; it is counted."""
        fate = self._faults.take_fate(what)
        if fate is not None:
            return fate
        fate = self._chaos.fate_of(what, reference)
        if fate != TRUTH:
            self._bank.count(f"chaos_{what}_{fate.partition(':')[0]}")
        return fate

    def post(self, mail: Mail, fate: str, then: Then | None = None) -> None:
        """Post mail as its fate wants it; `then` runs once the first copy is delivered, or will not be soon."""
        late = LATE.fullmatch(fate)
        if fate == "lost" or late:
            if late:
                seconds = self._settings.late_callback_seconds if late[1] is None else float(late[1])
                self._send(mail.url, mail.body, mail.delay_seconds + seconds)
            if then is not None:
                then()
        elif fate == "early":
            self._courier.send_and_wait(self._parcel(mail.url, mail.body, then))
        elif fate.startswith("timeout"):
            self._send(mail.timeout_url, mail.timeout_body, mail.delay_seconds, then)
            if fate != "timeout":
                self._send(mail.url, mail.body, mail.delay_seconds + _AFTER_TIMEOUT_SECONDS)
        else:
            body = mail.body[:-_CUT_BYTES] if fate == "truncated" else mail.body
            self._send(mail.url, body, mail.delay_seconds, then)
            if fate == "doubled":
                self._send(mail.url, body, mail.delay_seconds)

    def _send(self, url: str, body: bytes, delay_seconds: float, then: Then | None = None) -> None:
        parcel = self._parcel(url, body, then)
        if delay_seconds:
            moment = self._watch.now() + timedelta(seconds=delay_seconds)
            self._timetable.at(moment, lambda: self._courier.send(parcel))
        else:
            self._courier.send(parcel)

    def _parcel(self, url: str, body: bytes, then: Then | None) -> Parcel:
        def done(fate: str) -> None:
            self._bank.count(f"posts_{fate}")
            if then is not None:
                then()

        return Parcel(url, body, self._settings.shortcode, done)
