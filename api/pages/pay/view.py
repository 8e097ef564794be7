"""What the payment page shows of a session: its state in words, and what the buyer can do."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from api.pages.pay.texts import Words
from api.pages.wording import measure, quantity, shillings
from ledger import clock
from ledger.phone import masked
from ledger.session.session import PaymentSession
from ledger.session.status_row import money_of, money_of_order
from ledger.session.values import MoneyBack, RefundStatus, Status
from ledger.store.caller_texts import line_texts_of
from ledger.store.vault import PHONE, Vault
from payments.checkout.checkout_rows import ReturnUrls
from payments.checkout.next_action import NextAction
from payments.checkout.terms import MAX_ATTEMPTS
from payments.services import Services
from projections import sessions

SETTLED = frozenset({Status.ORDER_CREATED, Status.FAILED, Status.EXPIRED})


@dataclass(frozen=True)
class ShownLine:
    """A line of what is paid for; "" where the caller named none."""

    name: str
    quantity: str
    amount: str


@dataclass(frozen=True)
class ShownState:
    """The state in words; `name` is that of its texts.

    Where only the session's own number gets no prompt now, the buyer `needs_another` to pay.
    """

    name: str
    heading: str
    says: str
    can_pay: bool = False
    needs_another: bool = False


@dataclass(frozen=True)
class PaymentView:
    """A session as its payment page shows it."""

    session: PaymentSession
    status: Status
    next_action: NextAction
    state: ShownState
    lines: list[ShownLine]
    own_phone: str | None
    urls: ReturnUrls
    can_extend: bool
    by_hand: str | None

    @property
    def offers_own_phone(self) -> bool:
        """Whether an empty field means the session's own number."""
        return self.own_phone is not None and not self.state.needs_another

    @property
    def is_waiting(self) -> bool:
        """Whether something may change without a press."""
        return self.status in (Status.PAYMENT_INITIATED, Status.PAID) or self.next_action.in_doubt


def view_of(
    services: Services, words: Words, session_id: UUID, user_id: int, max_extensions: int
) -> PaymentView:
    """Return a session as it is now. Raises NotFound, Erased and Unavailable."""
    now = clock.now()
    session = services.ledger.session(session_id, user_id=user_id)
    [next_action] = services.next_actions.of(sessions.rows_of(services.database, [session_id], now), now)
    status = session.status_at(now)
    is_open = status in (Status.PENDING, Status.PAYMENT_INITIATED) and now < session.expires_at
    last = list(session.attempts.values())[-1:]
    return PaymentView(
        session=session,
        status=status,
        next_action=next_action,
        state=_state(words, session, status, next_action, now),
        lines=_lines(services.vault, words, session),
        own_phone=_own_phone(services.vault, session),
        urls=services.server_checkouts.rows.urls_of(session),
        can_extend=is_open and session.extensions < max_extensions,
        by_hand=f"D{last[0].transaction_id}" if last and status == Status.PAYMENT_INITIATED else None,
    )


def refunds_of(words: Words, session: PaymentSession) -> list[tuple[str, str, str]]:
    """Return what each refund is called, M-Pesa's receipt of it if there is one, and its amount."""
    return [
        (words(refund.state.name), refund.reversal_receipt or "", shillings(refund.amount_cents))
        for refund in session.refunds.values()
    ]


def _state(
    words: Words, session: PaymentSession, status: Status, next_action: NextAction, now: datetime
) -> ShownState:
    amount = shillings(session.totals.total_cents)
    if status in (Status.PENDING, Status.PAYMENT_INITIATED):
        return _open_state(words, session, status, next_action, now)
    if status == Status.PAID:
        return ShownState("paid", words("paid"), words("paid_says"))
    if status == Status.ORDER_CREATED:  # What was paid beyond it goes back, and leaves it paid.
        back = _refund_state(words, money_of_order(session))
        return back or ShownState("done", words("done"), words("done_says", amount=amount))
    back = _refund_state(words, money_of(session))
    if session.paid and back:
        return ShownState("no_order", words("no_order"), f"{words('no_order_says')} {back.says}")
    name = "expired" if status == Status.EXPIRED else "failed"
    if back is not None:
        return ShownState(name, words(name), f"{words('other_amount_says')} {back.says}")
    if status == Status.EXPIRED:
        return ShownState(name, words(name), words("expired_says"))
    code = session.failure[0] if session.failure else ""
    return ShownState(name, words(name), words.of_code(code, "other_failure"))


