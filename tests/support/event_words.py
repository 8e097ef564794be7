"""What docs/events.md says of events beside what the code says: what each comes from, and what its fields mean."""

UNITS = {
    "_cents": "cents of a shilling",
    "_thousandths": "thousandths of `unit_of_measure`",
    "_at": "RFC 3339, UTC",
    "timestamp": "RFC 3339, UTC",
    "_sealed": "encrypted",
    "_digest": "hex",
}
"""The unit of a field by the end of its name; what is not in it is a plain number, text or truth."""

CAUSES = {
    "Created": "A buyer, or a caller with a key, opens a session (`request`).",
    "Extended": "The buyer asks for more time (`request`).",
    "PaymentRequested": "The buyer asks for the prompt (`request`).",
    "PaymentInitiated": (
        "M-Pesa's answer to that request (`request`); or its callback, where the answer was lost "
        "(`callback`)."
    ),
    "PaymentRefused": "M-Pesa's answer to that request, or no connection to M-Pesa (`request`).",
    "PaymentUncertain": "M-Pesa's answer to that request is missing or unreadable (`request`).",
    "AttemptFailed": (
        "A callback, a status query, or an operator who looked at an attempt in doubt (`callback`, "
        "`status_query`, `operator`)."
    ),
    "Paid": (
        "A callback or C2B notice (`callback`), a status query (`status_query`), Pull (`pull`), a statement "
        "(`statement`), or an operator who allocates a payment (`operator`)."
    ),
    "ReceiptRecorded": "As of `Paid`, but a source that names the receipt.",
    "EvidenceUpgraded": "As of `Paid`, a better source than the one before.",
    "ContradictionFound": "As of `Paid`, where a source says otherwise than what is known.",
    "ContradictionClosed": "An operator closes the case (`operator`).",
    "OrderCreated": (
        "The callback that paid, in the same commit (`event` of the process `orders`); or the worker,"
        " after `Paid` (`event`)."
    ),
    "Failed": (
        "A callback or status query of the last open attempt; the worker, when the shop can make no "
        "order (`event`); or an operator."
    ),
    "Expired": "The sweep of sessions whose time is over (`sweep`).",
    "SurplusReceived": "As of `Paid`.",
    "RefundDue": (
        "The money that arrived (as of `SurplusReceived`), the order that cannot be made (`event`), "
        "or an operator (`operator`)."
    ),
    "RefundApproved": "The policy (`event` or `sweep`, actor `policy:…`), or an operator (`operator`).",
    "RefundRefused": "An operator (`operator`).",
    "RefundRequested": "The worker, on its round over approved refunds (`sweep`).",
    "RefundAccepted": "M-Pesa's answer to that request (`sweep`).",
    "RefundUncertain": "M-Pesa's answer is missing, or its result is late (`sweep`).",
    "Refunded": (
        "M-Pesa's result (`callback`), its books (`pull`, `statement`), a status check, or an "
        "operator (`operator`)."
    ),
    "RefundFailed": (
        "M-Pesa's answer (`sweep`) or result (`callback`), a status check, or an operator (`operator`)."
    ),
    "PaymentReversed": (
        "M-Pesa's books show a reversal that nobody here asked for (`pull`, `statement`, `callback`)."
    ),
}
"""What each event comes from, by its public name, with the `cause` in its metadata."""

