"""Where M-Pesa reports results. Whatever comes is kept first, then acknowledged in Daraja's form, then acted on.

There is no token to check here: the last segment of the address is the proof, and a report without it is a hint.
"""

from flask import Response, request
from marshmallow import fields, validate

from api.http.framework import json
from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services, current_settings
from api.http.middleware.auth import public
from api.http.middleware.raw_bodies import read_bounded
from api.http.middleware.safaricom_addresses import is_believed
from api.http.schemas.fields import ResponseSchema

ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}
"""The acknowledgement that every known consumer gives; M-Pesa does not document one."""

ANY_BODY = {
    "description": "What M-Pesa sends, and anything else: every body is kept and acknowledged.",
    "content": {
        "application/json": {
            "schema": {},
            "example": {
                "Body": {
                    "stkCallback": {
                        "MerchantRequestID": "29115-34620561-1",
                        "CheckoutRequestID": "ws_CO_191220191020363925",
                        "ResultCode": 1032,
                        "ResultDesc": "Request cancelled by user.",
                    }
                }
            },
        }
    },
}

blueprint = ApiBlueprint("callbacks", __name__, description="Where M-Pesa reports the results of payments.")


class Acknowledgement(ResponseSchema):
    """What M-Pesa wants to hear."""

    ResultCode = fields.Integer(validate=validate.Equal(0))
    ResultDesc = fields.String(validate=validate.Equal("Accepted"))


@blueprint.route("/api/payments/callbacks/", methods=["POST"], defaults={"token": None})
@blueprint.route("/api/payments/callbacks/<string:token>/", methods=["POST"])
@blueprint.route("/api/payments/transactions/mpesa_callback/", methods=["POST"], defaults={"token": None})
@blueprint.route("/api/payments/transactions/mpesa_callback/<string:token>/", methods=["POST"])
@public
@blueprint.doc(requestBody=ANY_BODY)  # type: ignore[untyped-decorator]  # flask-smorest has no types
@blueprint.response(200, Acknowledgement)
def take_callback(token: str | None) -> Response:
    """Take an STK callback.

    Always answered in Daraja's form, whatever the body is. 503 only where it could not be kept.
    """
    body, length = read_bounded()
    services = current_services()
    believed = is_believed(current_settings().daftari_safaricom_addresses, request.remote_addr)
    services.stk_callbacks.receive(body, body_bytes=length, token=token if believed else None)
    return Response(json.encode(ACCEPTED), mimetype="application/json")
