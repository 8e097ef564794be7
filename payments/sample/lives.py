"""What happens to sample sessions: the commands of the ledger, with the shares and delays of a shop's day.

All is drawn from the generator of a chunk, so the same seed gives the same sessions.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from daraja.codes import meaning_of
from ledger.clock import NAIROBI
from ledger.session.cart import SnapshotLine, add_up, subtotal_cents
from ledger.session.session import PaymentSession
from ledger.session.values import Evidence, Payment
from ledger.store.metadata import Cause
from ledger.store.vault import CHECKOUT_ID, DELIVERY, PHONE, Vault
from payments.operators.operator import AUTO_POLICY
from payments.reconciliation.movements import MatchVerdict
from payments.sample.people import Person
from payments.sample.records import Records
from shop.delivery import DeliveryRates
from shop.port import OUT_OF_STOCK

NUMBERS_A_SESSION = 10
"""Of its attempts, of the lines of its cart, of its receipts: each in a series of its own."""

_OPEN_FOR = timedelta(minutes=15)
_PROMPT_SECONDS, _MAX_ATTEMPTS, _MAX_SHILLINGS = 120, 10, 250_000
_FREE_FROM, _DELIVERY_CENTS = DeliveryRates().free_from_cents, DeliveryRates().base_cents
_OPERATOR = "user:9"
_SOLD_OUT = "There is not enough left of what was bought."

_LEAVES_AT_ONCE = 0.13
_REFUSED_FIRST = 0.012
_SILENT_FIRST = 0.045
_PAYS = 0.78
_ENDS = (("1032", 45), ("1037", 27), ("1", 15), ("2001", 7), ("1019", 3), ("17", 2), ("1001", 1))
"""The result codes of prompts that nobody paid: cancelled, no answer, no money, wrong PIN, too late, too soon, busy."""
_CODES, _CODE_WEIGHTS = zip(*_ENDS, strict=True)
_BY_C2B = 0.03
_IN_DOUBT, _IN_DOUBT_WITHIN = 0.01, timedelta(days=1)
_SOLD_OUT_SHARE, _PAID_TWICE, _SENT_BACK = 0.006, 0.002, 0.004
_STAYS_DUE = 0.04


@dataclass(frozen=True, slots=True)
class Product:
    """A listing of the shop: price in cents, weight in grams of a unit."""

    listing_id: int
    product_name: str
    farm_name: str
    price_cents: int
    unit_of_measure: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What all sessions of a chunk share; nothing happens after `end`."""

    vault: Vault
    products: tuple[Product, ...]
    end: datetime


