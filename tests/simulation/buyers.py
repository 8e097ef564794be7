"""The people who buy: they click twice, lose answers and ask again, change their minds, share phones, and pay or not.

What was acknowledged to them is kept, and held against the store afterwards: nothing that was acknowledged may be lost.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from random import Random
from typing import Any
from uuid import UUID

from ledger.errors import LedgerError
from ledger.phone import PhoneNumber
from ledger.session.session import PaymentSession
from payments.checkout.checkout import Prompted
from payments.idempotency.idempotency_store import Replay
from payments.services import Services
from shop.port import Cart, CartLine
from tests.simulation.mpesa import CANCELLED, NO_FUNDS, PAID, WRONG_PIN, Mpesa, Prompt
from tests.simulation.processes import Machine
from tests.simulation.world import World

LISTINGS = 5
PRICES_CENTS = (150_00, 80_50, 999_99, 20_00, 333_33)
PLENTY_THOUSANDTHS, SCARCE_THOUSANDTHS = 10**9, 6_000
MAX_TRIES = 5
SENT_AGAIN = frozenset({"UNAVAILABLE", "IDEMPOTENCY_KEY_IN_USE"})
ASKED_AGAIN_LATER = frozenset(
    {"PAYMENT_IN_PROGRESS", "PHONE_BUSY", "CONFLICT", "MPESA_UNAVAILABLE", "PAYMENTS_BUSY"}
)
OF_THE_MOMENT = SENT_AGAIN | ASKED_AGAIN_LATER
"""Refusals that the endpoints do not keep under an idempotency key."""

ENDINGS = (PAID, PAID, PAID, PAID, PAID, PAID, CANCELLED, None, WRONG_PIN, NO_FUNDS)
"""What the owner of a phone does about a prompt; None is nothing."""

Ask = Callable[[Services], Any]


@dataclass
class Promises:
    """What was acknowledged to clients: the session of each key, attempts by transaction, and expiries."""

    sessions: dict[tuple[int, str], UUID] = field(default_factory=dict)
    attempts: dict[UUID, set[int]] = field(default_factory=dict)
    extended: dict[UUID, datetime] = field(default_factory=dict)
    keys: dict[UUID, set[str]] = field(default_factory=dict)
    asked_for_time: Counter[UUID] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def created(self, user_id: int, key: str, session_id: UUID) -> None:
        """A client heard which session its key made."""
        if self.sessions.setdefault((user_id, key), session_id) != session_id:
            self.broken.append(f"key {key} of user {user_id} made two sessions")


class Buyers:
    """Everybody who buys in a run."""

    def __init__(self, world: World, machine: Machine, mpesa: Mpesa, chance: Random) -> None:
        self.promises = Promises()
        self.checkouts = 0
        self.world = world
        self.machine = machine
        self._mpesa = mpesa
        self._chance = chance
        self._phones: list[str] = []
        self._cart_items = 0
        mpesa.on_prompt = self._answer_prompt
        for listing_id in range(1, LISTINGS + 1):
            is_scarce = chance.random() < world.odds.scarce
            machine.shelves.put_on_shelf(listing_id, SCARCE_THOUSANDTHS if is_scarce else PLENTY_THOUSANDTHS)

    def come(self, number: int) -> None:
        """Let one more buyer fill a cart and go to the checkout."""
        chance, odds = Random(self._chance.getrandbits(64)), self.world.odds
        is_shared = self._phones and chance.random() < odds.shares_phone
        phone = chance.choice(self._phones) if is_shared else f"2547{number:08d}"
        self._phones.append(phone)
        self.fill_cart(number, chance)
        buyer = Buyer(self, number, phone, chance)
        buyer.check_out()
        if chance.random() < odds.double_click:
            self.world.later(chance.uniform(0.0, 60.0), buyer.check_out)

    def fill_cart(self, user_id: int, chance: Random) -> None:
        """Put one to three products into a user's cart."""
        lines = []
        for listing_id in sorted(chance.sample(range(1, LISTINGS + 1), chance.choice((1, 1, 2, 3)))):
            self._cart_items += 1
            quantity = chance.choice((1_000, 2_000, 500, 3_000))
            price = PRICES_CENTS[listing_id - 1]
            lines.append(
                CartLine(self._cart_items, listing_id, "Product", "Farm", quantity, price, "kg", 1_000)
            )
        self.machine.shelves.carts[user_id] = Cart(tuple(lines))

    def _answer_prompt(self, prompt: Prompt) -> None:
        code = prompt.chance.choice(ENDINGS)
        if code is not None:
            self.world.later(prompt.chance.uniform(1.0, 58.0), lambda: self._mpesa.end(prompt, code))


