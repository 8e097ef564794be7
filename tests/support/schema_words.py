"""What `docs/schema.md` says beyond the catalog: the purpose of each table, function and sequence, and who writes it.

A sentence for a table stands here where the migrations have no COMMENT for it; a comment wins. For a column our
sentence wins: released migrations never change, and some of their comments use words that are no longer in use.
"""

WRITERS = {
    "ledger_node": "ledger/store",
    "payment_events": "ledger/store",
    "payment_sessions": "ledger/store",
    "payment_refs": "ledger/store",
    "signed_blocks": "ledger/store",
    "customer_keys": "ledger/store",
    "key_ring": "ledger/store",
    "audit_log": "ledger/store",
    "schema_migrations": "ledger/store",
    "live_prompts": "payments/prompts",
    "daraja_inbox": "payments/inbox",
    "idempotency_keys": "payments/idempotency",
    "sealed_settings": "payments/mpesa",
    "access_tokens": "payments/mpesa",
    "follower_positions": "projections",
    "follower_failures": "payments/worker",
    "attempt_checks": "payments/confirmation",
    "question_budgets": "payments/confirmation",
    "mpesa_movements": "payments/reconciliation",
    "reconciliations": "payments/reconciliation",
    "pull_progress": "payments/reconciliation",
    "pull_gaps": "payments/reconciliation",
    "refund_checks": "payments/refunds",
    "payment_metrics": "projections",
    "payment_metrics_rebuilt": "projections",
    "payment_refunds": "projections",
    "payment_refunds_rebuilt": "projections",
    "payment_cases": "projections",
    "payment_cases_rebuilt": "projections",
    "verification_runs": "projections/integrity",
    "shop_listings": "shop/builtin",
    "shop_stock_changes": "shop/builtin",
    "shop_cart_items": "shop/builtin",
    "shop_counties": "shop",
    "shop_subcounties": "shop",
    "shop_orders": "shop/builtin",
    "shop_order_items": "shop/builtin",
    "shop_order_counters": "shop/builtin",
}
"""The room whose code, or migration, inserts and updates a table."""

PURPOSES = {
    "payment_events": "The log: one row an event of a payment session, in the order of its versions, never rewritten.",
    "payment_sessions": "The current state of each payment session, moved in the same commit as its events.",
    "payment_refs": "What must be unique in the whole system: an M-Pesa receipt is credited to one session, once.",
    "signed_blocks": "Signed blocks over the log: altering, adding or removing an event below the last one shows.",
    "customer_keys": "One encryption key a customer, wrapped by the master key; destroying it erases the person.",
    "audit_log": "Who decided what, or read whose personal data, when and why; each entry with a MAC.",
    "key_ring": "The keys of this installation by purpose and number, each wrapped by a key of the master key.",
    "schema_migrations": "Which migration files were applied, with their checksums.",
    "live_prompts": "Phone locks: at most one live prompt a phone, and the attempt that holds it.",
    "daraja_inbox": "Inbound messages of M-Pesa, stored raw and encrypted before anything acts on them.",
    "idempotency_keys": "Idempotency keys of clients: the claim while a request runs, then its encrypted answer.",
    "sealed_settings": "M-Pesa credentials that were stored with the command line, encrypted.",
    "access_tokens": "The OAuth token of each Daraja consumer key, encrypted, shared by all processes.",
    "follower_positions": "How far each follower and event processor has read the log, by origin.",
    "follower_failures": "Events that an event processor failed on: retried with growing gaps, then dead-lettered.",
    "attempt_checks": "The query log of open attempts: when M-Pesa was last asked, and when it is asked next.",
    "question_budgets": "A token bucket for each kind of query, shared by all processes.",
    "mpesa_movements": "Money that M-Pesa reported by C2B, Pull or statement, once whatever the channel.",
    "reconciliations": "What each import of a statement found; bounded text without personal data.",
    "pull_progress": "Up to when Pull has fetched each shortcode's transactions.",
    "pull_gaps": "Periods that Pull could not cover any more, until a statement closes them.",
    "refund_checks": "The query log of refunds in doubt: when M-Pesa was last asked, and when it is asked next.",
    "payment_metrics": "One row an hour of creation: what has become of the sessions created in it.",
    "payment_metrics_rebuilt": "The shadow table in which `payment_metrics` is rebuilt before it takes its place.",
    "payment_refunds": "One row a refund: what was decided about it, and how far it is.",
    "payment_refunds_rebuilt": "The shadow table in which `payment_refunds` is rebuilt before it takes its place.",
    "payment_cases": "Cases of payments, open now or from `visible_from` on; a row goes when its case is resolved.",
    "payment_cases_rebuilt": "The shadow table in which `payment_cases` is rebuilt before it takes its place.",
    "verification_runs": "What each verification run found, as sentences without personal data.",
    "shop_listings": "The catalogue: what is on sale, at which price, and how much is in stock.",
    "shop_stock_changes": "Changes of stock other than by a sale, so that stock can be verified as stocked less sold.",
    "shop_cart_items": "The lines of each buyer's cart, at the price of the moment they were put there.",
    "shop_counties": "Kenya's counties under their official codes.",
    "shop_subcounties": "Subcounties under ids that never change their meaning.",
    "shop_orders": "Orders, at most one a payment session.",
    "shop_order_items": "The lines of each order; the primary key lets a cart line be bought once.",
    "shop_order_counters": "The last order number given out on each day in Nairobi.",
}

