"""The C2B endpoints: M-Pesa asks whether a payment to the shortcode may be made, and confirms that it was.

There is no bearer token: a segment of the URL is the callback token, and a notice without it changes nothing.
"""

from flask import Response
from marshmallow import fields, validate

from api.http.framework import json
from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import public
from api.http.middleware.raw_bodies import read_bounded
from api.http.middleware.safaricom_addresses import is_sender_accepted
from api.http.schemas.fields import ResponseSchema
from payments.reconciliation.c2b import ValidationAnswer

CONFIRMED = {"ResultCode": 0, "ResultDesc": "Success"}

ANY_BODY = {
    "description": "What M-Pesa sends, or anything else.",
    "content": {
        "application/json": {
            "schema": {},
            "example": {
                "TransactionType": "Pay Bill",
                "TransID": "UKG7Q2X9LM",
                "TransTime": "20261116103000",
                "TransAmount": "350.00",
                "BusinessShortCode": "174379",
                "BillRefNumber": "D456",
                "InvoiceNumber": "",
                "OrgAccountBalance": "49197.00",
                "ThirdPartyTransID": "",
                "MSISDN": "2547 ***** 126",
                "FirstName": "Jane",
                "MiddleName": "",
                "LastName": "",
            },
        }
    },
}

blueprint = ApiBlueprint(
    "c2b", __name__, description="Where M-Pesa reports payments that are made to the shortcode (C2B)."
)


class Validated(ResponseSchema):
    """Whether the payment may be made."""

    ResultCode = fields.String(validate=validate.OneOf([str(code) for code in ValidationAnswer]))
    ResultDesc = fields.String(validate=validate.OneOf(["Accepted", "Rejected"]))


class Confirmed(ResponseSchema):
    """The acknowledgement that M-Pesa expects."""

    ResultCode = fields.Integer(validate=validate.Equal(0))
    ResultDesc = fields.String(validate=validate.Equal("Success"))


@blueprint.route("/api/payments/c2b/<string:token>/validation/", methods=["POST"])
@blueprint.reports_unknown_names
@public
@blueprint.doc(requestBody=ANY_BODY)  # type: ignore[untyped-decorator]  # flask-smorest has no types
@blueprint.response(200, Validated)
def validate_payment(token: str) -> Response:
    """Validate a payment before it is made.

    Accepts a reference to an open payment with the right amount. For other references the setting DAFTARI_C2B_UNKNOWN
    decides. Always answers in M-Pesa's form, in less than the eight seconds that it waits.
    """
    body, _ = read_bounded()
    decision = current_services().c2b.validate(body, is_authenticated=_is_authenticated(token))
    description = "Accepted" if decision == ValidationAnswer.ACCEPT else "Rejected"
    answer = {"ResultCode": str(decision), "ResultDesc": description}
    return Response(json.encode(answer), mimetype="application/json")


@blueprint.route("/api/payments/c2b/<string:token>/confirmation/", methods=["POST"])
@blueprint.reports_unknown_names
@public
@blueprint.doc(requestBody=ANY_BODY)  # type: ignore[untyped-decorator]  # flask-smorest has no types
@blueprint.response(200, Confirmed)
def confirm_payment(token: str) -> Response:
    """Receive the confirmation of a payment.

    Stores any body first, then acknowledges it in M-Pesa's form. 503 only if it could not be stored.
    """
    body, length = read_bounded()
    current_services().c2b.confirm(body, body_bytes=length, is_authenticated=_is_authenticated(token))
    return Response(json.encode(CONFIRMED), mimetype="application/json")


def _is_authenticated(token: str) -> bool:
    is_accepted = is_sender_accepted()  # First, because it logs unknown senders.
    return current_services().c2b.proves(token) and is_accepted
