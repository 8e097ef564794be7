"""The control API of the organisation's books: bookings, paying by hand, the statement, the initiator's certificate."""

from datetime import datetime

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest

from daraja.simulator.books import Booking
from daraja.simulator.c2b_payments import PROMPT_CONFIRMATIONS
from daraja.simulator.control_bodies import problem, read_object, read_whole
from daraja.simulator.gateway_requests import MAX_SHILLINGS, is_phone
from daraja.simulator.kenya_time import parse_kenyan
from daraja.simulator.mobile_money import MAX_REFERENCE
from daraja.simulator.outcomes import RESULT_TEXTS
from daraja.simulator.pull_transactions import EMPTY_FORMS
from daraja.simulator.simulator import Simulator
from daraja.simulator.state_file import StateFileProblem

_MAX_LISTED = 1_000
_MAX_WITHDRAWN = 1_000_000_000
_CHANGES = ("withdraw", "c2b_for_prompts", "pull_empty", "unlock_operator", "forget_c2b")


class BooksControl:
    """Shows and moves the organisation's money, without authentication: the money here is not real."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def blueprint(self) -> Blueprint:
        """Return the endpoints for a Flask application."""
        blueprint = Blueprint("books", __name__, url_prefix="/simulator/api")
        blueprint.get("/organisation")(self.show)
        blueprint.post("/organisation")(self.change)
        blueprint.get("/movements")(self.list_bookings)
        blueprint.post("/payments")(self.pay)
        blueprint.get("/statement.csv")(self.export)
        blueprint.get("/certificate")(self.certificate)
        blueprint.register_error_handler(BadRequest, lambda error: problem(400, error.description))
        blueprint.register_error_handler(StateFileProblem, lambda error: problem(503, error))
        return blueprint

    def show(self) -> Response:
        """Show what the shop's account holds, and where C2B posts."""
        simulator = self._simulator
        registration = simulator.c2b.registration
        return jsonify(
            shortcode=simulator.settings.shortcode,
            name=simulator.settings.business_name,
            balance=simulator.mobile_money.organisation_cents() / 100,
            c2b_registered=registration is not None,
            c2b_version=registration.version if registration else None,
            c2b_when_silent=registration.when_silent if registration else None,
            c2b_for_prompts=simulator.c2b.prompt_confirmation,
        )

    def change(self) -> Response:
        """Pay out to the bank, change how the simulator behaves, or do what the portal can."""
        changes = read_object()
        if not changes or set(changes) - set(_CHANGES):
            raise BadRequest(f"Send some of {', '.join(_CHANGES)}.")
        self._apply(changes)
        if "withdraw" in changes:
            code = self._simulator.withdraw(read_whole(changes, "withdraw", 1, _MAX_WITHDRAWN))
            if code != "0":
                raise BadRequest(RESULT_TEXTS[code])
        return self.show()

    def list_bookings(self) -> Response:
        """List the bookings, oldest first, from position `since` on, up to `limit`."""
        since, limit = (
            request.args.get(name, default, type=int) for name, default in (("since", 0), ("limit", 100))
        )
        bookings = self._simulator.movements(max(since, 0), min(max(limit, 0), _MAX_LISTED))
        return jsonify(movements=[_booking_json(booking) for booking in bookings])

    def pay(self) -> tuple[Response, int]:
        """Pay by hand: 201 if money moved, 409 if it did not, with M-Pesa's code or the shop's."""
        payment = read_object()
        phone, reference = str(payment.get("phone")), payment.get("reference", "")
        if not is_phone(phone):
            raise BadRequest("phone is 254, then 7 or 1, then eight digits.")
        if not isinstance(reference, str) or len(reference) > MAX_REFERENCE:
            raise BadRequest(f"reference is text of at most {MAX_REFERENCE} characters.")
        amount = read_whole(payment, "amount", 1, MAX_SHILLINGS)
        paid = self._simulator.pay_by_hand(phone, amount, reference, to_till=payment.get("to_till") is True)
        answer = jsonify(
            code=paid.code,
            text=RESULT_TEXTS.get(paid.code, "The shop does not accept this payment."),
            receipt=paid.receipt,
            reference=paid.reference,
            balance=paid.balance_shillings,
        )
        return answer, 409 if paid.receipt is None else 201

    def export(self) -> Response:
        """Export the statement as CSV: `from` inclusive, `to` exclusive, as dates or times in EAT."""
        text = self._simulator.statement(_moment("from"), _moment("to"))
        headers = {"Content-Disposition": "attachment; filename=statement.csv"}
        return Response(text, content_type="text/csv; charset=utf-8", headers=headers)

    def certificate(self) -> Response:
        """Return the certificate that encrypts the initiator's password, as PEM."""
        return Response(self._simulator.initiator_keys.certificate(), content_type="application/x-pem-file")

    def _apply(self, changes: dict[str, object]) -> None:
        confirmation, empty = changes.get("c2b_for_prompts"), changes.get("pull_empty")
        if confirmation is not None and confirmation not in PROMPT_CONFIRMATIONS:
            raise BadRequest(f"c2b_for_prompts is one of {', '.join(PROMPT_CONFIRMATIONS)}.")
        if empty is not None and empty not in EMPTY_FORMS:
            raise BadRequest(f"pull_empty is one of {', '.join(EMPTY_FORMS)}.")
        if confirmation is not None:
            self._simulator.c2b.confirm_prompts(confirmation)
        if empty is not None:
            self._simulator.pull.write_empty_as(empty)
        if changes.get("unlock_operator") is True:
            self._simulator.initiator_keys.unlock()
        if changes.get("forget_c2b") is True:
            self._simulator.c2b.unregister()


def _booking_json(booking: Booking) -> dict[str, object]:
    return {
        "kind": booking.kind,
        "channel": booking.channel,
        "receipt": booking.receipt,
        "at": booking.at.isoformat(),
        "change_cents": booking.change_cents,
        "balance_cents": booking.balance_cents,
        "phone": booking.phone,
        "reference": booking.reference,
        "linked_receipt": booking.linked_receipt,
    }


def _moment(name: str) -> datetime | None:
    text = request.args.get(name)
    if not text:
        return None
    try:
        return parse_kenyan(text)
    except ValueError:
        raise BadRequest(f"{name} is a date or a time, such as 2026-11-16 or 2026-11-16T07:30.") from None