def _open_state(
    words: Words, session: PaymentSession, status: Status, next_action: NextAction, now: datetime
) -> ShownState:
    can_pay = next_action.retry_after == 0
    if next_action.in_doubt:
        says = words("doubt_says")
        if next_action.resolve_by is not None:
            says = f"{says} {words('doubt_by', at=words.moment(next_action.resolve_by, now))}"
        return ShownState("doubt", words("doubt"), says, can_pay=can_pay)
    if status == Status.PAYMENT_INITIATED:
        says = words("phone_says", amount=shillings(session.totals.total_cents))
        return ShownState("phone", words("phone"), says, can_pay=can_pay)
    if next_action.paused:
        name = "paused"
    elif can_pay:
        name = "again" if session.attempts else "ready"
    elif any(attempt.is_open for attempt in session.attempts.values()):
        name = "moment"
    else:  # Its own number gets no prompt for now, if it has not had all.
        name = "another" if len(session.attempts) < MAX_ATTEMPTS else "closed"
    says = words(f"{name}_says")
    if next_action.paused:  # In the words of the operator who stopped the prompts.
        says = f"{next_action.paused} {says}"
    needs_another = name == "another"
    return ShownState(name, words(name), says, can_pay=can_pay or needs_another, needs_another=needs_another)


def _refund_state(words: Words, money: MoneyBack) -> ShownState | None:
    """Return the state of money that goes back, or went, None if none does."""
    if money.due_cents:
        back = shillings(money.due_cents)
        return ShownState("refund_due", words("refund_due"), words("refund_due_says", back=back))
    if money.refunded_cents:
        name = "refunded" if money.status == RefundStatus.REFUNDED else "partly_refunded"
        return ShownState(name, words(name), words("refunded_says", back=shillings(money.refunded_cents)))
    return None


def _lines(vault: Vault, words: Words, session: PaymentSession) -> list[ShownLine]:
    shown = []
    for line, texts in zip(session.lines, line_texts_of(vault, session), strict=True):
        unit = (texts.unit if texts else line.unit_of_measure) or ""
        name = texts.name if texts else line.product_name or words("plain_line")
        quantity = measure(line.quantity_thousandths, unit) if unit else _times(line.quantity_thousandths)
        shown.append(ShownLine(name, quantity, shillings(line.subtotal_cents)))
    return shown


def _times(thousandths: int) -> str:
    return "" if thousandths == 1_000 else f"\N{MULTIPLICATION SIGN} {quantity(thousandths)}"


def _own_phone(vault: Vault, session: PaymentSession) -> str | None:
    """Return the session's number of which people see the ends alone, None without one."""
    if session.phone_sealed is None:
        return None
    return masked(vault.decrypt(session.user_id, session.phone_sealed, purpose=PHONE, row=session.id))


def shown_amounts(words: Words, session: PaymentSession) -> list[tuple[str, str]]:
    """Return what stands between the lines and the total: delivery and rounding, where there are any."""
    totals = session.totals
    shown: list[tuple[str, Any]] = []
    if session.delivery_sealed is not None or totals.delivery_fee_cents:
        fee = shillings(totals.delivery_fee_cents) if totals.delivery_fee_cents else words("free")
        shown.append((words("delivery"), fee))
    if totals.rounding_cents:
        shown.append((words("rounding"), shillings(totals.rounding_cents)))
    return shown
