"""Pull: the payments of the last 48 hours by page, with the quirks of its answers."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from daraja.simulator.answers import GatewayRefusal, invalid_field
from daraja.simulator.books import Booking, BookingKind
from daraja.simulator.gateway_requests import Document, is_callback_url, read_phone, read_shortcode, read_text
from daraja.simulator.kenya_time import in_kenya, parse_kenyan
from daraja.simulator.mobile_money import MobileMoney

EmptyForm = Literal["code-1001", "text", "http-500"]
EMPTY_FORMS: tuple[EmptyForm, ...] = get_args(EmptyForm)

_WINDOW = timedelta(hours=48)
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_OFFSET = re.compile(r"[0-9]{1,7}")
_NONE = "1001"
_SOME = "1000"


@dataclass(frozen=True, slots=True)
class PullQuery:
    """A query for the payments between two moments, from a row on."""

    start: datetime
    end: datetime
    offset: int


class Pull:
    """Answers registrations and queries of Pull. Safe to use from any thread."""

    def __init__(self, mobile_money: MobileMoney) -> None:
        self._settings = mobile_money.settings
        self._mobile_money = mobile_money
        self._empty_form: EmptyForm = "code-1001"
        self._is_registered = False

    def write_empty_as(self, form: EmptyForm) -> None:
        """Choose the form of an answer without rows."""
        self._empty_form = form

    def register(self) -> dict[str, object]:
        """Return the answer to a registration: 1000 the first time, 1001 ever after."""
        status, self._is_registered = _NONE if self._is_registered else _SOME, True
        text = "Short Code already Registered" if status == _NONE else "ShortCode Registered Successfully"
        return {
            "ResponseRefID": self._reference_id(),
            "ResponseStatus": status,
            "ShortCode": self._settings.shortcode,
            "ResponseDescription": text,
        }

    def list(self, query: PullQuery) -> dict[str, object]:
        """Return a page, oldest first; raise GatewayRefusal if there are no rows and that is written as a fault."""
        earliest = self._mobile_money.now() - _WINDOW
        with self._mobile_money.changed:
            payments = self._mobile_money.books.where(
                lambda booking: (
                    booking.kind == BookingKind.PAYMENT
                    and booking.at >= earliest
                    and query.start <= booking.at.replace(microsecond=0) <= query.end
                )
            )
        page = payments[query.offset : query.offset + self._settings.pull_page_rows]
        if page:
            rows = [self._row(payment) for payment in page]
            return self._answer(_SOME, "Success", Response=[rows])
        if self._empty_form == "http-500":
            raise GatewayRefusal(500, "500.001.1001", "No transactions found for the given period")
        if self._empty_form == "text":
            return self._answer(_SOME, "Success", Transaction="[[]]")
        return self._answer(_NONE, "No transactions found", Response=[[]])

    def _answer(self, code: str, message: str, **members: object) -> dict[str, object]:
        return {
            "ResponseRefID": self._reference_id(),
            "ResponseCode": code,
            "ResponseMessage": message,
        } | members

    def _row(self, payment: Booking) -> dict[str, object]:
        # The sample ends in Z; whether its hours are UTC or Nairobi's is not documented.
        at = in_kenya(payment.at) if self._settings.pull_writes_eat else payment.at.astimezone(UTC)
        return {
            "transactionId": payment.receipt,
            "trxDate": f"{at:%Y-%m-%dT%H:%M:%S}Z",
            "msisdn": self._msisdn(payment.phone),
            "sender": "MPESA",
            "transactiontype": "c2b-buy-goods-debit" if payment.is_till else "c2b-pay-bill-debit",
            "billreference": payment.reference,
            "amount": f"{payment.shillings}.00",
            "organizationname": self._settings.business_name,
        }

    def _msisdn(self, phone: str) -> object:
        """Return the payer's number as a JSON number, as documented, or masked."""
        return f"{phone[:4]}*****{phone[-3:]}" if self._settings.pull_masks_msisdn else int(phone)

    def _reference_id(self) -> str:
        with self._mobile_money.changed:
            return self._mobile_money.identifiers.merchant_request_id()


def read_pull_registration(document: Document, shortcode: str) -> None:
    """Read a registration; raise GatewayRefusal 400.002.02 naming the first field that is wrong."""
    read_shortcode(document, "ShortCode", shortcode)
    if read_text(document, "RequestType") != "Pull":
        raise invalid_field("RequestType")
    read_phone(document, "NominatedNumber")
    if not is_callback_url(read_text(document, "CallBackURL")):
        raise invalid_field("CallBackURL")


def read_pull(document: Document, shortcode: str) -> PullQuery:
    """Read a query; raise GatewayRefusal 400.002.02 naming the first field that is wrong."""
    read_shortcode(document, "ShortCode", shortcode)
    offset = read_text(document, "OffSetValue")
    if not _OFFSET.fullmatch(offset):
        raise invalid_field("OffSetValue")
    return PullQuery(_moment(document, "StartDate"), _moment(document, "EndDate"), int(offset))


def _moment(document: Document, name: str) -> datetime:
    text = read_text(document, name)
    if not _MOMENT.fullmatch(text):
        raise invalid_field(name)
    try:
        return parse_kenyan(text)
    except ValueError:
        raise invalid_field(name) from None
