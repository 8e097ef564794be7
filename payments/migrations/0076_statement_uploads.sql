-- Statements that operators upload in pieces, each smaller than the bound of a request. The pieces are encrypted, bound to
-- who uploads how much, and gone when the worker has imported the file, or after an hour.
CREATE TABLE statement_uploads (
    upload_id uuid PRIMARY KEY,
    uploaded_by bigint NOT NULL,
    size_bytes integer NOT NULL CHECK (size_bytes BETWEEN 1 AND 16777216),
    started_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('uploading', 'waiting', 'imported', 'refused')),
    tries integer NOT NULL DEFAULT 0,
    rows_done integer NOT NULL DEFAULT 0,
    rows_in_all integer,
    reconciliation_id uuid,
    refusal text CHECK (length(refusal) <= 1000)
);
CREATE TABLE statement_pieces (
    upload_id uuid NOT NULL REFERENCES statement_uploads ON DELETE CASCADE,
    number integer NOT NULL CHECK (number BETWEEN 0 AND 341),
    sealed_piece text NOT NULL CHECK (length(sealed_piece) <= 140000),
    PRIMARY KEY (upload_id, number)
);
COMMENT ON TABLE statement_uploads IS 'Statements that operators upload, and how far their import is; for an hour.';
COMMENT ON TABLE statement_pieces IS 'Pieces of statements that are not imported yet, encrypted; for an hour at most.';
COMMENT ON COLUMN statement_uploads.uploaded_by IS 'The operator''s user id.';
COMMENT ON COLUMN statement_uploads.state IS
    '`uploading`, then `waiting` for the worker to import it, then `imported`, or `refused` with the reason.';
COMMENT ON COLUMN statement_uploads.tries IS 'How often the worker began to import it.';
COMMENT ON COLUMN statement_uploads.rows_done IS 'Rows that are matched so far, of `rows_in_all`.';
COMMENT ON COLUMN statement_uploads.reconciliation_id IS 'The report of the import.';
COMMENT ON COLUMN statement_uploads.refusal IS 'Why nothing was imported; nothing of the file but column names, amounts and row numbers.';
COMMENT ON COLUMN statement_pieces.number IS 'From 0, in the order of the file.';
COMMENT ON COLUMN statement_pieces.sealed_piece IS 'The bytes, encrypted for this upload and number.';

INSERT INTO retention_kinds (kind, action, minimum) VALUES
    ('statement_uploads', 'DELETE FROM public.statement_uploads', '1 hour');

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
UNION ALL SELECT 'authenticated_messages', message.ctid, settled_at, coalesce(session.user_id, key_owner)
    FROM daraja_inbox AS message LEFT JOIN payment_sessions AS session USING (session_id)
    WHERE (is_proven OR session_id IS NOT NULL OR state = 'closed') AND state IN ('acted_on', 'closed')
      AND sealed_body <> 'erased'
UNION ALL SELECT 'payers', movement.ctid, happened_at, session.user_id
    FROM mpesa_movements AS movement LEFT JOIN payment_sessions AS session USING (session_id)
    WHERE (payer_digest IS NOT NULL OR sealed_reference IS NOT NULL)
      AND (verdict NOT IN ('new', 'unknown') OR closed_at IS NOT NULL)
UNION ALL SELECT 'delivery_addresses', ctid, placed_at, user_id FROM shop_orders
    WHERE sealed_delivery_details <> 'erased'
UNION ALL SELECT 'access_log', entry.ctid, recorded_at,
        coalesce(session.user_id, CASE WHEN subject ~ '^user:[0-9]{1,18}$' THEN substr(subject, 6)::bigint END)
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
