"""The load: buyers who double-click, lose answers and retry, abandon carts, share phones, and pay or not.

What was acknowledged to them is recorded, and checked against the ledger afterwards.
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
from payments.idempotency.keyed_request import AnsweredBefore, KeyedRequest
from payments.services import Services
from shop.port import Cart, CartLine
from tests.simulation.deployment import Deployment
from tests.simulation.memory_mpesa import CANCELLED, NO_FUNDS, PAID, WRONG_PIN, MemoryMpesa, Prompt
from tests.simulation.scheduler import Scheduler

LISTINGS = 5
PRICES_CENTS = (150_00, 80_50, 999_99, 20_00, 333_33)
PLENTY_THOUSANDTHS, LOW_THOUSANDTHS = 10**9, 6_000
MAX_TRIES = 5
RETRIED_AT_ONCE = frozenset({"UNAVAILABLE", "IDEMPOTENCY_KEY_IN_USE"})
RETRIED_LATER = frozenset(
    {
        "PAYMENT_IN_PROGRESS",
        "PHONE_BUSY",
        "CONFLICT",
        "MPESA_UNAVAILABLE",
        "PAYMENTS_BUSY",
        "PROMPTS_LIMITED",
        "TOO_MANY_SESSIONS",
    }
)
TRANSIENT = RETRIED_AT_ONCE | RETRIED_LATER
"""Refusals that the API does not store under an idempotency key."""

ENDINGS = (PAID, PAID, PAID, PAID, PAID, PAID, CANCELLED, None, WRONG_PIN, NO_FUNDS)
"""How the owner of a phone ends a prompt; None leaves it to time out."""

Ask = Callable[[Services, KeyedRequest], Any]


@dataclass
class Acknowledgements:
    """What was acknowledged to clients, and the keys and requests that may have had an effect."""

    sessions: dict[tuple[int, str], UUID] = field(default_factory=dict)
    attempts: dict[UUID, set[int]] = field(default_factory=dict)
    extended: dict[UUID, datetime] = field(default_factory=dict)
    keys: dict[UUID, set[str]] = field(default_factory=dict)
    extend_requests: Counter[UUID] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def created(self, user_id: int, key: str, session_id: UUID) -> None:
        """Record which session a key created."""
        if self.sessions.setdefault((user_id, key), session_id) != session_id:
            self.violations.append(f"key {key} of user {user_id} made two sessions")


class Buyers:
    """All buyers of a run."""

    def __init__(
        self, scheduler: Scheduler, deployment: Deployment, mpesa: MemoryMpesa, random: Random
    ) -> None:
        self.acknowledged = Acknowledgements()
        self.scheduler = scheduler
        self.deployment = deployment
        self._mpesa = mpesa
        self._random = random
        self._phones: list[str] = []
        self._cart_items = 0
        mpesa.on_prompt = self._answer_prompt
        for listing_id in range(1, LISTINGS + 1):
            is_low = random.random() < scheduler.odds.low_stock
            deployment.shop.stock_up(listing_id, LOW_THOUSANDTHS if is_low else PLENTY_THOUSANDTHS)

    def arrive(self, number: int) -> None:
        """Let one more buyer fill a cart and check out."""
        random, odds = Random(self._random.getrandbits(64)), self.scheduler.odds
        is_shared = self._phones and random.random() < odds.shares_phone
        phone = random.choice(self._phones) if is_shared else f"2547{number:08d}"
        self._phones.append(phone)
        self.fill_cart(number, random)
        buyer = Buyer(self, number, phone, random)
        buyer.check_out()
        if random.random() < odds.double_click:
            self.scheduler.call_later(random.uniform(0.0, 60.0), buyer.check_out)

    def fill_cart(self, user_id: int, random: Random) -> None:
        """Put one to three products into a user's cart."""
        lines = []
        for listing_id in sorted(random.sample(range(1, LISTINGS + 1), random.choice((1, 1, 2, 3)))):
            self._cart_items += 1
            quantity = random.choice((1_000, 2_000, 500, 3_000))
            price = PRICES_CENTS[listing_id - 1]
            lines.append(
                CartLine(self._cart_items, listing_id, "Product", "Farm", quantity, price, "kg", 1_000)
            )
        self.deployment.shop.carts[user_id] = Cart(tuple(lines))

    def _answer_prompt(self, prompt: Prompt) -> None:
        code = prompt.random.choice(ENDINGS)
        if code is not None:
            self.scheduler.call_later(prompt.random.uniform(1.0, 58.0), lambda: self._mpesa.end(prompt, code))