FIELDS = {
    "timestamp": "When it happened, by our clock.",
    "originator_topic": "The topic of sessions, always `payment_session.v1`.",
    "user_id": "The buyer.",
    "lines": "The lines of the cart, see below.",
    "totals": "What is to be paid, see below.",
    "phone_sealed": "The phone that was given, `2547XXXXXXXX`.",
    "delivery_sealed": "Where to deliver, as JSON.",
    "county_id": "The county of the delivery; none in version 1.",
    "subcounty_id": "Its subcounty; none in version 1.",
    "reference_sealed": "The caller's own name of the session.",
    "metadata_sealed": "What else the caller keeps with it.",
    "shop": "Who makes the order: `builtin`, `http` or `none`.",
    "expires_at": "Until when a prompt may be asked for.",
    "request": "The idempotency key of the request, as we store it.",
    "RefundDue.request": "The decision it comes from, so that a repeat changes nothing.",
    "attempt": "The number of the attempt in the session, from 1.",
    "transaction_id": "The number of the attempt in the whole system; `D` and it is the account reference.",
    "amount_cents": "The money.",
    "PaymentRequested.amount_cents": "What the prompt asks for, whole shillings.",
    "ContradictionFound.amount_cents": "What the later source reported.",
    "merchant_request_id": "M-Pesa's MerchantRequestID.",
    "checkout_sealed": "M-Pesa's CheckoutRequestID, which ends in the phone number.",
    "checkout_digest": "Its blind index.",
    "previous_status": "The public status before.",
    "session_created_at": "When the session was created: the hour in which metrics count it.",
    "code": "Why, as a stable code.",
    "message": "What the buyer is told.",
    "text": "Why, as a sentence.",
    "reason": "Why: what went wrong with the answer.",
    "RefundDue.reason": "Why they decided it.",
    "RefundRefused.reason": "Why it is held.",
    "result_code": "M-Pesa's ResultCode.",
    "recorded_by": "The person who recorded it, none if M-Pesa's word did.",
    "note": "What that person found.",
    "receipt": "M-Pesa's receipt of the payment, none while it is known by a query alone.",
    "evidence": "The source: `query`, `callback`, `c2b` or `statement` (Pull counts as `c2b`).",
    "paid_at": "When the money moved, by M-Pesa's clock where the source names it.",
    "contradiction": "The number of the discrepancy in the session, from 1.",
    "about": "`outcome`, `amount` or `books`.",
    "told": "What the later source reported.",
    "closed_by": "Who closed it.",
    "order_id": "The shop's id of the order, none without a shop.",
    "order_number": "The number of the order.",
    "money_held": "Whether the shop holds money of the buyer.",
    "why": "`second_payment`, `wrong_amount` or `amount_not_named`.",
    "RefundDue.why": "As of the surplus, or why there is no order for the money, or `order_refunded`.",
    "answers_attempt": "Whether the prompt was answered by it.",
    "refund": "The number of the refund in the session, from 1.",
    "of_order": "Whether it is money of the order that was made.",
    "decided_by": "Who decided it.",
    "restock": "Whether the goods went back on the shelf.",
    "approved_by": "`policy:…` or the person.",
    "refused_by": "The person.",
    "requested_by": "The process that sends it.",
    "conversation_id": "M-Pesa's ConversationID.",
    "originator_conversation_id": "M-Pesa's OriginatorConversationID.",
    "reversal_receipt": "M-Pesa's receipt of the money that went back, if known.",
    "means": "`reversal`, or `by_hand`.",
    "reversed_at": "When the money went back, by M-Pesa's clock.",
    "cart_item_id": "The line of the cart, none if it came from no cart.",
    "listing_id": "What was bought, none if it came from no cart.",
    "product_name": "Its name, empty if the caller gave one.",
    "farm_name": "Who grew it, empty if it came from no cart.",
    "quantity_thousandths": "How much.",
    "price_cents": "The price of one unit.",
    "subtotal_cents": "Price times quantity, rounded half up.",
    "unit_of_measure": "The unit, such as `kg`.",
    "name_sealed": "The name that the caller gave the line.",
    "goods_cents": "The goods.",
    "delivery_fee_cents": "The delivery.",
    "rounding_cents": "Added or taken so that the total is whole shillings.",
    "total_cents": "The sum of the three.",
}
"""What a field means, by its name, or by event and name where it means something else there."""

METADATA = {
    "cause": "What the event comes from, see above.",
    "actor": "Who: `user:42`, `cli`, `cli:user:42`, `policy:auto`, `mpesa` or `system`.",
    "process": "The name of the worker's process.",
    "source": (
        "The inbound message (its `inbox_id`), the imported file (its SHA-256), or the version of the"
        " event that it follows from."
    ),
    "source_commitment": (
        "SHA-256 of a salt and the inbound message as it is stored. The salt is told with the message in an"
        " evidence pack ([proofs.md](proofs.md#raw-messages)), and is gone once the message is erased."
    ),
    "request_id": "The request, as its log lines and its answer's `X-Request-ID` name it.",
    "traceparent": "The caller's W3C trace.",
}
"""The metadata of an event."""
