"""The STK callback endpoint: stores any body first, acts on it, and acknowledges it in Daraja's form.

There is no bearer token: the last segment of the URL is the callback token, which authenticates a callback.
"""

from typing import Any

from flask import Response
from marshmallow import fields, validate

from api.http.framework import json
from api.http.framework.application import WholeResponse
from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import public
from api.http.middleware.raw_bodies import read_bounded
from api.http.middleware.safaricom_addresses import is_sender_accepted
from api.http.schemas.fields import ResponseSchema

ACCEPTED: dict[str, Any] = {"ResultCode": 0, "ResultDesc": "Accepted"}
"""The acknowledgement that all known clients send; M-Pesa does not document one."""

ANY_BODY = {
    "description": "What M-Pesa sends, or anything else: every body is stored and acknowledged.",
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
    """The acknowledgement that M-Pesa expects."""

    ResultCode = fields.Integer(validate=validate.Equal(0))
    ResultDesc = fields.String(validate=validate.Equal("Accepted"))


@blueprint.route("/api/payments/callbacks/", methods=["POST"], defaults={"token": None})
@blueprint.route("/api/payments/callbacks/<string:token>/", methods=["POST"])
@blueprint.route("/api/payments/transactions/mpesa_callback/", methods=["POST"], defaults={"token": None})
@blueprint.route("/api/payments/transactions/mpesa_callback/<string:token>/", methods=["POST"])
@blueprint.hot
@blueprint.reports_unknown_names
@public
@blueprint.doc(requestBody=ANY_BODY)  # type: ignore[untyped-decorator]  # flask-smorest has no types
@blueprint.response(200, Acknowledgement)
def take_callback(token: str | None) -> Response:
    """Receive an STK callback.

    Always answers in Daraja's form, whatever the body is. 503 only if it could not be stored.
    """
    body, length = read_bounded()
    proof = token if is_sender_accepted() else None
    current_services().stk_callbacks.receive(body, body_bytes=length, token=proof)
    return WholeResponse(json.write(ACCEPTED), mimetype="application/json")
