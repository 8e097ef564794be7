"""Where M-Pesa reports what became of a reversal, or of a question about one; and that it gave up waiting.

There is no token to check here: the last segment of the address is the proof, and a report without it changes nothing.
"""

from flask import Response, request

from api.http.framework import json
from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services, current_settings
from api.http.middleware.auth import public
from api.http.middleware.raw_bodies import read_bounded
from api.http.middleware.safaricom_addresses import is_believed
from api.http.resources.stk_callbacks import ACCEPTED, Acknowledgement

ANY_BODY = {
    "description": "What M-Pesa sends, and anything else: every body is kept and acknowledged.",
    "content": {
        "application/json": {
            "schema": {},
            "example": {
                "Result": {
                    "ResultType": 0,
                    "ResultCode": 0,
                    "ResultDesc": "The service request is processed successfully.",
                    "OriginatorConversationID": "71840-27539181-07",
                    "ConversationID": "AG_20261116_000056b2f4f0e5a1e3a2",
                    "TransactionID": "UKG7Q2X9RR",
                }
            },
        }
    },
}

blueprint = ApiBlueprint(
    "results", __name__, description="Where M-Pesa reports the results of reversals and of questions."
)


@blueprint.route("/api/payments/results/<string:token>/", methods=["POST"])
@public
@blueprint.doc(requestBody=ANY_BODY)  # type: ignore[untyped-decorator]  # flask-smorest has no types
@blueprint.response(200, Acknowledgement)
def take_result(token: str) -> Response:
    """Take a result.

    Always answered in Daraja's form, whatever the body is. 503 only where it could not be kept.
    """
    return _take(token, is_timeout=False)


@blueprint.route("/api/payments/timeouts/<string:token>/", methods=["POST"])
@public
@blueprint.doc(requestBody=ANY_BODY)  # type: ignore[untyped-decorator]  # flask-smorest has no types
@blueprint.response(200, Acknowledgement)
def take_timeout(token: str) -> Response:
    """Take the news that M-Pesa gave up waiting.

    Always answered in Daraja's form, whatever the body is. 503 only where it could not be kept.
    """
    return _take(token, is_timeout=True)


def _take(token: str, *, is_timeout: bool) -> Response:
    body, length = read_bounded()
    services = current_services()
    believed = is_believed(current_settings().daftari_safaricom_addresses, request.remote_addr)
    services.reversal_results.receive(
        body, body_bytes=length, token=token if believed else None, is_timeout=is_timeout
    )
    return Response(json.encode(ACCEPTED), mimetype="application/json")