COLUMNS = {
    "daraja_inbox.channel": "The endpoint that the message came by, and so what it should be.",
    "daraja_inbox.is_proven": "Whether the URL carried a valid callback token; a message from before this column "
    "did if it has a session.",
    "daraja_inbox.key_owner": "The user whose key encrypts the body; 0 is the system.",
    "daraja_inbox.reason": "Why it is in this state, or was postponed; the glossary lists the stored names.",
    "daraja_inbox.sending": "The attempt number of the refund.",
    "daraja_inbox.state": "`new`; `acted_on`: processed; `set_aside`: dead-lettered; `closed` by an operator.",
    "daraja_inbox.tries": "How often it was handled without success.",
    "follower_failures.state": "`retrying`; `set_aside`: dead-lettered; `closed` by an operator.",
    "follower_failures.tries": "How often the event was handled without success.",
    "attempt_checks.tries": "How often M-Pesa was queried.",
    "mpesa_movements.evidence": "The best source that was matched.",
    "mpesa_movements.first_seen_at": "When a source first reported it.",
    "mpesa_movements.told": "Details of the verdict.",
    "mpesa_movements.transaction_id": "What the account reference names, if it is one of ours.",
    "mpesa_movements.sealed_reference": "What the payer typed as the account reference, encrypted, if it is not ours.",
    "mpesa_movements.verdict": "What the matcher found; the glossary lists the stored names.",
    "payment_refunds.failures": "How many attempts failed, whether or not M-Pesa took the request.",
    "payment_refunds.unsent_in_a_row": "How many of the latest attempts M-Pesa did not take, since the last approval.",
    "payment_cases.subject": "What the case is about: an attempt, a receipt, the order, a refund or a discrepancy; "
    "`number` counts them in the session.",
    "refund_checks.sending": "The attempt number of the refund.",
    "refund_checks.tries": "How often M-Pesa was queried.",
}

FUNCTIONS = {
    "append_events": "Appends events of one session and moves its row of `payment_sessions`; returns the last "
    "position. Raises DF001 where the version is taken or there is a gap before it.",
    "record_audit_entry": "Appends an entry to the audit log, the only way for the application to write it.",
    "reserve_reference": "Reserves a value, such as a receipt, for a session; returns the session that holds it.",
    "ledger_horizon": "Returns this node's origin and the horizon: no transaction below it is still running.",
    "digest_of_events": "Counts the events between two positions of an origin and digests their positions and hashes.",
    "refuse_to_rewrite": "Raises DF003: the table of its trigger is append-only.",
}

SEQUENCES = {
    "payment_transaction_ids": "The transaction ids of attempts; `D` and the id is the account reference."
}
