"""Every code that a client can be answered with: its HTTP status, and what it means.

The doors' page shows this table, and docs/errors.md explains it; a test keeps it equal to what the code raises.
"""

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """The HTTP status of a code and one sentence on what it means and what to do."""

    status: int
    meaning: str


ERROR_CODES: dict[str, ErrorCode] = {
    "BAD_REQUEST": ErrorCode(400, "The request itself is broken. Correct it before sending it again."),
    "INVALID_INPUT": ErrorCode(
        400, "Some fields are wrong; `errors` names each one. Correct them all and send again."
    ),
    "MALFORMED_JSON": ErrorCode(
        400, "The body is not one JSON object of ordinary text. Correct it and send again."
    ),
    "INVALID_IDEMPOTENCY_KEY": ErrorCode(
        400, "An Idempotency-Key is 1 to 255 visible ASCII characters, such as a UUID."
    ),
    "CART_EMPTY": ErrorCode(400, "The cart is empty. Put something in it before you check out."),
    "CART_FULL": ErrorCode(400, "The cart holds as many products as it may. Take one out first."),
    "AMOUNT_OUT_OF_RANGE": ErrorCode(
        400, "The total is less or more than one M-Pesa payment may be. Change the cart."
    ),
    "SESSION_EXPIRED": ErrorCode(400, "The session's time is over. Start a new checkout."),
    "SESSION_FAILED": ErrorCode(400, "The session's payment failed. Start a new checkout."),
    "SESSION_ALREADY_PAID": ErrorCode(
        400, "The session is paid; there is nothing more to pay. Ask for its status."
    ),
    "EXTENSION_LIMIT_REACHED": ErrorCode(
        400, "The session was extended as often as it may be. Start a new checkout."
    ),
    "TOKEN_MISSING": ErrorCode(401, "The request has no bearer token. Sign in and send one."),
    "TOKEN_INVALID": ErrorCode(
        401, "The bearer token is malformed, expired, or not signed for us. Sign in again."
    ),
    "ROLE_REQUIRED": ErrorCode(403, "The token is good, but its holder lacks the role for this."),
    "NOT_FOUND": ErrorCode(404, "There is no such thing here, or it belongs to someone else."),
    "SESSION_NOT_FOUND": ErrorCode(404, "There is no such session, or it belongs to someone else."),
    "REFUND_NOT_FOUND": ErrorCode(404, "There is no such refund."),
    "NOT_VERIFIED_YET": ErrorCode(404, "Nobody has looked over the whole store yet. Run `daftari verify`."),
    "CASE_NOT_FOUND": ErrorCode(404, "There are no cases of such a kind."),
    "RECONCILIATION_NOT_FOUND": ErrorCode(404, "There is no such import of a statement."),
    "LISTING_NOT_FOUND": ErrorCode(404, "No such product is on sale. Choose one from the catalogue."),
    "METHOD_NOT_ALLOWED": ErrorCode(405, "This address knows other methods; the Allow header lists them."),
    "CONFLICT": ErrorCode(409, "Somebody else changed the same thing at the same moment. Send it again."),
    "PAYMENT_IN_PROGRESS": ErrorCode(409, "A prompt of this session is still open. Answer it on the phone."),
    "PHONE_BUSY": ErrorCode(409, "Another prompt is open on this phone. Answer it, or wait for Retry-After."),
    "TOO_MANY_ATTEMPTS": ErrorCode(409, "The session was tried as often as it may be. Start a new checkout."),
    "OUT_OF_STOCK": ErrorCode(409, "There is less in stock than the cart asks for. Change the cart."),
    "SESSION_NOT_PAID": ErrorCode(409, "An order is made only for a session that is paid."),
    "REFUND_NOT_DUE": ErrorCode(409, "There is no such refund, or it has been decided already. Look again."),
    "REFUND_WITHOUT_RECEIPT": ErrorCode(
        409, "The receipt of the money is not known yet. Import a statement, or wait for M-Pesa to tell it."
    ),
    "REFUND_UNDER_WAY": ErrorCode(409, "M-Pesa is sending the money back. Wait for its answer."),
    "CASE_NOT_OPEN": ErrorCode(409, "There is no such case, or somebody dealt with it already."),
    "CASE_NEEDS_MORE": ErrorCode(
        409, "This settles nothing in a case of this kind; the answer says what does."
    ),
    "IDEMPOTENCY_KEY_IN_USE": ErrorCode(
        409, "The first request with this key is still running. Wait for Retry-After and send it again."
    ),
    "ERASED": ErrorCode(410, "The personal data that this would show were erased for good."),
    "BODY_TOO_LARGE": ErrorCode(413, "The body is larger than 64 KiB. Send less."),
    "UNSUPPORTED_MEDIA_TYPE": ErrorCode(
        415, "The body is not JSON. Send it with Content-Type: application/json."
    ),
    "IDEMPOTENCY_KEY_REUSED": ErrorCode(
        422, "This key was used for another request. Make a new key for each new intention."
    ),
    "RATE_LIMITED": ErrorCode(429, "Too many requests in a minute. Wait for Retry-After."),
    "TOO_MANY_WAITING": ErrorCode(
        429, "The caller has as many requests waiting for news as he may. End one, or ask without waiting."
    ),
    "INTERNAL_ERROR": ErrorCode(
        500, "A fault of ours. Report the request id of the answer; it is safe to try again."
    ),
    "PAYMENT_REFUSED": ErrorCode(
        502, "M-Pesa did not take the payment and sent no prompt. The session can still be paid."
    ),
    "MPESA_UNAVAILABLE": ErrorCode(
        503, "M-Pesa takes no payments now and sent no prompt. Wait for Retry-After."
    ),
    "PAYMENTS_BUSY": ErrorCode(503, "Too many payments are being started at once. Wait for Retry-After."),
    "UNAVAILABLE": ErrorCode(
        503,
        "The database does not answer, and may have taken the request all the same. Wait for Retry-After, then"
        " repeat it under its Idempotency-Key.",
    ),
    "SIGN_IN_UNAVAILABLE": ErrorCode(
        503, "The keys that tokens are checked with cannot be fetched. Wait for Retry-After."
    ),
    "NO_ROOM_TO_WAIT": ErrorCode(
        503, "Too many clients are waiting for news. Ask without waiting, or wait for Retry-After."
    ),
}
