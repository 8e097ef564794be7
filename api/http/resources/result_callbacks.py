"""The endpoints for results of reversals and their status queries, and for queue timeouts.

There is no bearer token: the last segment of the URL is the callback token, and a report without it changes nothing.
"""

from flask import Response

from api.http.framework import json
from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import public
from api.http.middleware.raw_bodies import read_bounded
from api.http.middleware.safaricom_addresses import is_sender_accepted
from api.http.resources.stk_callbacks import ACCEPTED, Acknowledgement

ANY_BODY = {
    "description": "What M-Pesa sends, or anything else: every body is stored and acknowledged.",
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
    "results", __name__, description="Where M-Pesa reports the results of reversals and of status queries."
)


@blueprint.route("/api/payments/results/<string:token>/", methods=["POST"])
@blueprint.reports_unknown_names
@public
@blueprint.doc(requestBody=ANY_BODY)  # type: ignore[untyped-decorator]  # flask-smorest has no types
@blueprint.response(200, Acknowledgement)
def take_result(token: str) -> Response:
    """Receive a result.

    Always answers in Daraja's form, whatever the body is. 503 only if it could not be stored.
    """
    return _take(token, is_timeout=False)


@blueprint.route("/api/payments/timeouts/<string:token>/", methods=["POST"])
@blueprint.reports_unknown_names
@public
@blueprint.doc(requestBody=ANY_BODY)  # type: ignore[untyped-decorator]  # flask-smorest has no types
@blueprint.response(200, Acknowledgement)
def take_timeout(token: str) -> Response:
    """Receive a queue timeout.

    Always answers in Daraja's form, whatever the body is. 503 only if it could not be stored.
    """
    return _take(token, is_timeout=True)


def _take(token: str, *, is_timeout: bool) -> Response:
    body, length = read_bounded()
    proof = token if is_sender_accepted() else None
    current_services().reversal_results.receive(body, body_bytes=length, token=proof, is_timeout=is_timeout)
    return Response(json.encode(ACCEPTED), mimetype="application/json")
