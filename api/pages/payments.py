"""One payment as its buyer sees it, decrypted."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from api.pages.phones import phone_url
from ledger import clock
from ledger.application import no_such_session
from ledger.phone import PhoneNumber
from ledger.session.session import PaymentSession
from ledger.session.values import Status
from ledger.store.vault import DELIVERY, PHONE
from payments.checkout.next_action import NextAction
from payments.services import Services
from projections import sessions

OPTIONAL_DETAILS = ("special_instructions", "delivery_time_slot", "estimated_delivery_date")
"""What a client of the API sends beside the delivery details, if anything."""


@dataclass(frozen=True)
class ShownPayment:
    """A session at one time; `details` are the delivery details as they were sent."""

    session: PaymentSession
    status: Status
    next_action: NextAction
    phone: PhoneNumber
    phone_url: str | None
    details: dict[str, Any]

    @property
    def steps_done(self) -> int:
        """How many of the three steps are done: request sent, paid on the phone, order made."""
        return {Status.PAYMENT_INITIATED: 1, Status.PAID: 2, Status.ORDER_CREATED: 3}.get(self.status, 0)

    @property
    def delivery(self) -> dict[str, Any]:
        """The delivery details, as the API takes them."""
        return {name: value for name, value in self.details.items() if name not in OPTIONAL_DETAILS}

    @property
    def optional_details(self) -> dict[str, Any]:
        """The instructions, the time slot and the day, as the API takes them."""
        return {name: self.details[name] for name in OPTIONAL_DETAILS}


def payment_of(services: Services, user_id: int, session_id: UUID) -> ShownPayment:
    """Return the user's own payment of a cart as it is now.

    Raises NotFound, and Erased if the details have been erased.
    """
    now = clock.now()
    session = services.ledger.session(session_id, user_id=user_id)
    if session.phone_sealed is None or session.delivery_sealed is None:
        raise no_such_session()
    [next_action] = services.next_actions.of(sessions.rows_of(services.database, [session_id], now), now)
    phone = PhoneNumber(services.vault.decrypt(user_id, session.phone_sealed, purpose=PHONE, row=session_id))
    return ShownPayment(
        session=session,
        status=session.status_at(now),
        next_action=next_action,
        phone=phone,
        phone_url=phone_url(services.daraja_url, phone),
        details=json.loads(
            services.vault.decrypt(user_id, session.delivery_sealed, purpose=DELIVERY, row=session_id)
        ),
    )
