-- The age of evidence counts from a time that the application's role cannot change: when a message was received and when a
-- movement was first seen, if that is later than what the role may write (settled_at, happened_at). Else as before.
CREATE OR REPLACE VIEW retained_rows AS
SELECT 'phone_locks' AS kind, ctid AS place, live_until AS since, user_id FROM live_prompts
UNION ALL SELECT 'request_leases', ctid, minute, user_id FROM request_leases
UNION ALL SELECT 'kept_answers', ctid, created_at, user_id FROM idempotency_keys
UNION ALL SELECT 'query_log', ctid, next_check_at, NULL FROM attempt_checks
UNION ALL SELECT 'refund_query_log', ctid, asked_at, NULL FROM refund_checks
UNION ALL SELECT 'order_failures', ctid, last_failed_at, NULL FROM order_failures
UNION ALL SELECT 'prompt_counts', ctid, last_at, user_id FROM prompt_counts WHERE paid_at IS NULL
UNION ALL SELECT 'counts_after_erasure', count.ctid, destroyed_at, user_id
    FROM prompt_counts AS count JOIN customer_keys USING (user_id) WHERE destroyed_at IS NOT NULL
UNION ALL SELECT 'paid_numbers', ctid, last_at, user_id FROM prompt_counts WHERE paid_at IS NOT NULL
UNION ALL SELECT 'revocations', ctid, expires_at, user_id FROM token_revocations WHERE expires_at IS NOT NULL
UNION ALL SELECT 'unauthenticated_messages', ctid, received_at, NULL FROM daraja_inbox
    WHERE NOT is_proven AND session_id IS NULL AND state <> 'closed'
UNION ALL SELECT 'authenticated_messages', message.ctid, greatest(received_at, settled_at),
        coalesce(session.user_id, key_owner)
    FROM daraja_inbox AS message LEFT JOIN payment_sessions AS session USING (session_id)
    WHERE (is_proven OR session_id IS NOT NULL OR state = 'closed') AND state IN ('acted_on', 'closed')
      AND sealed_body <> 'erased'
UNION ALL SELECT 'payers', movement.ctid, greatest(first_seen_at, happened_at), session.user_id
    FROM mpesa_movements AS movement LEFT JOIN payment_sessions AS session USING (session_id)
    WHERE (payer_digest IS NOT NULL OR sealed_reference IS NOT NULL)
      AND (verdict NOT IN ('new', 'unknown') OR closed_at IS NOT NULL)
UNION ALL SELECT 'delivery_addresses', ctid, placed_at, user_id FROM shop_orders
    WHERE sealed_delivery_details <> 'erased'
UNION ALL SELECT 'access_log', entry.ctid, recorded_at,
        coalesce(session.user_id, user_of_subject(subject))
    FROM audit_log AS entry LEFT JOIN payment_sessions AS session
      ON session_id = CASE WHEN subject ~ '^session:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                           THEN substr(subject, 9)::uuid END
    WHERE kind = 'access'
UNION ALL SELECT 'verification_runs', ctid, finished_at, NULL FROM verification_runs
UNION ALL SELECT 'customers', key.ctid, coalesce(session.last_at, key.created_at), user_id
    FROM customer_keys AS key CROSS JOIN LATERAL (
        SELECT max(created_at) AS last_at FROM payment_sessions WHERE user_id = key.user_id) AS session
    WHERE wrapped_key IS NOT NULL
UNION ALL SELECT 'statement_uploads', ctid, started_at, NULL FROM statement_uploads;