class Buyer:
    """One buyer with one cart, on the way through the contract's flow."""

    def __init__(self, buyers: Buyers, user_id: int, phone: str, chance: Random) -> None:
        self._buyers = buyers
        self._promises = buyers.promises
        self._world = buyers.world
        self._user_id = user_id
        self._phone = PhoneNumber(phone)
        self._chance = chance
        self._asked = 0
        self._delivery = {
            "full_name": "Jane Wanjiru",
            "phone_number": phone,
            "county_id": 1,
            "subcounty_id": 5,
            "detailed_address": "Moi Avenue 12",
        }

    def check_out(self) -> None:
        """Open a session with a key of its own, and go on with it."""
        self._buyers.checkouts += 1
        key = self._key("create")

        def create(services: Services) -> PaymentSession:
            return services.checkout.create(self._user_id, self._delivery, self._phone, key=key)

        def opened(session: PaymentSession | UUID) -> None:
            session_id = session if isinstance(session, UUID) else session.id
            is_first = (self._user_id, key) not in self._promises.sessions
            self._promises.created(self._user_id, key, session_id)
            if is_first:
                self._world.later(self._chance.uniform(0.5, 20.0), lambda: self._think(session_id))

        request = _Request(key, create, lambda session: str(session.id), opened)
        self._send(request)
        if self._chance.random() < self._world.odds.double_click:
            self._world.later(self._chance.uniform(0.0, 0.4), lambda: self._send(request))

    def _think(self, session_id: UUID) -> None:
        random_source = self._chance.random()
        if random_source < 0.08:
            return
        if random_source < 0.16:
            self._extend(session_id)
        wait = self._chance.uniform(850.0, 950.0) if random_source > 0.98 else 0.0
        self._world.later(wait, lambda: self._pay(session_id, 0))
        if self._chance.random() < self._world.odds.double_click:
            self._world.later(wait + self._chance.uniform(0.0, 0.5), lambda: self._pay(session_id, MAX_TRIES))

    def _extend(self, session_id: UUID) -> None:
        def extended(answer: Any) -> None:
            until = (
                answer.expires_at if isinstance(answer, PaymentSession) else datetime.fromisoformat(answer)
            )
            known = self._promises.extended.get(session_id, until)
            self._promises.extended[session_id] = max(known, until)

        self._promises.asked_for_time[session_id] += 1
        request = _Request(
            self._key("extend"),
            lambda services: services.checkout.extend(self._user_id, session_id),
            lambda session: str(session.expires_at.isoformat()),
            extended,
            unsure=lambda: self._promises.asked_for_time.update([session_id]),
        )
        self._send(request)
        if self._chance.random() < self._world.odds.double_click:
            self._world.later(self._chance.uniform(0.0, 2.0), lambda: self._send(request))

    def _pay(self, session_id: UUID, tries: int) -> None:
        """Ask for a prompt; where that fails, or the prompt comes to nothing, perhaps ask again later."""
        key = self._key("pay")
        self._promises.keys.setdefault(session_id, set()).add(key)

        def prompted(answer: Any) -> None:
            number = answer.transaction_id if isinstance(answer, Prompted) else int(answer)
            self._promises.attempts.setdefault(session_id, set()).add(number)
            again()

        def again(wait: float = 130.0) -> None:
            if tries < MAX_TRIES and self._chance.random() < 0.3:
                self._world.later(
                    wait * self._chance.uniform(0.2, 1.5), lambda: self._pay(session_id, tries + 1)
                )

        def refused(refusal: LedgerError) -> None:
            if refusal.code in ASKED_AGAIN_LATER:
                again(20.0)

        self._send(
            _Request(
                key,
                lambda services: services.checkout.initiate(self._user_id, session_id, None),
                lambda sent: str(sent.transaction_id),
                prompted,
                refused,
            )
        )

    def _key(self, what: str) -> str:
        self._asked += 1
        return f"{what} {self._asked}"

    def _send(self, request: "_Request", tries: int = 1) -> None:
        """Send a request with its key; without an answer it sends the same again, a few times."""

        def again() -> None:
            if tries < MAX_TRIES:
                self._world.later(self._chance.uniform(0.5, 8.0), lambda: self._send(request, tries + 1))

        def serve(services: Services) -> None:
            self._hear(request, request.answer(services, self._user_id), again)

        def lost() -> None:
            if request.unsure is not None:
                request.unsure()
            again()

        self._buyers.machine.ask(serve, lost)

    def _hear(self, request: "_Request", answer: Any, again: Callable[[], None]) -> None:
        fell_silent = isinstance(answer, LedgerError) and answer.code == "UNAVAILABLE"
        if fell_silent and request.unsure is not None:
            request.unsure()
        if self._chance.random() < self._world.odds.client_loses_answer:
            self._world.meet("client lost its answer", self._user_id, request.key)
            again()
        elif isinstance(answer, LedgerError):
            self._world.note("refused", self._user_id, request.key, answer.code)
            if answer.code in SENT_AGAIN:
                again()
            elif request.refused is not None:
                request.refused(answer)
        elif not isinstance(answer, Replay):
            request.on_answer(answer)
        elif answer.status == HTTPStatus.OK:
            self._world.note("replayed", self._user_id, request.key)
            request.on_answer(_read(answer.body))


@dataclass(frozen=True)
class _Request:
    """What a client wants under a key, and what it does with the answer."""

    key: str
    run: Ask
    kept_as: Callable[[Any], str]
    on_answer: Callable[[Any], None]
    refused: Callable[[LedgerError], None] | None = None
    unsure: Callable[[], None] | None = None
    """Called where a process fell silent over the request, which may have had its effect or not."""

    def answer(self, services: Services, user_id: int) -> Any:
        """Return the answer of some process, kept as the endpoints keep it; a refusal is returned too."""
        try:
            return services.idempotency.answer_once(
                user_id,
                self.key,
                self.key,
                lambda: self._decide(services),
                self._kept_as,
            )
        except LedgerError as refusal:
            return refusal

    def _decide(self, services: Services) -> Any:
        try:
            return self.run(services)
        except LedgerError as refusal:
            return refusal

    def _kept_as(self, answer: Any) -> tuple[int, str] | None:
        if isinstance(answer, LedgerError):
            return None if answer.code in OF_THE_MOMENT else (HTTPStatus.BAD_REQUEST, answer.code)
        return HTTPStatus.OK, self.kept_as(answer)


def _read(body: str) -> Any:
    try:
        return UUID(body)
    except ValueError:
        return body
