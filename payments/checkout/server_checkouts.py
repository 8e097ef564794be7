"""Sessions that a shop's own server opens: with lines of its own or a plain amount, under a reference of its own.

They are payment sessions like those of carts. All that the caller wrote is encrypted with the buyer's key; a buyer
whom the caller does not name is a user of their own, so that they can be erased too.
"""

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from ledger import clock
from ledger.application import MAX_TRIES, Ledger
from ledger.errors import Conflict, InvalidValue, wrong_fields
from ledger.identifiers import UNNAMED_USERS, new_id
from ledger.phone import PhoneNumber
from ledger.session.cart import SnapshotLine, add_up, subtotal_cents
from ledger.session.session import PaymentSession
from ledger.store.caller_texts import (
    Encrypt,
    LineTexts,
    encrypt_line,
    encrypt_metadata,
    line_texts_of,
    metadata_of,
    reference_of,
)
from ledger.store.counters import timed
from ledger.store.customer_keys import HasKey
from ledger.store.parts import Part, read_parts
from ledger.store.vault import DELIVERY, PHONE, REFERENCE, Vault
from payments.checkout.checkout import refuse_one_session_more
from payments.checkout.checkout_rows import NOWHERE, RETURN_URLS, CheckoutRows, ReturnUrls, reference_used
from payments.checkout.terms import CheckoutTerms
from payments.idempotency.keyed_request import WITHOUT_KEY, UnkeyedRequest
from payments.users.user_ids import UserIds
from projections import sessions

PLAIN_AMOUNT = "Payment"
"""The name of the one line of a session for a plain amount, which is ours and no text of the caller."""
LONGEST = timedelta(days=1)
"""How long a caller may let a session last."""
WAIT_FOR_OTHERS_SECONDS = 60

Details = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WantedLine:
    """A line that a caller wants paid; amounts in cents, the quantity in thousandths. A plain amount has no texts."""

    price_cents: int
    quantity_thousandths: int = 1_000
    texts: LineTexts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCheckout:
    """What a caller wants paid, by whom, and where to deliver it: `details` are None where nothing is known of that."""

    lines: tuple[WantedLine, ...] = field(repr=False)
    delivery_fee_cents: int = 0
    buyer_id: str | None = field(default=None, repr=False)
    phone: PhoneNumber | None = None
    details: Details | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    lasts: timedelta | None = None
    urls: ReturnUrls = field(default=NOWHERE, repr=False)


@dataclass(frozen=True, slots=True)
class CheckoutTexts:
    """All of a session that its caller wrote, in the clear."""

    lines: list[LineTexts | None]
    details: Details | None
    reference: str | None
    metadata: Mapping[str, str]
    urls: ReturnUrls

    @classmethod
    def wanted(cls, wanted: WantedCheckout) -> "CheckoutTexts":
        """Return the texts of what is wanted, which nobody has to decrypt."""
        lines = [line.texts for line in wanted.lines]
        return cls(lines, wanted.details, wanted.reference, wanted.metadata, wanted.urls)


