-- outside a transaction
-- People type order numbers by hand: they are found in any letter case. In the order of the list, so that PostgreSQL walks
-- no other index: it knows nothing of how rare an expression of a partial index is.
CREATE INDEX CONCURRENTLY payment_search_by_order_number
    ON payment_search (upper(order_number), created_at DESC, session_id DESC) WHERE order_number IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS payment_search_order;
-- Of a database that main had made before a release: the same, in the order of the list or not.
DROP INDEX CONCURRENTLY IF EXISTS payment_search_order_number;
