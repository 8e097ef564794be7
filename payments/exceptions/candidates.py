"""Which sessions an unmatched payment may belong to, and why: what an operator chooses from.

The tables only point. What is shown of a session is folded from its genuine events, and so is each reason.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from uuid import UUID

from ledger.application import Ledger
from ledger.errors import InvalidValue
from ledger.phone import PhoneNumber, masked
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState, Payment
from ledger.store.customer_keys import Erased
from ledger.store.key_ring import WrongKey
from ledger.store.vault import PHONE, Vault
from payments.operators.stakes import digests_of_payer
from payments.reconciliation import lookups
from payments.reconciliation.matcher import MAX_EARLIER
from payments.reconciliation.movements import Movement, Movements, OpenMovement
from payments.reconciliation.transactions import MAX_REFERENCE
from projections.history_steps import sessions_at
from projections.payment_filters import Filters
from projections.payment_search import find_keys, sessions_named

MAX_CANDIDATES = 10
MAX_OF_AMOUNT = 50
"""So many sessions of the same amount are looked at, those nearest before the payment."""
OPENED_BEFORE = timedelta(days=1)
OPENED_AFTER = timedelta(hours=1)
"""How long before a payment its session was opened at most, and how long after it, for a buyer who paid first."""
MAX_SEARCHED = 100
LEAST_ALIKE = 0.75
LEAST_DIGITS = 3

_ACCOUNT = re.compile(r"[A-Za-z]?0*([1-9][0-9]{0,17})")
_BETWEEN = re.compile(r"[\s._/-]+")
_SEARCH_HELP = "Write an order number, a receipt, an account reference such as D456, or the id of a session."

_NAMED, _SAME_PAYER, _ALIKE, _SAME_AMOUNT = 8, 8, 4, 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A session that a payment may belong to, and why, the strongest reason first.

    `outcome` is what allocating the payment would do, "" where `refusal` says why it cannot be allocated.
    """

    session: PaymentSession
    reasons: tuple[str, ...]
    phone: str | None
    outcome: str = ""
    refusal: str = ""