class Buyer:
    """One buyer with one cart, in the flow of the checkout contract."""

    def __init__(self, buyers: Buyers, user_id: int, phone: str, random: Random) -> None:
        self._buyers = buyers
        self._acknowledged = buyers.acknowledged
        self._scheduler = buyers.scheduler
        self._user_id = user_id
        self._phone = PhoneNumber(phone)
        self._random = random
        self._requests = 0
        self._delivery = {
            "full_name": "Jane Wanjiru",
            "phone_number": phone,
            "county_id": 1,
            "subcounty_id": 5,
            "detailed_address": "Moi Avenue 12",
        }

    def check_out(self) -> None:
        """Create a session with a key, and continue with it."""
        key = self._key("create")

        def create(services: Services, keyed: KeyedRequest) -> PaymentSession:
            return services.checkout.create(self._user_id, self._delivery, self._phone, keyed)

        def opened(session: PaymentSession | UUID) -> None:
            session_id = session if isinstance(session, UUID) else session.id
            is_first = (self._user_id, key) not in self._acknowledged.sessions
            self._acknowledged.created(self._user_id, key, session_id)
            if is_first:
                self._scheduler.call_later(self._random.uniform(0.5, 20.0), lambda: self._go_on(session_id))

        request = _Request(key, create, lambda session: str(session.id), opened)
        self._send(request)
        if self._random.random() < self._scheduler.odds.double_click:
            self._scheduler.call_later(self._random.uniform(0.0, 0.4), lambda: self._send(request))

    def _go_on(self, session_id: UUID) -> None:
        draw = self._random.random()
        if draw < 0.08:
            return
        if draw < 0.16:
            self._extend(session_id)
        wait = self._random.uniform(850.0, 950.0) if draw > 0.98 else 0.0
        self._scheduler.call_later(wait, lambda: self._pay(session_id, 0))
        if self._random.random() < self._scheduler.odds.double_click:
            self._scheduler.call_later(
                wait + self._random.uniform(0.0, 0.5), lambda: self._pay(session_id, MAX_TRIES)
            )

    def _extend(self, session_id: UUID) -> None:
        def extended(answer: Any) -> None:
            until = (
                answer.expires_at if isinstance(answer, PaymentSession) else datetime.fromisoformat(answer)
            )
            known = self._acknowledged.extended.get(session_id, until)
            self._acknowledged.extended[session_id] = max(known, until)

        self._acknowledged.extend_requests[session_id] += 1
        request = _Request(
            self._key("extend"),
            lambda services, keyed: services.checkout.extend(self._user_id, session_id, keyed),
            lambda session: str(session.expires_at.isoformat()),
            extended,
            on_unknown=lambda: self._acknowledged.extend_requests.update([session_id]),
        )
        self._send(request)
        if self._random.random() < self._scheduler.odds.double_click:
            self._scheduler.call_later(self._random.uniform(0.0, 2.0), lambda: self._send(request))

    def _pay(self, session_id: UUID, tries: int) -> None:
        """Initiate the payment; if that fails, or the prompt is not paid, perhaps try again later."""
        key = self._key("pay")
        self._acknowledged.keys.setdefault(session_id, set()).add(key)

        def prompted(answer: Any) -> None:
            number = answer.transaction_id if isinstance(answer, Prompted) else int(answer)
            self._acknowledged.attempts.setdefault(session_id, set()).add(number)
            again()

        def again(wait: float = 130.0) -> None:
            if tries < MAX_TRIES and self._random.random() < 0.3:
                self._scheduler.call_later(
                    wait * self._random.uniform(0.2, 1.5), lambda: self._pay(session_id, tries + 1)
                )

        def refused(refusal: LedgerError) -> None:
            if refusal.code in RETRIED_LATER:
                again(20.0)

        self._send(
            _Request(
                key,
                lambda services, keyed: services.checkout.initiate(self._user_id, session_id, None, keyed),
                lambda sent: str(sent.transaction_id),
                prompted,
                refused,
            )
        )

    def _key(self, what: str) -> str:
        self._requests += 1
        return f"{what} {self._requests}"

    def _send(self, request: "_Request", tries: int = 1) -> None:
        """Send a request with its key, and the same again a few times if no answer comes."""

        def again() -> None:
            if tries < MAX_TRIES:
                self._scheduler.call_later(
                    self._random.uniform(0.5, 8.0), lambda: self._send(request, tries + 1)
                )

        def serve(services: Services) -> None:
            self._receive(request, request.answer(services, self._user_id), again)

        def lost() -> None:
            if request.on_unknown is not None:
                request.on_unknown()
            again()

        self._buyers.deployment.request(serve, lost)

    def _receive(self, request: "_Request", answer: Any, again: Callable[[], None]) -> None:
        is_unknown = isinstance(answer, LedgerError) and answer.code == "UNAVAILABLE"
        if is_unknown and request.on_unknown is not None:
            request.on_unknown()
        if self._random.random() < self._scheduler.odds.client_loses_answer:
            self._scheduler.count_fault("client lost its answer", self._user_id, request.key)
            again()
        elif isinstance(answer, LedgerError):
            self._scheduler.note("refused", self._user_id, request.key, answer.code)
            if answer.code in RETRIED_AT_ONCE:
                again()
            elif request.on_refusal is not None:
                request.on_refusal(answer)
        elif not isinstance(answer, AnsweredBefore):
            request.on_answer(answer)
        elif answer.status == HTTPStatus.OK:
            self._scheduler.note("replayed", self._user_id, request.key)
            request.on_answer(_read(answer.body))


@dataclass(frozen=True)
class _Request:
    """A request under an idempotency key, and what the client does with the answer."""

    key: str
    run: Ask
    stored_as: Callable[[Any], str]
    on_answer: Callable[[Any], None]
    on_refusal: Callable[[LedgerError], None] | None = None
    on_unknown: Callable[[], None] | None = None
    """Called if no answer came: the request may have taken effect or not."""

    def answer(self, services: Services, user_id: int) -> Any:
        """Return the answer of a process, stored as the API stores it; a refusal is returned too."""
        keyed = services.idempotency.request(user_id, self.key, self.key)
        keyed.show = lambda answer: (HTTPStatus.OK, self.stored_as(answer))
        try:
            return services.idempotency.answer_once(
                keyed, lambda: self._decide(services, keyed), self._stored_as, claims_first=False
            )
        except (LedgerError, AnsweredBefore) as answered:
            return answered

    def _decide(self, services: Services, keyed: KeyedRequest) -> Any:
        try:
            return self.run(services, keyed)
        except LedgerError as refusal:
            return refusal

    def _stored_as(self, answer: Any) -> tuple[int, str] | None:
        if isinstance(answer, LedgerError):
            return None if answer.code in TRANSIENT else (HTTPStatus.BAD_REQUEST, answer.code)
        return HTTPStatus.OK, self.stored_as(answer)


def _read(body: str) -> Any:
    try:
        return UUID(body)
    except ValueError:
        return body
