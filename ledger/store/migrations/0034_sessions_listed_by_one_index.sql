-- outside a transaction
-- A user's list, its counts, and those by status as it reads at a moment, from one index alone: an append writes one entry
-- of it, where the two before took two.
CREATE INDEX CONCURRENTLY payment_sessions_listed
    ON payment_sessions (user_id, created_at DESC, session_id DESC) INCLUDE (session_status, open_attempts, expires_at);
DROP INDEX CONCURRENTLY IF EXISTS payment_sessions_of_user_by_status;
DROP INDEX CONCURRENTLY IF EXISTS payment_sessions_of_user;
-- The list of blocks, of which a year has half a million.
CREATE INDEX CONCURRENTLY signed_blocks_latest ON signed_blocks (signed_at DESC, origin DESC, number DESC);