class Candidates:
    """Finds candidates. Safe to share between threads."""

    def __init__(self, ledger: Ledger, vault: Vault, movements: Movements) -> None:
        self._ledger = ledger
        self._vault = vault
        self._movements = movements

    def payment(self, case_id: str) -> OpenMovement:
        """Return what M-Pesa told of the payment or reversal that is a case.

        Raises Rejected: CASE_NOT_OPEN where there is none, CASE_NEEDS_MORE where it is forged.
        """
        return self._movements.open_case(movement_key(case_id))

    def of(self, case: OpenMovement, now: datetime) -> list[Candidate]:
        """Return the likeliest sessions for an unmatched payment, MAX_CANDIDATES at most; those without an attempt,
        to which nothing can be allocated, are left out.
        """
        movement = case.movement
        near, _ = find_keys(
            self._ledger.database,
            self._vault,
            Filters(amount_cents=movement.amount_cents),
            after=None,
            limit=MAX_OF_AMOUNT,
            until=movement.happened_at + OPENED_AFTER,
        )
        named = self._named(typed_of(movement)) | self._of_typed_phone(movement)
        found = [self._scored(session, case, named) for session in self._sessions([*named, *near])]
        likely = [each for each in found if each[0] and each[1].attempts]
        likely.sort(
            key=lambda each: (-each[0], bool(each[1].paid), abs(each[1].created_on - movement.happened_at))
        )
        return [self._shown(session, reasons, case, now) for _, session, reasons in likely[:MAX_CANDIDATES]]

    def found_by(self, text: str, case: OpenMovement, now: datetime) -> list[Candidate]:
        """Return the sessions, ten at most, of an order number, a receipt, an account reference, or a session's id.

        Raises InvalidValue for anything longer.
        """
        text = text.strip()
        if not 0 < len(text) <= MAX_SEARCHED:
            raise InvalidValue(_SEARCH_HELP)
        named = self._named(text)
        scored = [self._scored(session, case, named) for session in self._sessions([*named])]
        return [self._shown(session, reasons, case, now) for _, session, reasons in scored]

    def one(self, session_id: UUID, case: OpenMovement, now: datetime) -> Candidate:
        """Return one session as a candidate. Raises NotFound SESSION_NOT_FOUND, and EventForged."""
        session, typed = self._ledger.session(session_id), case.movement
        named = self._named(typed_of(typed)) | self._of_typed_phone(typed)
        _, _, reasons = self._scored(session, case, named)
        return self._shown(session, reasons, case, now)

    def of_same_phone(self, session: PaymentSession, now: datetime) -> list[PaymentSession]:
        """Return the latest sessions of the phones of a session, itself included, MAX_CANDIDATES a phone at most."""
        ids = [session.id]
        for phone in phones_of(self._vault, session):
            wanted, database = Filters(phone=phone), self._ledger.database
            ids += find_keys(database, self._vault, wanted, after=None, limit=MAX_CANDIDATES, until=now)[0]
        return self._sessions(ids)

    def _named(self, text: str) -> dict[UUID, str]:
        """Return the sessions that a text names, each with how."""
        found: dict[UUID, str] = {}
        plain = _BETWEEN.sub("", text)
        number = _ACCOUNT.fullmatch(plain) if len(plain) <= MAX_REFERENCE else None
        if number:
            attempts = lookups.attempts_named(self._ledger.database, [int(number[1])])
            found |= {each.session_id: "its account reference" for each in attempts.values()}
        for spelt in {text.strip(), _BETWEEN.sub("-", text.strip())} - {""}:
            found |= dict.fromkeys(
                sessions_named(self._ledger.database, spelt), "its order number or a receipt of it"
            )
        with suppress(ValueError):
            found[UUID(text.strip())] = "its session id"
        return found

    def _of_typed_phone(self, movement: Movement) -> dict[UUID, str]:
        """Return the latest sessions of a phone that was typed as the account, as many payers do."""
        try:
            phone = PhoneNumber.parse(movement.reference)
        except InvalidValue:
            return {}
        wanted, until = Filters(phone=phone.digits), movement.happened_at + OPENED_AFTER
        found, _ = find_keys(
            self._ledger.database, self._vault, wanted, after=None, limit=MAX_CANDIDATES, until=until
        )
        return dict.fromkeys(found, "its phone")

    def _sessions(self, ids: list[UUID]) -> list[PaymentSession]:
        wanted = list(dict.fromkeys(ids))
        known = sessions_at(self._ledger.database, self._ledger.macs, wanted, None)
        return [known[each] for each in wanted if each in known]

    def _scored(
        self, session: PaymentSession, case: OpenMovement, named: dict[UUID, str]
    ) -> tuple[int, PaymentSession, tuple[str, ...]]:
        reasons = list(self._reasons(session, case, named))
        return sum(weight for weight, _ in reasons), session, tuple(reason for _, reason in reasons)

    def _reasons(
        self, session: PaymentSession, case: OpenMovement, named: dict[UUID, str]
    ) -> Iterator[tuple[int, str]]:
        movement = case.movement
        if session.id in named:
            yield _NAMED, f"{named[session.id]} was typed"
        phones = list(phones_of(self._vault, session))
        if any(case.proven_payer in digests_of_payer(self._vault, phone) for phone in phones):
            yield _SAME_PAYER, "paid from a phone of this session"
        elif movement.payer is not None and any(_ends_as(phone, movement.payer) for phone in phones):
            yield _ALIKE, "its phone begins and ends as the payer's"
        alike = _likest(session, typed_of(movement))
        if alike is not None and session.id not in named:
            yield _ALIKE, f"its account reference D{alike} is like what was typed"
        is_near = -OPENED_AFTER <= movement.happened_at - session.created_on <= OPENED_BEFORE
        if session.totals.total_cents == movement.amount_cents and is_near:
            yield _SAME_AMOUNT, "asks for this amount"

    def _shown(
        self, session: PaymentSession, reasons: tuple[str, ...], case: OpenMovement, now: datetime
    ) -> Candidate:
        phone = masked_phone(self._vault, session)
        attempt = likeliest_attempt(session)
        refusal = _refusal(attempt, case)
        outcome = "" if attempt is None or refusal else _outcome(session, attempt, case, now)
        return Candidate(session, reasons, phone, outcome, refusal)


