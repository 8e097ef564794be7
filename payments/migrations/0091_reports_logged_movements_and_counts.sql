-- By its MAC, which the database cannot make, the report of an import is told from one that a login of the database
-- wrote. Reports from before are believed as they are.
ALTER TABLE reconciliations ADD COLUMN mac text, ADD COLUMN is_from_before boolean NOT NULL DEFAULT true;
ALTER TABLE reconciliations ALTER COLUMN is_from_before SET DEFAULT false;
COMMENT ON COLUMN reconciliations.mac IS 'Number of the key, a point, and HMAC-SHA256 over the report.';
COMMENT ON COLUMN reconciliations.is_from_before IS 'Whether it was stored before reports had a MAC.';

-- So is a row of the movement log, which may be one of a movement that a login logged before us: its key is not taken by
-- that. A process of the release before makes no MAC: it takes up no movements until it is restarted.
ALTER TABLE movement_log ADD COLUMN mac text, ADD COLUMN is_from_before boolean NOT NULL DEFAULT true;
ALTER TABLE movement_log ALTER COLUMN is_from_before SET DEFAULT false;
ALTER TABLE movement_log ADD CONSTRAINT movement_log_mac_check CHECK (is_from_before OR mac IS NOT NULL) NOT VALID;
ALTER TABLE movement_log DROP CONSTRAINT movement_log_movement_key_key;
COMMENT ON COLUMN movement_log.mac IS 'Number of the key, a point, and HMAC-SHA256 over the row.';
COMMENT ON COLUMN movement_log.is_from_before IS 'Whether it was stored before these rows had a MAC.';

-- Whatever was counted for a customer while they were erased is purged each minute: of those erased lately, which an index
-- finds. Of all that were ever erased there are ever more, and a count is kept for 30 days in any case.
CREATE OR REPLACE VIEW retained_rows AS
SELECT 'phone_locks' AS kind, ctid AS place, live_until AS since, user_id FROM live_prompts
UNION ALL SELECT 'request_leases', ctid, minute, user_id FROM request_leases
UNION ALL SELECT 'kept_answers', ctid, created_at, user_id FROM idempotency_keys
UNION ALL SELECT 'query_log', ctid, next_check_at, NULL FROM attempt_checks
UNION ALL SELECT 'refund_query_log', ctid, asked_at, NULL FROM refund_checks
UNION ALL SELECT 'order_failures', ctid, last_failed_at, NULL FROM order_failures
UNION ALL SELECT 'prompt_counts', ctid, last_at, user_id FROM prompt_counts WHERE paid_at IS NULL
UNION ALL SELECT 'counts_after_erasure', count.ctid, destroyed_at, user_id
    FROM prompt_counts AS count JOIN customer_keys USING (user_id) WHERE destroyed_at > now() - interval '31 days'
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