class ServerCheckouts:
    """Opens sessions for server keys, which go by their names. Safe to share between threads."""

    def __init__(
        self, terms: CheckoutTerms, ledger: Ledger, vault: Vault, user_ids: UserIds, shop: str
    ) -> None:
        self._terms = terms
        self._ledger = ledger
        self._vault = vault
        self._user_ids = user_ids
        self._shop = shop
        self.rows = CheckoutRows(ledger.database, vault)

    def create(
        self, key_name: str, wanted: WantedCheckout, keyed: UnkeyedRequest = WITHOUT_KEY
    ) -> PaymentSession:
        """Open a session, and keep the answer under the request's key, in one commit.

        Raises InvalidValue, AMOUNT_OUT_OF_RANGE too; Conflict REFERENCE_USED and TOO_MANY_SESSIONS; Erased; and what
        `keyed` refuses with.
        """
        with timed("create"):
            for _ in range(MAX_TRIES):
                with suppress(HasKey):
                    return self._create(key_name, wanted, keyed)
            raise Conflict

    def texts_of(self, session: PaymentSession) -> CheckoutTexts:
        """Return what the caller wrote of a session. Raises Erased, and WrongKey."""
        return CheckoutTexts(
            line_texts_of(self._vault, session),
            self._details_of(session),
            reference_of(self._vault, session),
            metadata_of(self._vault, session),
            self.rows.urls_of(session),
        )

    def _create(self, key_name: str, wanted: WantedCheckout, keyed: UnkeyedRequest) -> PaymentSession:
        now = clock.now()
        buyer = self._named(wanted.buyer_id) if wanted.buyer_id else None
        user_id = buyer or UNNAMED_USERS.start + secrets.randbelow(len(UNNAMED_USERS))
        found = read_parts(
            self._ledger.database,
            self._counted(key_name, buyer, now)
            | ({"used": self.rows.used_part(key_name, wanted.reference)} if wanted.reference else {})
            | (self._vault.key_to_read(user_id) if buyer else {})
            | keyed.to_read(),
        )
        keyed.check(found)
        if found.get("used"):
            raise reference_used()
        self._refuse_one_session_more(found, buyer, now)
        # A user of their own has no key yet: where another has this id by chance, the write is refused.
        encrypt_by = self._vault.key_of_read(user_id, found if buyer else {"customer_key": None})
        session_id = new_id(now)
        encrypt = partial(self._vault.encrypt, user_id, row=session_id, by=encrypt_by)
        session = self._opened(session_id, user_id, wanted, encrypt, now)
        urls = encrypt(_json(wanted.urls), purpose=RETURN_URLS) if wanted.urls != NOWHERE else None
        row = self.rows.add_part(
            session, key_name, reference=wanted.reference, sealed_urls=urls, has_buyer=buyer is not None
        )
        # The answer before the row: a repeat under one key finds the answer, and not that its reference is used.
        parts = {**encrypt_by.to_write, **keyed.to_answer(session), "checkout": row}
        if not self._ledger.add(session, parts):
            raise Conflict
        keyed.written(session)
        self._vault.remember(encrypt_by)
        return session

    def _named(self, buyer_id: str) -> int:
        try:
            return self._user_ids.user_id_of(buyer_id)
        except InvalidValue as error:
            raise wrong_fields({"buyer.id": [error.message]}) from None

    def _counted(self, key_name: str, buyer: int | None, now: datetime) -> dict[str, Part]:
        """Return the part that counts what is open of the buyer, or of the key where there is none."""
        if buyer is None:
            return {"open": self.rows.without_buyer_part(key_name, now, self._terms.max_unnamed_checkouts)}
        return {"open": sessions.open_part(buyer, since=now - self._longest, now=now)}

    def _refuse_one_session_more(self, found: Mapping[str, Any], buyer: int | None, now: datetime) -> None:
        if buyer is not None:
            count, next_end = sessions.open_of(found["open"])
            refuse_one_session_more(count, self._terms.max_open_sessions, next_end, now)
        elif found["open"] >= self._terms.max_unnamed_checkouts:
            raise Conflict(
                f"This key has {found['open']} checkouts without a buyer whose time is not over.",
                code="TOO_MANY_SESSIONS",
                retry_after_seconds=WAIT_FOR_OTHERS_SECONDS,
            )

    @property
    def _longest(self) -> timedelta:
        """How long a session that is extended as often as it may be can be paid."""
        return LONGEST + self._terms.longest_session

    def _opened(
        self, session_id: UUID, user_id: int, wanted: WantedCheckout, encrypt: Encrypt, now: datetime
    ) -> PaymentSession:
        lines = tuple(_snapshot(line, encrypt) for line in wanted.lines)
        totals = add_up(lines, wanted.delivery_fee_cents, self._terms.max_amount_shillings)
        details = wanted.details or {}
        return PaymentSession.create(
            session_id,
            user_id=user_id,
            lines=lines,
            totals=totals,
            phone_sealed=encrypt(wanted.phone.digits, purpose=PHONE) if wanted.phone else None,
            delivery_sealed=encrypt(json.dumps(details), purpose=DELIVERY) if details else None,
            county_id=details.get("county_id"),
            subcounty_id=details.get("subcounty_id"),
            reference_sealed=encrypt(wanted.reference, purpose=REFERENCE) if wanted.reference else None,
            metadata_sealed=encrypt_metadata(encrypt, wanted.metadata),
            shop=self._shop,
            expires_at=now + (wanted.lasts or timedelta(minutes=self._terms.session_minutes)),
            at=now,
        )

    def _details_of(self, session: PaymentSession) -> Details | None:
        if session.delivery_sealed is None:
            return None
        text = self._vault.decrypt(session.user_id, session.delivery_sealed, purpose=DELIVERY, row=session.id)
        details: Details = json.loads(text)
        return details


def _snapshot(line: WantedLine, encrypt: Encrypt) -> SnapshotLine:
    """Return a line as the session keeps it: no text of the caller is in the clear."""
    return SnapshotLine(
        cart_item_id=None,
        listing_id=None,
        product_name="" if line.texts else PLAIN_AMOUNT,
        farm_name="",
        quantity_thousandths=line.quantity_thousandths,
        price_cents=line.price_cents,
        subtotal_cents=subtotal_cents(line.price_cents, line.quantity_thousandths),
        unit_of_measure="",
        name_sealed=encrypt_line(encrypt, line.texts) if line.texts else None,
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
