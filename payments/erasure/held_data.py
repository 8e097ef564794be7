"""What is held about a person, table by table: the one list for their account, for erasure, and for the tests of both.

A table that a migration adds belongs here too, or in `impersonal_tables.py`; a test compares both with the schema.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, LiteralString

from ledger.store.message_bodies import INBOX_BODY, row_of
from ledger.store.vault import EVENT_PURPOSES, REFERENCE
from payments.checkout.checkout_rows import RETURN_URLS
from payments.idempotency.keyed_request import KEPT_ANSWER
from payments.reconciliation.statement_uploads import STATEMENT_PIECE
from payments.reconciliation.typed_references import TYPED_REFERENCE
from payments.users.user_ids import USER_TEXT
from shop.builtin.ordering import ORDER_DELIVERY

BY_USER = "user_id = %(user)s"
BY_SESSION = "session_id IN (SELECT session_id FROM payment_sessions WHERE user_id = %(user)s)"
SOURCES: LiteralString = "SELECT inbox_id FROM session_messages WHERE " + BY_SESSION  # noqa: S608 - of our own

SEALED_FIELDS = EVENT_PURPOSES
"""The purposes of the encrypted fields of events, and of the columns that repeat them; their row is the session."""


@dataclass(frozen=True)
class HeldData:
    """A table that holds data of persons: what they are, how long they stay and why, and which rows are a person's.

    `of_person` is a condition of SQL on its rows, in the order of `order`. `sealed` names the purpose of each encrypted
    column; `owner` the column with whose key it opens (the person's without one), `row` returns what it is bound to.
    `hidden` columns are keys and digests that say nothing to a person, and what is of others; so are the fields
    `of_others` in a column of JSON. `erased` says what an erasure leaves.
    """

    table: str
    what: str
    kept: str
    erased: str
    of_person: LiteralString
    order: LiteralString
    sealed: Mapping[str, str] = field(default_factory=dict)
    row: Callable[[Mapping[str, Any]], object] = itemgetter("session_id")
    owner: str | None = None
    hidden: frozenset[str] = frozenset()
    of_others: frozenset[str] = frozenset()


_LAW = "for ever: it is the record of money, which tax law and the shop's books need; names and phones end with the key"
_WITH_SESSION = "with the payment session, for ever: it says what was decided or asked about money"

HELD: tuple[HeldData, ...] = (
    HeldData(
        "payment_sessions",
        "Payments: what you were asked for, what you paid, and how it ended.",
        _LAW,
        "amounts, times, receipts and places stay; your reference cannot be read any more",
        BY_USER,
        "created_at, session_id",
        {"reference_sealed": REFERENCE},
    ),
    HeldData(
        "payment_events",
        "Each step of each payment, as it was recorded, with phone number and address.",
        _LAW,
        "amounts, times and receipts stay; phone numbers and addresses cannot be read any more",
        BY_SESSION,
        "session_id, version",
        SEALED_FIELDS,
        hidden=frozenset({"hash", "previous_hash", "mac", "key_id"}),
    ),
    HeldData(
        "payment_refs",
        "M-Pesa's receipts that belong to your payments.",
        _LAW,
        "stays",
        BY_SESSION,
        "session_id, value",
    ),
    HeldData(
        "payment_search",
        "By what auditors find your payments: amount, time, status, order.",
        _LAW,
        "stays",
        BY_SESSION,
        "created_at, session_id",
    ),
    HeldData(
        "payment_figures",
        "What your payments changed in the figures of an hour that was over.",
        _LAW,
        "stays",
        "grain = 'late' AND " + BY_SESSION,
        "recorded_at, session_id, version",
    ),
    HeldData(
        "checkouts",
        "Payments that a shop's own server opened for you, and where its pages lead you back to.",
        _LAW,
        "which server opened it stays; the digest of its reference and the addresses are deleted",
        BY_SESSION,
        "created_at, session_id",
        {"sealed_urls": RETURN_URLS},
        hidden=frozenset({"reference_digest", "mac"}),
    ),
    HeldData(
        "payment_phones",
        "A digest of each phone that you paid from, by which auditors find payments.",
        "as long as your key",
        "deleted",
        BY_USER,
        "created_at, session_id",
        hidden=frozenset({"phone_digest"}),
    ),
    HeldData(
        "journal_entries",
        "How your payments stand in the books.",
        _LAW,
        "stays",
        BY_SESSION,
        "entry_id",
    ),
    HeldData(
        "movement_log",
        "Money of yours that M-Pesa reported, as the books post it.",
        _LAW,
        "stays",
        BY_SESSION,
        "ordinal",
    ),
    HeldData(
        "payment_refunds",
        "Refunds to you: why, who decided, how far they are.",
        _LAW,
        "stays",
        BY_SESSION,
        "session_id, refund",
    ),
    HeldData(
        "payment_cases",
        "What a person still has to decide about your payments.",
        "until it is decided",
        "stays until it is decided",
        BY_SESSION,
        "session_id, subject, number",
    ),
    HeldData(
        "daraja_inbox",
        "Messages of M-Pesa about your payments, as they came.",
        "{authenticated_messages}; then the text is emptied, and that there was a message stays",
        "emptied: the text, and the index by phone number",
        "(key_owner = %(user)s OR "
        + BY_SESSION
        + " OR (session_id IS NULL AND inbox_id = ANY(ARRAY("
        + SOURCES
        + "))) OR (session_id IS NULL AND phone_digests && %(digests)s::text[]))",
        "received_at, inbox_id",
        {"sealed_body": INBOX_BODY},
        row=row_of,
        owner="key_owner",
        hidden=frozenset({"body_sha256", "phone_digests", "erase_when_settled", "is_from_before"}),
    ),
    HeldData(
        "mpesa_movements",
        "Money of yours that M-Pesa reported by its lists and statements.",
        _LAW + "; who paid and what they typed: {payers}",
        "the digest of your number, its ends, and what you typed are deleted; amount, time and receipt stay",
        "(" + BY_SESSION + " OR (session_id IS NULL AND payer_digest = ANY(%(digests)s::text[])))",
        "happened_at, movement_key",
        {"sealed_reference": TYPED_REFERENCE},
        row=itemgetter("movement_key"),
        owner="",
        hidden=frozenset({"payer_digest"}),
    ),
    HeldData(
        "shop_cart_items",
        "Your cart.",
        "until you empty it or buy it",
        "deleted",
        BY_USER,
        "cart_item_id",
    ),
    HeldData(
        "shop_orders",
        "Your orders, with the address they were sent to.",
        _LAW + "; the address: {delivery_addresses}",
        "amounts and times stay; the address cannot be read any more",
        BY_USER,
        "order_id",
        {"sealed_delivery_details": ORDER_DELIVERY},
    ),
    HeldData(
        "shop_order_items",
        "What was in your orders.",
        _LAW,
        "stays",
        "order_id IN (SELECT order_id FROM shop_orders WHERE user_id = %(user)s)",
        "order_id, cart_item_id",
    ),
    HeldData(
        "shop_returns",
        "Orders of yours whose goods came back.",
        _LAW,
        "stays",
        "order_id IN (SELECT order_id FROM shop_orders WHERE user_id = %(user)s)",
        "order_id",
    ),
    HeldData(
        "shop_orders_ruled_out",
        "Payments of yours that no order was made for.",
        _WITH_SESSION,
        "stays",
        BY_SESSION,
        "session_id",
    ),
    HeldData(
        "idempotency_keys",
        "Answers to your requests, kept so that a repeated request gets the same one.",
        "{kept_answers}",
        "deleted",
        BY_USER,
        "created_at, key",
        {"sealed_body": KEPT_ANSWER},
        row=itemgetter("key"),
        hidden=frozenset({"fingerprint"}),
    ),
    HeldData(
        "live_prompts",
        "Which phone has a prompt of yours on it now.",
        "{phone_locks}",
        "deleted",
        "(" + BY_USER + " OR " + BY_SESSION + ")",
        "live_until, session_id",
        hidden=frozenset({"phone_digest"}),
    ),
    HeldData(
        "prompt_counts",
        "How many prompts you sent to a number, against abuse.",
        "{prompt_counts}; of numbers that you paid from: {paid_numbers}",
        "deleted",
        "(" + BY_USER + " OR (user_id < 0 AND phone_digest = ANY(%(digests)s::text[])))",
        "last_at, phone_digest",
        hidden=frozenset({"phone_digest"}),
    ),
    HeldData(
        "request_leases",
        "How many requests you sent in the last minutes, against abuse.",
        "{request_leases}",
        "ends by itself within minutes",
        BY_USER,
        "minute",
    ),
    HeldData(
        "token_revocations",
        "Access tokens of yours that were made invalid.",
        "until the token ends by itself; that all were revoked stays",
        "stays: it keeps others from acting in your name",
        BY_USER,
        "revoked_at, token_id",
    ),
    HeldData(
        "attempt_checks",
        "When M-Pesa was asked about your payments.",
        "{query_log}",
        "ends by itself",
        BY_SESSION,
        "session_id, attempt",
    ),
    HeldData(
        "refund_checks",
        "When M-Pesa was asked about your refunds.",
        "{refund_query_log}",
        "ends by itself",
        BY_SESSION,
        "session_id, refund, sending",
    ),
    HeldData(
        "order_failures",
        "Failures to make an order of yours.",
        "{order_failures}",
        "ends by itself",
        BY_SESSION,
        "session_id",
    ),
    HeldData(
        "follower_failures",
        "Failures to act on a step of a payment of yours.",
        "until the step was acted on, or a person closed it",
        "stays",
        BY_SESSION,
        "session_id, version, name",
    ),
    HeldData(
        "webhook_deliveries",
        "When a shop's own server was told of a step of a payment of yours; not what it was told.",
        "{webhook_deliveries}",
        "stays; what is still to be told is told without the texts of the shop's server",
        BY_SESSION,
        "delivery_id",
    ),
    HeldData(
        "decision_proposals",
        "Decisions about your payments that one person proposed and another has to approve.",
        _WITH_SESSION,
        "stays",
        BY_SESSION,
        "proposed_at, proposal_id",
        hidden=frozenset({"mac", "key_id"}),
    ),
    HeldData(
        "decision_proposal_ends",
        "How those decisions ended.",
        _WITH_SESSION,
        "stays",
        "proposal_id IN (SELECT proposal_id FROM decision_proposals WHERE " + BY_SESSION + ")",  # noqa: S608 - made of names of our own
        "ended_at, proposal_id",
    ),
    HeldData(
        "audit_log",
        "Who read your data, or decided about you or your payments, when and why.",
        "decisions for ever; reads: {access_log}",
        "stays: it names you by your number alone",
        "(subject = 'user:' || %(user)s OR actor IN ('user:' || %(user)s, 'cli:user:' || %(user)s)"
        " OR substring(subject FROM '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')::uuid IN"
        " (SELECT session_id FROM payment_sessions WHERE user_id = %(user)s)"
        " OR details->'sessions' ?| ARRAY(SELECT session_id::text FROM payment_sessions WHERE user_id = %(user)s))",
        "recorded_at, entry_id",
        hidden=frozenset({"mac", "key_id"}),
        of_others=frozenset({"sessions"}),
    ),
    HeldData(
        "statement_uploads",
        "Statements of M-Pesa that you uploaded as a member of staff.",
        "{statement_uploads}",
        "ends by itself",
        "uploaded_by = %(user)s",
        "started_at, upload_id",
    ),
    HeldData(
        "statement_pieces",
        "Pieces of those files, encrypted, until they are imported; of whose payments they tell is not known before.",
        "{statement_uploads}",
        "ends by itself",
        "upload_id IN (SELECT upload_id FROM statement_uploads WHERE uploaded_by = %(user)s)",
        "upload_id, number",
        {"sealed_piece": STATEMENT_PIECE},
        row=itemgetter("upload_id"),
        owner="",
        hidden=frozenset({"sealed_piece"}),
    ),
    HeldData(
        "customer_keys",
        "Since when there is a key that encrypts your data.",
        "as long as your data; the key is destroyed by erasure",
        "the key is destroyed; when stays",
        BY_USER,
        "user_id",
        hidden=frozenset({"wrapped_key", "wrap_key_id"}),
    ),
    HeldData(
        "user_texts",
        "The text by which the shop names you to us.",
        "until an erasure: your payments are found by it",
        "deleted",
        BY_USER,
        "user_id",
        {"sealed_text": USER_TEXT},
        row=itemgetter("user_id"),
        hidden=frozenset({"digest"}),
    ),
    HeldData(
        "customer_erasures",
        "When your data were erased.",
        "for ever: it proves that they were",
        "stays",
        BY_USER,
        "erased_at, erasure_id",
        hidden=frozenset({"login"}),
    ),
    HeldData(
        "shop_stock_changes",
        "Changes of stock that you made as a member of staff.",
        "for ever: the stock is verified by them",
        "stays",
        "changed_by = %(user)s",
        "stock_change_id",
    ),
)
