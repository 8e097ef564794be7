"""Every error code that a client can receive: its HTTP status, and what it means.

`/docs/` shows this table and docs/errors.md explains it; a test keeps all three equal to what the code raises.
"""

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """The HTTP status of a code, and one or two sentences on what it means and what to do."""

    status: int
    meaning: str


ERROR_CODES: dict[str, ErrorCode] = {
    "BAD_REQUEST": ErrorCode(400, "The request is malformed. Correct it before sending it again."),
    "INVALID_INPUT": ErrorCode(
        400, "Some fields are wrong; `errors` names each one. Correct them all and send again."
    ),
    "MALFORMED_JSON": ErrorCode(
        400, "The body is not one JSON object of ordinary text. Correct it and send again."
    ),
    "INVALID_IDEMPOTENCY_KEY": ErrorCode(
        400, "An Idempotency-Key is 1 to 255 visible ASCII characters, such as a UUID."
    ),
    "CART_EMPTY": ErrorCode(400, "The cart is empty. Add a product before you check out."),
    "CART_FULL": ErrorCode(400, "The cart holds the maximum number of products. Remove one first."),
    "AMOUNT_OUT_OF_RANGE": ErrorCode(
        400, "The total is below or above what one M-Pesa payment can be. Change the cart."
    ),
    "SESSION_EXPIRED": ErrorCode(400, "The session has expired. Start a new checkout."),
    "SESSION_FAILED": ErrorCode(400, "The session's payment failed. Start a new checkout."),
    "SESSION_ALREADY_PAID": ErrorCode(400, "The session is already paid. Check its status."),
    "EXTENSION_LIMIT_REACHED": ErrorCode(400, "The session cannot be extended again. Start a new checkout."),
    "TOKEN_MISSING": ErrorCode(401, "The request has no bearer token. Sign in and send one."),
    "TOKEN_INVALID": ErrorCode(
        401, "The bearer token is malformed, expired, or not signed for us. Sign in again."
    ),
    "ROLE_REQUIRED": ErrorCode(403, "The token is valid but lacks the required role."),
    "OWN_PAYMENT": ErrorCode(
        403, "No one decides about their own session, refund or payment. Ask another operator."
    ),
    "SECOND_PERSON_NEEDED": ErrorCode(
        403, "You proposed this decision yourself. Another operator has to approve it."
    ),
    "NOT_FOUND": ErrorCode(404, "There is no such resource, or it belongs to someone else."),
    "SESSION_NOT_FOUND": ErrorCode(404, "There is no such session, or it belongs to someone else."),
    "REFUND_NOT_FOUND": ErrorCode(404, "There is no such refund."),
    "NOT_VERIFIED_YET": ErrorCode(404, "No verification run has completed yet. Run `daftari verify`."),
    "HEAD_NOT_FOUND": ErrorCode(
        404,
        "There is no such signed block, or it is from before the tree. `GET /api/audit/blocks/` lists them.",
    ),
    "NOT_SIGNED_YET": ErrorCode(
        404,
        "The signed block asked for is older than this event (its message names one), or none covers it yet.",
    ),
    "CASE_NOT_FOUND": ErrorCode(404, "There is no such kind of case."),
    "RECONCILIATION_NOT_FOUND": ErrorCode(404, "There is no such statement import."),
    "WEBHOOK_ENDPOINT_NOT_FOUND": ErrorCode(
        404, "There is no such webhook endpoint, or it belongs to another key."
    ),
    "WEBHOOK_DELIVERY_NOT_FOUND": ErrorCode(
        404,
        "The webhook endpoint has no such delivery, or it was over long ago. Deliver again `since` a moment.",
    ),
    "LISTING_NOT_FOUND": ErrorCode(404, "There is no such listing on sale. Choose one from the catalogue."),
    "NO_BUILTIN_SHOP": ErrorCode(
        404, "Daftari's own shop is not used here: products, carts and orders are another's."
    ),
    "METHOD_NOT_ALLOWED": ErrorCode(
        405, "Method not allowed for this path; the Allow header lists the methods that are."
    ),
    "REQUEST_TIMEOUT": ErrorCode(
        408, "The request did not arrive whole in time, and nothing was done. Send it again."
    ),
    "NOT_AS_SIGNED": ErrorCode(
        409,
        "The log is not what was signed, so nothing is proved. `daftari verify --chain` names what differs.",
    ),
    "CONFLICT": ErrorCode(409, "Someone else changed this at the same time. Send the request again."),
    "PAYMENT_IN_PROGRESS": ErrorCode(409, "A prompt of this session is still open. Answer it on the phone."),
    "PHONE_BUSY": ErrorCode(409, "Another prompt is open on this phone. Answer it, or wait for Retry-After."),
    "TOO_MANY_ATTEMPTS": ErrorCode(409, "The session has no payment attempts left. Start a new checkout."),
    "REFERENCE_USED": ErrorCode(
        409,
        "This key has made a checkout with this reference before."
        " `GET /api/payments/checkouts/?reference=` shows it.",
    ),
    "OUT_OF_STOCK": ErrorCode(409, "There is not enough in stock for this cart. Change the cart."),
    "NO_CARTS": ErrorCode(409, "There are no carts here: a server creates the payments."),
    "SESSION_NOT_PAID": ErrorCode(409, "An order is created only for a paid session."),
    "REFUND_NOT_DUE": ErrorCode(
        409, "There is no such refund, or it has been decided already. Load it again."
    ),
    "REFUND_WITHOUT_RECEIPT": ErrorCode(
        409, "The payment's receipt is not known yet. Import a statement, or wait for M-Pesa to report it."
    ),
    "REFUND_UNDER_WAY": ErrorCode(409, "M-Pesa is processing this refund. Wait for its result."),
    "ORDER_NOT_MADE": ErrorCode(409, "The session has no order. See its refunds, if money is due back."),
    "REFUND_EXCEEDS_ORDER": ErrorCode(
        409, "More would go back than is left of the order's money. Load its refunds again."
    ),
    "REFUND_IN_PART": ErrorCode(
        409,
        "M-Pesa reverses whole payments only. Send a part yourself, then record it with `payout_receipt`.",
    ),
    "PAYOUT_KNOWN": ErrorCode(409, "The payout receipt is of another refund already."),
    "TOO_MANY_WEBHOOK_ENDPOINTS": ErrorCode(
        409, "There are as many webhook endpoints as may be. Delete one that is no longer needed."
    ),
    "CASE_NOT_OPEN": ErrorCode(409, "There is no such case, or it is already closed."),
    "CASE_NEEDS_MORE": ErrorCode(409, "This action does not apply to this kind of case; see `message`."),
    "IDEMPOTENCY_KEY_IN_USE": ErrorCode(
        409, "The first request with this key is still running. Wait for Retry-After and send it again."
    ),
    "ERASURE_REFUSED": ErrorCode(
        409,
        "A legal hold, a duty to keep, or money under way stands against this erasure; the message says which.",
    ),
    "ERASURE_NOT_PROPOSED": ErrorCode(409, "Nobody has proposed this erasure yet. Propose it with a reason."),
    "ERASURE_NEEDS_ANOTHER": ErrorCode(
        409, "Another person has to decide: not who proposed it, and not the customer."
    ),
    "ERASED": ErrorCode(410, "The personal data that this would show has been erased."),
    "BODY_TOO_LARGE": ErrorCode(413, "The body is larger than 64 KiB. Send less."),
    "UNSUPPORTED_MEDIA_TYPE": ErrorCode(
        415, "The body is not JSON. Send it with Content-Type: application/json."
    ),
    "IDEMPOTENCY_KEY_REUSED": ErrorCode(
        422, "This key was used for another request. Use a new key for a new request."
    ),
    "RATE_LIMITED": ErrorCode(429, "Too many requests in a minute. Wait for Retry-After."),
    "PROMPTS_LIMITED": ErrorCode(
        429, "Too many prompts by this user, or on this phone. Nothing was sent. Wait for Retry-After."
    ),
    "TOO_MANY_SESSIONS": ErrorCode(
        429, "The user has too many open sessions. Pay one, or wait for Retry-After until one expires."
    ),
    "TOO_MANY_WAITING": ErrorCode(
        429, "Too many long-poll requests for this user. End one, or ask without waiting."
    ),
    "HEAD_TOO_LARGE": ErrorCode(431, "The URL or the headers are too long. Send less."),
    "INTERNAL_ERROR": ErrorCode(
        500, "An internal error. Report the request id of the response; the request is safe to repeat."
    ),
    "EVENT_FORGED": ErrorCode(
        500,
        "The record of this session was tampered with, so nothing more is done with it. Contact the shop.",
    ),
    "PAYMENT_REFUSED": ErrorCode(
        502, "M-Pesa rejected the payment request and sent no prompt. The session can still be paid."
    ),
    "MPESA_UNAVAILABLE": ErrorCode(
        503, "M-Pesa is temporarily unavailable and sent no prompt. Wait for Retry-After."
    ),
    "SHOP_UNAVAILABLE": ErrorCode(
        503, "The shop does not answer, and nothing was done. Wait for Retry-After."
    ),
    "SHOP_NOT_CONFIGURED": ErrorCode(
        503, "The settings do not name the shop of this payment; `message` says which are missing."
    ),
    "PAYMENTS_PAUSED": ErrorCode(
        503, "The shop has stopped all payment prompts for now; `message` says why. Wait for Retry-After."
    ),
    "PAYMENTS_BUSY": ErrorCode(503, "Too many payments are being started at once. Wait for Retry-After."),
    "UNAVAILABLE": ErrorCode(
        503,
        "The database does not answer, and may have processed the request all the same. Wait for Retry-After,"
        " then repeat it under its Idempotency-Key.",
    ),
    "SIGN_IN_UNAVAILABLE": ErrorCode(
        503, "The keys that tokens are verified with cannot be fetched. Wait for Retry-After."
    ),
    "SERVER_BUSY": ErrorCode(503, "Too many requests at once, and nothing was done. Wait for Retry-After."),
    "NO_ROOM_TO_WAIT": ErrorCode(
        503, "Too many clients are waiting for changes. Ask without waiting, or wait for Retry-After."
    ),
}
