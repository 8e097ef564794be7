-- outside a transaction
-- People type order numbers by hand: they are found in any letter case.
CREATE INDEX CONCURRENTLY payment_search_order_number ON payment_search (upper(order_number))
    WHERE order_number IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS payment_search_order;
