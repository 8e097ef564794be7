"""Every answer the gateway can give that is not a success, by the name under which it can be set as a fault."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

JSON_TYPE = "application/json"
_HTML_TYPE = "text/html"

Cut = Literal["close", "reset"]
"""How a connection ends without an answer: closed or reset."""


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """One HTTP answer; `cut` sends nothing and ends the connection; `after` runs once the answer is written."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    cut: Cut | None = None
    after: Callable[[], None] | None = None


class GatewayRefusal(Exception):
    """The gateway refuses: an HTTP status, a dotted `code` and a message, as Safaricom's error table has them."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message


ERRORS: dict[str, tuple[int, str, str]] = {
    "grant-type": (400, "400.008.02", "Invalid grant type passed"),
    "authentication-type": (400, "400.008.01", "Invalid Authentication passed"),
    "payload": (400, "400.002.05", "Invalid Request Payload"),
    "invalid-checkout-id": (400, "400.002.02", "Bad Request - Invalid CheckoutRequestID"),
    "not-found": (404, "404.001.01", "Resource not found"),
    "invalid-token": (404, "404.001.03", "Invalid Access Token"),
    "authentication-header": (404, "404.001.04", "Invalid Authentication Header"),
    "method": (405, "405.001", "Method Not Allowed"),
    "unknown-merchant": (500, "500.001.1001", "Merchant does not exist"),
    "wrong-credentials": (500, "500.001.1001", "Wrong credentials"),
    "subscriber-locked": (
        500,
        "500.001.1001",
        "Unable to lock subscriber, a transaction is already in process for the current subscriber",
    ),
    "being-processed": (500, "500.001.1001", "The transaction is being processed"),
    "being-processed-200": (200, "500.001.1001", "The transaction is being processed"),
    "unknown-transaction": (500, "500.001.1001", "The transaction does not Exist"),
    "empty-message": (500, "500.001.1001", ""),
    "empty-message-200": (200, "500.001.1001", ""),
    "busy": (500, "500.003.02", "System is busy. Please try again in few minutes."),
    "spike-arrest-500": (500, "500.003.02", "Error Occurred: Spike Arrest Violation"),
    "quota": (500, "500.003.03", "Quota Violation"),
    "server-error": (500, "500.003.1001", "Internal Server Error"),
    "invalid-token-c2b": (400, "400.003.01", "Invalid Access Token"),
    "invalid-token-pull": (401, "401.001", "Invalid Access Token"),
    "invalid-token-b2c": (401, "401.002.01", "Error Occurred - Invalid Access Token - not valid now"),
    "duplicate-originator-id": (500, "500.002.1001", "Duplicate OriginatorConversationID."),
    "already-registered": (500, "500.003.1001", "Urls are already registered"),
    "unauthorized": (401, "401.003.01", "Error Occurred - Invalid Access Token - token not allowed"),
}

_SPIKE_ARREST = json.dumps(
    {
        "fault": {
            "faultstring": "Spike arrest violation. Allowed rate : MessageRate{messagesPerPeriod=5, "
            "periodInMicroseconds=60000000, maxBurstMessageCount=1.0}",
            "detail": {"errorcode": "policies.ratelimit.SpikeArrestViolation"},
        }
    }
).encode()
_BLOCK_PAGE = (
    b"<html><head><title>Request blocked</title></head><body>Incapsula incident ID 0-0</body></html>"
)
_OUTAGE_PAGE = b"<html><head><title>503</title></head><body><h1>Service Unavailable</h1></body></html>"

PAGES: dict[str, GatewayAnswer] = {
    "spike-arrest": GatewayAnswer(429, _SPIKE_ARREST),
    "html-403": GatewayAnswer(403, _BLOCK_PAGE, _HTML_TYPE),
    "html-503": GatewayAnswer(503, _OUTAGE_PAGE, _HTML_TYPE),
    "text-503": GatewayAnswer(
        503, b"Service is temporarily unavailable. Please try again later", "text/plain"
    ),
    "empty-502": GatewayAnswer(502, b"", "text/plain"),
    "empty-503": GatewayAnswer(503, b"", "text/plain"),
    "empty-504": GatewayAnswer(504, b"", "text/plain"),
    "reset": GatewayAnswer(200, b"", cut="reset"),
}


def refusal(name: str) -> GatewayRefusal:
    """Return the refusal of that name from the error table."""
    return GatewayRefusal(*ERRORS[name])


def invalid_field(field: str) -> GatewayRefusal:
    """Return the refusal that names the field which is missing or wrong."""
    return GatewayRefusal(400, "400.002.02", f"Bad Request - Invalid {field}")


def error_answer(error: GatewayRefusal, request_id: str) -> GatewayAnswer:
    """Write a refusal in Safaricom's error shape."""
    document = {"requestId": request_id, "errorCode": error.code, "errorMessage": error.message}
    return GatewayAnswer(error.status, json.dumps(document).encode())


def json_answer(document: object, after: Callable[[], None] | None = None) -> GatewayAnswer:
    """Write a document as a 200."""
    return GatewayAnswer(200, json.dumps(document).encode(), after=after)
