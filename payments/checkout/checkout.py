"""The buyer's commands: open a payment session for the cart, send the STK push, extend the session.

Ledger, shop and Daraja meet here. The order of the steps is the point: an attempt is recorded before it is sent, and
every step may be the last one before a crash.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid5

import structlog

from daraja import Accepted, DarajaClient, Refused, Retryable, Uncertain
from ledger import clock
from ledger.application import MAX_TRIES, Ledger, listings_of
from ledger.errors import Conflict, Rejected, wrong_fields
from ledger.identifiers import new_id
from ledger.money import Money
from ledger.phone import PhoneNumber
from ledger.session.cart import Totals, add_up
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState
from ledger.store.counters import timed
from ledger.store.customer_keys import HasKey
from ledger.store.parts import read_parts, together
from ledger.store.vault import CHECKOUT_ID, DELIVERY, PHONE, REFERENCE, Vault
from payments.checkout.circuit_breaker import CircuitBreaker
from payments.checkout.prompt_refusals import mpesa_unavailable, payments_paused, refusal_for_buyer
from payments.checkout.push_slots import PushSlots
from payments.checkout.terms import CheckoutTerms
from payments.fulfilment.order_process import sale_of
from payments.idempotency.keyed_request import WITHOUT_KEY, UnkeyedRequest
from payments.inbox.callback_tokens import make_token
from payments.operators.switches import Switch, Switches
from payments.prompts.phone_locks import PhoneLocks, PromptOutcome, PromptRefused
from projections import sessions
from shop.port import Quote, Shortage, UnknownPlace
from shop.shops import Shops

PHONE_LOCK_GRACE = timedelta(seconds=30)
"""A phone lock is acquired a moment before the attempt is recorded, and outlives the prompt by that moment."""

_SESSION_NAMES = UUID("6f0a1f6e-52f4-4f0b-9f0b-2f1f1d0c7c11")
_DESCRIPTION = "Payment"
_NOT_REACHED = frozenset({"DARAJA_UNREACHABLE", "DARAJA_TOKEN_UNAVAILABLE"})
"""Refusals of our own, because M-Pesa did not answer."""
_SENT = "STK Push sent successfully. Please check your phone."
_CHECK_YOUR_PHONE = "Please check your phone for M-Pesa prompt."
_CHECKING = "We are checking with M-Pesa. If a prompt appears on your phone, please answer it."
_NO_SUCH_PLACE = {
    UnknownPlace.COUNTY: "There is no such county; see /api/places/counties/.",
    UnknownPlace.SUBCOUNTY: "There is no such subcounty in this county; see /api/places/counties/.",
}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Prompted:
    """An attempt that was sent. `checkout_request_id` is None if M-Pesa's answer was lost."""

    session_id: UUID
    transaction_id: int
    checkout_request_id: str | None
    message: str
    customer_message: str


