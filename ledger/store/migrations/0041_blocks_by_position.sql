-- outside a transaction
-- Which block covers an event is asked of one payment at a time.
CREATE INDEX CONCURRENTLY IF NOT EXISTS signed_blocks_position ON signed_blocks (origin, until_position);