def typed_of(movement: Movement) -> str:
    """Return what the payer of a movement typed: where only the number was kept, the reference that names it."""
    return movement.reference or (f"D{movement.transaction_id}" if movement.transaction_id else "")


def shown_reference(typed: str) -> str:
    """Return what a payer typed as people may see it: of a phone number its ends alone."""
    try:
        return masked(PhoneNumber.parse(typed).digits) or typed
    except InvalidValue:
        return typed


def movement_key(case_id: str) -> str:
    """Return the key of the movement that a case is about."""
    return case_id.replace(".", " ", 1)


def likeliest_attempt(session: PaymentSession) -> Attempt | None:
    """Return the attempt that an unmatched payment likely answers: paid without a receipt, else open, else last."""

    def likelihood(attempt: Attempt) -> tuple[bool, bool, int]:
        lacks_receipt = attempt.state == AttemptState.PAID and attempt.receipt is None
        return lacks_receipt, attempt.is_open, attempt.number

    return max(session.attempts.values(), key=likelihood, default=None)


def phones_of(vault: Vault, session: PaymentSession) -> Iterator[str]:
    """Yield the phones of a session that can be read, that of its newest attempt first; none once it was erased."""
    sealed = [attempt.phone_sealed for attempt in reversed(session.attempts.values())]
    for text in dict.fromkeys([*sealed, session.phone_sealed]):
        try:
            if text is not None:
                yield vault.decrypt(session.user_id, text, purpose=PHONE, row=session.id)
        except (Erased, WrongKey):
            continue


def masked_phone(vault: Vault, session: PaymentSession) -> str | None:
    """Return the ends of the phone that was prompted last, `2547****4567`; None if there is none to be read."""
    return next((masked(phone) for phone in phones_of(vault, session)), None)


def _ends_as(phone: str, payer: str) -> bool:
    first, _, last = payer.partition("****")
    return phone.startswith(first) and phone.endswith(last)


def _likest(session: PaymentSession, typed: str) -> int | None:
    """Return the transaction of a session whose digits are nearly those that were typed."""
    digits = "".join(character for character in typed if character.isdecimal())
    if not LEAST_DIGITS <= len(digits) <= MAX_REFERENCE:
        return None
    for attempt in session.attempts.values():
        number = str(attempt.transaction_id)
        if len(number) >= LEAST_DIGITS and SequenceMatcher(None, digits, number).ratio() >= LEAST_ALIKE:
            return attempt.transaction_id
    return None


def _refusal(attempt: Attempt | None, case: OpenMovement) -> str:
    if attempt is None:
        return "This session has no payment attempt, so nothing can be allocated to it."
    if case.movement.happened_at < attempt.requested_at - MAX_EARLIER:
        return "It was opened hours after the payment, so the payment is another's."
    return ""


def _outcome(session: PaymentSession, attempt: Attempt, case: OpenMovement, now: datetime) -> str:
    """Say what the payment would do, by recording it on the session in memory."""
    movement = case.movement
    was_paid, refunds = session.paid is not None, set(session.refunds)
    lacked_receipt = attempt.state == AttemptState.PAID and attempt.receipt is None
    payment = Payment(
        attempt=attempt.number,
        receipt=movement.receipt,
        amount_cents=movement.amount_cents,
        evidence=movement.evidence,
        paid_at=movement.happened_at,
    )
    tried = deepcopy(session)
    tried.record_payment(payment, at=now)
    if set(tried.refunds) - refunds:
        why = "is paid already" if was_paid else "asks for another amount"
        return f"This session {why}: the payment is booked here, and a refund of it falls due."
    if lacked_receipt:
        return "This session was known to be paid, without a receipt: it gets this one."
    return "This session is paid with it, and the order is made, or the money falls due back if it cannot be."