class Checkout:
    """The buyer's commands. Safe to share between threads.

    A thread waits for M-Pesa inside a `while_waiting()` context.
    """

    def __init__(
        self,
        terms: CheckoutTerms,
        ledger: Ledger,
        vault: Vault,
        phone_locks: PhoneLocks,
        shops: Shops,
        daraja: DarajaClient,
        switches: Switches,
        while_waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._terms = terms
        self._ledger = ledger
        self._vault = vault
        self._phone_locks = phone_locks
        self._shops = shops
        self._daraja = daraja
        self._switches = switches
        self._while_waiting = while_waiting
        self._slots = PushSlots(terms.max_waiting_pushes)
        self._breaker = CircuitBreaker()

    def create(
        self,
        user_id: int,
        delivery: Mapping[str, Any],
        phone: PhoneNumber,
        keyed: UnkeyedRequest = WITHOUT_KEY,
    ) -> PaymentSession:
        """Open a session for the user's cart, and keep the answer under the request's key, in one commit.

        `delivery` holds the delivery details as the client wrote them, `phone` the number in them. Raises
        InvalidValue for a place that does not exist and for a total that M-Pesa cannot take, Rejected
        CART_EMPTY and OUT_OF_STOCK, Conflict TOO_MANY_SESSIONS, and what `keyed` refuses with.
        """
        with timed("create"):
            for _ in range(MAX_TRIES):
                with suppress(HasKey):
                    return self._create(user_id, delivery, phone, keyed)
            raise Conflict

    def _create(
        self, user_id: int, delivery: Mapping[str, Any], phone: PhoneNumber, keyed: UnkeyedRequest
    ) -> PaymentSession:
        now, earlier_id, local = clock.now(), _name_of(user_id, keyed), self._shops.local
        found = read_parts(
            self._ledger.database,
            {"open": sessions.open_part(user_id, since=now - self._terms.longest_session, now=now)}
            | ({"earlier": self._ledger.history_part(earlier_id)} if earlier_id else {})
            | ({"cart": local.cart_part(user_id)} if local else {})
            | self._vault.key_to_read(user_id)
            | keyed.to_read(),
        )
        keyed.check(found)
        if earlier_id and found["earlier"]:
            return self._ledger.session_of(earlier_id, found["earlier"], user_id=user_id)
        session_id = new_id(now)
        count, next_end = sessions.open_of(found["open"])
        refuse_one_session_more(count, self._terms.max_open_sessions, next_end, now)
        place = delivery["county_id"], delivery["subcounty_id"]
        quote = local.quote_of(found["cart"], *place) if local else self._quote(user_id, *place)
        totals = self._priced(quote)
        encrypt_by = self._vault.key_of_read(user_id, found)
        encrypt = partial(self._vault.encrypt, user_id, row=session_id, by=encrypt_by)
        session = PaymentSession.create(
            session_id,
            user_id=user_id,
            lines=quote.lines,
            totals=totals,
            phone_sealed=encrypt(phone.digits, purpose=PHONE),
            delivery_sealed=encrypt(json.dumps(delivery), purpose=DELIVERY),
            county_id=delivery["county_id"],
            subcounty_id=delivery["subcounty_id"],
            reference_sealed=quote.reference and encrypt(quote.reference, purpose=REFERENCE),
            shop=self._shops.for_carts,
            expires_at=now + timedelta(minutes=self._terms.session_minutes),
            at=now,
        )
        if not self._ledger.add(session, {**encrypt_by.to_write, **keyed.to_answer(session, by=encrypt_by)}):
            raise Conflict
        keyed.written(session)
        self._vault.remember(encrypt_by)
        return session

    def _quote(self, user_id: int, county_id: int, subcounty_id: int) -> Quote:
        """Ask a shop that answers by itself."""
        with self._while_waiting():
            return self._shops.named(self._shops.for_carts).quote(user_id, county_id, subcounty_id)

    def _shortages(self, session: PaymentSession, stock: str | None) -> Sequence[Shortage]:
        """Return what is short, by the stock that was read if the session's shop is the one it was read of."""
        local = self._shops.local
        if local is not None and session.shop == self._shops.for_carts:
            return local.shortages_of(stock, session.lines)
        with self._while_waiting():
            return self._shops.named(session.shop).shortages(sale_of(self._vault, session))

    def _priced(self, quote: Quote) -> Totals:
        """Return what a session asks for by a quote; raises what prevents buying the cart now."""
        if quote.unknown_place:
            field = f"delivery_details.{quote.unknown_place}"
            raise wrong_fields({field: [_NO_SUCH_PLACE[quote.unknown_place]]})
        totals = add_up(quote.lines, quote.delivery_fee_cents, self._terms.max_amount_shillings)
        _refuse_shortages(quote.shortages)
        return totals

    def wrong_place(self, county_id: int, subcounty_id: int) -> dict[str, list[str]]:
        """Say what is wrong with a place, by the field of the details that names it; empty if it is right."""
        wrong = self._shops.named(self._shops.for_carts).unknown_place(county_id, subcounty_id)
        return {} if wrong is None else {wrong.value: [_NO_SUCH_PLACE[wrong]]}

    def extend(self, user_id: int, session_id: UUID, keyed: UnkeyedRequest = WITHOUT_KEY) -> PaymentSession:
        """Give the buyer more time, once for a request with a key.

        Raises NotFound, Rejected as PaymentSession.extend does, and what `keyed` refuses with.
        """
        with timed("extend"):
            history = {"history": self._ledger.history_part(session_id)}
            found = read_parts(self._ledger.database, history | keyed.to_read())
            keyed.check(found)
            name = _name_of(user_id, keyed)
            command = partial(
                PaymentSession.extend,
                minutes=self._terms.session_minutes,
                max_extensions=self._terms.max_extensions,
                at=clock.now(),
                request=str(name) if name else None,
            )
            session = self._ledger.session_of(session_id, found["history"], user_id=user_id)
            session, _ = self._ledger.decide(session_id, command, known=session, beside=keyed.to_answer)
            keyed.written(session)
            return session

    def initiate(
        self,
        user_id: int,
        session_id: UUID,
        phone: PhoneNumber | None,
        keyed: UnkeyedRequest = WITHOUT_KEY,
    ) -> Prompted:
        """Send an STK push to `phone`, or to the session's own number if it is None.

        The request's key is claimed in the commit of the attempt, and its answer kept in that of the outcome. Raises
        NotFound; Rejected SESSION_EXPIRED, SESSION_FAILED, SESSION_ALREADY_PAID, PAYMENT_IN_PROGRESS,
        TOO_MANY_ATTEMPTS, OUT_OF_STOCK or PAYMENT_REFUSED; Conflict PHONE_BUSY or PROMPTS_LIMITED; Unavailable
        PAYMENTS_BUSY, PAYMENTS_PAUSED or MPESA_UNAVAILABLE; and what `keyed` refuses with. After each of them the
        session can be paid as before.
        """
        with timed("initiate"), self._slots.take():
            now, local = clock.now(), self._shops.local
            found = read_parts(
                self._ledger.database,
                {"history": self._ledger.history_part(session_id)}
                | ({"stock": local.stock_part(listings_of(session_id))} if local else {})
                | self._phone_locks.to_read()
                | keyed.to_read(),
            )
            keyed.check(found)
            session = self._ledger.session_of(session_id, found["history"], user_id=user_id)
            session.refuse_another_attempt(
                prompt_seconds=self._terms.prompt_seconds, max_attempts=self._terms.max_attempts, at=now
            )
            paused = self._switches.off(Switch.PROMPTS)
            if paused is not None:
                raise payments_paused(paused.reason)
            _refuse_shortages(self._shortages(session, found.get("stock")))
            number = phone or self._own_phone(session)
            wait = self._breaker.seconds_to_wait(now)
            if wait is not None:
                raise mpesa_unavailable(wait)
            session, attempt = self._request(session, number, found["transaction_id"], keyed)
            return self._push(session, attempt, number, keyed)

    def _own_phone(self, session: PaymentSession) -> PhoneNumber:
        """Return the session's own number. Raises InvalidValue if it has none."""
        if session.phone_sealed is None:
            raise wrong_fields({"phone_number": ["This session has no phone number of its own. Name one."]})
        phone = self._vault.decrypt(session.user_id, session.phone_sealed, purpose=PHONE, row=session.id)
        return PhoneNumber(phone)

    def _request(
        self, session: PaymentSession, phone: PhoneNumber, transaction_id: int, keyed: UnkeyedRequest
    ) -> tuple[PaymentSession, Attempt]:
        """Record the attempt, lock the phone and claim the request's key, in one commit.

        The lock reads the clock itself: a process may have paused since, and a lock that counts from an earlier moment
        would end while the prompt is live.
        """
        command = partial(
            PaymentSession.request_payment,
            transaction_id=transaction_id,
            phone_sealed=self._vault.encrypt(session.user_id, phone.digits, purpose=PHONE, row=session.id),
            prompt_seconds=self._terms.prompt_seconds,
            max_attempts=self._terms.max_attempts,
            at=clock.now(),
        )
        digest = self._vault.digest("phone", phone.digits)
        live_for = timedelta(seconds=self._terms.prompt_seconds) + PHONE_LOCK_GRACE
        lock = partial(self._phone_locks.to_write, digest, transaction_id, live_for)
        beside = together(lock, keyed.to_claim)
        try:
            with keyed.claiming():
                session, number = self._ledger.decide(session.id, command, known=session, beside=beside)
        except PromptRefused as refused:
            raise refused.refusal.error(clock.now()) from None
        return session, session.attempts[number]

    def _push(
        self, session: PaymentSession, attempt: Attempt, phone: PhoneNumber, keyed: UnkeyedRequest
    ) -> Prompted:
        token = make_token(self._vault.sign, session.id, attempt.number)
        try:
            with self._while_waiting():
                accepted = self._daraja.push(
                    phone=phone.digits,
                    amount_shillings=Money(session.totals.total_cents).shillings,
                    callback_url=f"{self._terms.callback_url.rstrip('/')}/{token}/",
                    account_reference=f"D{attempt.transaction_id}",
                    description=_DESCRIPTION,
                )
        except (Refused, Retryable) as refusal:
            if refusal.code in _NOT_REACHED:
                self._breaker.record_failure(clock.now())
            else:
                self._breaker.record_success()
            if self._record_refusal(session.id, attempt, refusal):
                raise refusal_for_buyer(refusal) from None
            return self._record_uncertainty(session, attempt, refusal.code, keyed)
        except Uncertain as doubt:
            self._breaker.record_failure(clock.now())
            return self._record_uncertainty(session, attempt, doubt.code, keyed)
        self._breaker.record_success()
        return self._record_acceptance(session, attempt, accepted, keyed)

    def _record_refusal(self, session_id: UUID, attempt: Attempt, refusal: Refused | Retryable) -> bool:
        """Return whether the attempt is refused: a callback that came before the answer says that it was sent."""
        _log.warning(
            "push_refused", session_id=str(session_id), code=refusal.code, vendor=refusal.vendor_code
        )
        command = partial(
            PaymentSession.record_refusal,
            attempt=attempt.number,
            code=refusal.code,
            message=refusal.message,
            at=clock.now(),
        )
        session, _ = self._ledger.decide(session_id, command)
        is_refused = session.attempts[attempt.number].state == AttemptState.REFUSED
        if is_refused:
            self._phone_locks.release(session_id, attempt.transaction_id, PromptOutcome.NOT_SENT)
        return is_refused

    def _record_uncertainty(
        self, session: PaymentSession, attempt: Attempt, reason: str, keyed: UnkeyedRequest
    ) -> Prompted:
        _log.warning("push_uncertain", session_id=str(session.id), code=reason)
        command = partial(
            PaymentSession.record_uncertainty, attempt=attempt.number, reason=reason, at=clock.now()
        )
        prompted = Prompted(session.id, attempt.transaction_id, None, _CHECKING, _CHECKING)
        return self._record_prompt(session, command, prompted, keyed)

    def _record_acceptance(
        self, session: PaymentSession, attempt: Attempt, accepted: Accepted, keyed: UnkeyedRequest
    ) -> Prompted:
        checkout_id = accepted.checkout_request_id
        command = partial(
            PaymentSession.record_initiation,
            attempt=attempt.number,
            merchant_request_id=accepted.merchant_request_id,
            checkout_sealed=self._vault.encrypt_unless_erased(
                session.user_id, checkout_id, purpose=CHECKOUT_ID, row=session.id
            ),
            checkout_digest=self._vault.digest("checkout", checkout_id),
            at=clock.now(),
        )
        prompted = Prompted(session.id, attempt.transaction_id, checkout_id, _SENT, _CHECK_YOUR_PHONE)
        return self._record_prompt(session, command, prompted, keyed)

    def _record_prompt(
        self,
        session: PaymentSession,
        command: Callable[[PaymentSession], None],
        prompted: Prompted,
        keyed: UnkeyedRequest,
    ) -> Prompted:
        """Record how a push ended, and keep the answer under the request's key, in one commit."""
        answer = partial(keyed.to_answer, shown=prompted)
        session, _ = self._ledger.decide(session.id, command, known=session, beside=answer)
        keyed.written(session)
        return prompted


def refuse_one_session_more(count: int, most: int, next_end: datetime | None, now: datetime) -> None:
    """Raise Conflict TOO_MANY_SESSIONS if `most` sessions of a user are open, of which the first ends at `next_end`.

    Requests at one moment may pass it, by as many as are handled at once.
    """
    if count >= most:
        wait = max(1, math.ceil((next_end - now).total_seconds())) if next_end else 1
        raise Conflict(
            f"You have {count} open payment sessions; pay one, or wait until one expires.",
            code="TOO_MANY_SESSIONS",
            retry_after_seconds=wait,
        )


def _name_of(user_id: int, keyed: UnkeyedRequest) -> UUID | None:
    """Return what names a request with a key for ever.

    An extension keeps it, and the release before named sessions so: a key that it left without an answer finds its own.
    """
    return uuid5(_SESSION_NAMES, f"{user_id}:{keyed.name}") if keyed.name else None


def _refuse_shortages(shortages: Sequence[Shortage]) -> None:
    if shortages:
        names = ", ".join(shortage.product_name for shortage in shortages)
        raise Rejected("OUT_OF_STOCK", f"There is not enough in stock of: {names}. Please change your cart.")
