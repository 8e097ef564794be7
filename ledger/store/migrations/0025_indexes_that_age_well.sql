-- outside a transaction
-- A list by status: the rows of one status in order, and their count, from the index alone.
CREATE INDEX CONCURRENTLY payment_sessions_of_user_by_status
    ON payment_sessions (user_id, session_status, created_at DESC, session_id DESC);
-- Candidates of the list of refunds. In place of an index over updated_at, which every append moved.
CREATE INDEX CONCURRENTLY payment_sessions_with_refunds_due ON payment_sessions (session_id)
    WHERE refund_due_cents > 0;
-- Whether a page of Pull is stored already.
CREATE INDEX CONCURRENTLY daraja_inbox_pull_bodies ON daraja_inbox (body_sha256) WHERE channel = 'pull';
DROP INDEX CONCURRENTLY IF EXISTS payment_sessions_refund_due;
DROP INDEX CONCURRENTLY IF EXISTS payment_sessions_without_receipt;
DROP INDEX CONCURRENTLY IF EXISTS payment_refs_session;
-- Counts come from indexes alone while the pages are known to be visible to all, which vacuum notes.
ALTER TABLE payment_sessions SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);