class Life:
    """One session from its creation to its end: `run` it, and its `records` hold what is to be stored."""

    def __init__(
        self, setting: Setting, draw: Random, number: int, person: Person, user_id: int, began: datetime
    ) -> None:
        self._setting, self._draw, self._number, self._person = setting, draw, number, person
        self._user, self._began, self._now = user_id, began, began
        self._id = UUID(int=int(began.timestamp() * 1_000) << 80 | 7 << 76 | 2 << 62 | _random_bits(draw))
        self._session = self._created()
        self.records = Records(setting.vault, self._session)
        self._record(Cause.REQUEST, f"user:{user_id}")

    @property
    def ended(self) -> datetime:
        """When the last thing happened at its checkout."""
        return self._now

    def run(self) -> None:
        """Live the session to its end, or to the end of the time."""
        if self._draw.random() < _LEAVES_AT_ONCE:
            self._now = self._session.expires_at + timedelta(seconds=self._draw.uniform(0.1, 2))
            self._session.expire(at=self._now)
            self._record(Cause.SWEEP, "system")
            return
        self._pass(self._draw.uniform(4, 40))
        if self._draw.random() < _REFUSED_FIRST:
            attempt = self._requested()
            self._session.record_refusal(
                attempt, code="PUSH_RETRYABLE", message="M-Pesa is busy.", at=self._now
            )
            self._record(Cause.REQUEST, f"user:{self._user}")
            self._pass(self._draw.uniform(5, 60))
        attempt = self._prompted()
        if self._draw.random() < _SILENT_FIRST:
            silent = attempt
            self._pass(self._draw.uniform(_PROMPT_SECONDS + 5, _PROMPT_SECONDS + 120))
            attempt = self._prompted()
            self._pass(self._draw.uniform(0.5, 3))
            self._fail(silent, "1037")
        self._end(attempt)

    def _end(self, attempt: int) -> None:
        is_recent = self._began > self._setting.end - _IN_DOUBT_WITHIN
        if is_recent and self._draw.random() < _IN_DOUBT:
            return
        if self._draw.random() < _PAYS:
            self._pass(min(90.0, 3 + self._draw.lognormvariate(2.3, 0.6)))
            self._pay(attempt, by_c2b=self._draw.random() < _BY_C2B)
            self._after_payment(attempt)
            return
        [code] = self._draw.choices(_CODES, _CODE_WEIGHTS)
        self._pass(self._draw.uniform(60, 75) if code == "1037" else 3 + self._draw.expovariate(1 / 12))
        self._fail(attempt, code)

    def _created(self) -> PaymentSession:
        lines = tuple(self._lines())
        goods = sum(line.subtotal_cents for line in lines)
        person, at = self._person, self._began
        self._delivery = json.dumps(
            {
                "full_name": person.name,
                "phone_number": person.phone,
                "county_id": person.county_id,
                "subcounty_id": person.subcounty_id,
                "detailed_address": "A sample: nobody lives here",
            },
            sort_keys=True,
        )
        return PaymentSession.create(
            self._id,
            user_id=self._user,
            lines=lines,
            totals=add_up(lines, 0 if goods >= _FREE_FROM else _DELIVERY_CENTS, _MAX_SHILLINGS),
            phone_sealed=self._encrypted(person.phone, PHONE),
            delivery_sealed=self._encrypted(self._delivery, DELIVERY),
            county_id=person.county_id,
            subcounty_id=person.subcounty_id,
            expires_at=at + _OPEN_FOR,
            at=at,
        )

    def _lines(self) -> list[SnapshotLine]:
        products = self._setting.products
        count = min(len(products), self._draw.choices((1, 2, 3, 4, 5), (38, 28, 18, 10, 6))[0])
        return [
            SnapshotLine(
                self._number + line,
                product.listing_id,
                product.product_name,
                product.farm_name,
                thousandths,
                product.price_cents,
                subtotal_cents(product.price_cents, thousandths),
                product.unit_of_measure,
            )
            for line, product in enumerate(self._draw.sample(products, count))
            for thousandths in [
                self._draw.choice((500, 1_000, 1_000, 1_000, 1_500, 2_000, 2_000, 3_000, 5_000))
            ]
        ]

    def _requested(self) -> int:
        attempt = self._session.request_payment(
            transaction_id=self._number + len(self._session.attempts),
            phone_sealed=self._encrypted(self._person.phone, PHONE),
            prompt_seconds=_PROMPT_SECONDS,
            max_attempts=_MAX_ATTEMPTS,
            at=self._now,
        )
        self._record(Cause.REQUEST, f"user:{self._user}")
        self._pass(self._draw.uniform(0.2, 1.2))
        return attempt

    def _prompted(self) -> int:
        attempt = self._requested()
        checkout, _ = self._ids(attempt)
        self._session.record_initiation(
            attempt,
            merchant_request_id=self._ids(attempt)[1],
            checkout_sealed=self._encrypted(checkout, CHECKOUT_ID),
            checkout_digest=self._setting.vault.digest("checkout", checkout),
            at=self._now,
        )
        self._record(Cause.REQUEST, f"user:{self._user}")
        return attempt

    def _ids(self, attempt: int) -> tuple[str, str]:
        requested = self._session.attempts[attempt].requested_at.astimezone(NAIROBI)
        number = self._number + attempt
        checkout = f"ws_CO_{requested:%d%m%Y%H%M%S}{number}{self._person.phone[-9:]}"
        return checkout, f"sample-{number}-1"

    def _fail(self, attempt: int, code: str) -> None:
        meaning = meaning_of(code)
        with self._called_back(attempt, code, None):
            self._session.record_attempt_failure(
                attempt,
                evidence=Evidence.CALLBACK,
                code=meaning.reason.upper(),
                text=meaning.sentence,
                result_code=code,
                at=self._now,
            )

    def _pay(self, attempt: int, *, by_c2b: bool) -> None:
        if by_c2b:
            self._credit_by_c2b(attempt, self._receipt(attempt), MatchVerdict.CREDITED)
            return
        receipt = self._receipt(attempt)
        with self._called_back(attempt, "0", receipt):
            self._session.record_payment(self._payment(attempt, receipt, Evidence.CALLBACK), at=self._now)
        self.records.credit(receipt, self._now)

    def _credit_by_c2b(self, attempt: int, receipt: str, verdict: MatchVerdict) -> None:
        payment = self._payment(attempt, receipt, Evidence.C2B)
        self._session.record_payment(payment, at=self._now)
        self.records.move(payment, self._session.attempts[attempt].transaction_id, verdict, self._now)
        self.records.credit(receipt, self._now)
        self._record(Cause.CALLBACK, "mpesa")

    def _after_payment(self, attempt: int) -> None:
        fate = self._draw.random()
        self._pass(self._draw.uniform(0.01, 0.4))
        if fate < _SOLD_OUT_SHARE:
            self._session.refuse_order(code=OUT_OF_STOCK, text=_SOLD_OUT, at=self._now)
            self._record(Cause.EVENT, "system")
            self._refund(AUTO_POLICY)
            return
        placed_at = self._now.astimezone(NAIROBI)
        order_number = f"ORD-{placed_at:%Y%m%d}-{self._number // NUMBERS_A_SESSION}"
        self._session.record_order(order_id=self._number, order_number=order_number, at=self._now)
        self._record(Cause.EVENT, "system")
        self.records.order(self._delivery, self._now)
        if fate < _SOLD_OUT_SHARE + _PAID_TWICE:
            self._pass(self._draw.uniform(30, 300))
            self._credit_by_c2b(attempt, self._receipt(attempt + 5), MatchVerdict.CREDITED)
            self._refund(AUTO_POLICY)
        elif fate < _SOLD_OUT_SHARE + _PAID_TWICE + _SENT_BACK:
            later = self._later(self._draw.uniform(2, 96))
            if later is not None:
                self._session.refund_order(
                    amount_cents=None,
                    payout_receipt=None,
                    decided_by=_OPERATOR,
                    reason="The buyer sent it back.",
                    restock=False,
                    request=f"sample {self._number}",
                    at=later,
                )
                self._record(Cause.OPERATOR, _OPERATOR)
                self._send_back(later)

    def _refund(self, approved_by: str) -> None:
        """Let the last refund be approved and sent, unless it stays due."""
        later = self._later(self._draw.uniform(0.01, 30))
        if self._draw.random() < _STAYS_DUE or later is None:
            return
        number = max(self._session.refunds)
        self._session.approve_refund(number, approved_by=approved_by, at=later)
        self._record(Cause.EVENT, "policy:auto")
        self._send_back(later)

    def _send_back(self, at: datetime) -> None:
        number = max(self._session.refunds)
        known = self._session.refunds[number]
        reference = f"sample-{self._number}-{number}"
        requested, accepted, done = (at + timedelta(seconds=seconds) for seconds in (1, 2, 20))
        self._session.request_refund(number, requested_by="refund_sending", at=requested)
        self._session.record_refund_acceptance(
            number,
            attempt_number=known.attempt_number,
            conversation_id=f"AG_{reference}",
            originator_conversation_id=reference,
            at=accepted,
        )
        receipt = f"Y{_base36(self._number + number):0>9}"
        self._session.record_refund(number, reversal_receipt=receipt, means="reversal", at=done)
        self._record(Cause.SWEEP, "system")

    def _called_back(self, attempt: int, code: str, receipt: str | None) -> "_Callback":
        checkout, merchant = self._ids(attempt)
        body: dict[str, object] = {
            "MerchantRequestID": merchant,
            "CheckoutRequestID": checkout,
            "ResultCode": int(code),
            "ResultDesc": "A sample of a callback.",
        }
        if receipt is not None:
            paid_at = int(f"{self._now.astimezone(NAIROBI):%Y%m%d%H%M%S}")
            items = {
                "Amount": self._session.totals.total_cents / 100,
                "MpesaReceiptNumber": receipt,
                "TransactionDate": paid_at,
                "PhoneNumber": int(self._person.phone),
            }
            body["CallbackMetadata"] = {
                "Item": [{"Name": name, "Value": value} for name, value in items.items()]
            }
        return _Callback(self, attempt, json.dumps({"Body": {"stkCallback": body}}))

    def receive(self, attempt: int, body: str) -> None:
        """Store a callback as the source of the events that were decided, and record these."""
        message_id = UUID(
            int=int(self._now.timestamp() * 1_000) << 80 | 7 << 76 | 2 << 62 | _random_bits(self._draw)
        )
        source = self.records.message(message_id, attempt, body, self._now)
        self._record(Cause.CALLBACK, "mpesa", **source)

    def _payment(self, attempt: int, receipt: str, evidence: Evidence) -> Payment:
        paid_at = self._now.replace(microsecond=0)
        return Payment(attempt, receipt, self._session.totals.total_cents, evidence, paid_at)

    def _receipt(self, number: int) -> str:
        return f"Z{_base36(self._number + number):0>9}"

    def _record(self, cause: Cause, actor: str, **details: str) -> None:
        self.records.collect({"cause": str(cause), "actor": actor, "process": "generate", **details})

    def _encrypted(self, text: str, purpose: str) -> str:
        return self._setting.vault.encrypt(self._user, text, purpose=purpose, row=self._id)

    def _pass(self, seconds: float) -> None:
        self._now += timedelta(milliseconds=int(1_000 * seconds))

    def _later(self, hours: float) -> datetime | None:
        """Return a time after the checkout; None if it is beyond the end of the time."""
        later = self._now + timedelta(seconds=int(3_600 * hours))
        return later if later < self._setting.end - timedelta(minutes=1) else None


class _Callback:
    """Inside the block commands are decided; at its end they are recorded with the callback as their source."""

    def __init__(self, life: Life, attempt: int, body: str) -> None:
        self._life, self._attempt, self._body = life, attempt, body

    def __enter__(self) -> None:
        """Nothing is recorded yet."""

    def __exit__(self, error: object, *_: object) -> None:
        if error is None:
            self._life.receive(self._attempt, self._body)


def _random_bits(draw: Random) -> int:
    return draw.getrandbits(80) & 0x0FFF_3FFF_FFFF_FFFF_FFFF


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit] + digits
    return digits
