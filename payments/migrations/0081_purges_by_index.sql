-- outside a transaction
-- What is purged is found by the time that its period runs from, in an index that a row leaves when it was emptied. The
-- tables without one here hold minutes or failures only: their own purge keeps them small.
CREATE INDEX CONCURRENTLY attempt_checks_due ON attempt_checks (next_check_at);
CREATE INDEX CONCURRENTLY prompt_counts_paid ON prompt_counts (last_at) WHERE paid_at IS NOT NULL;
CREATE INDEX CONCURRENTLY daraja_inbox_readable ON daraja_inbox ((greatest(received_at, settled_at)))
    WHERE state IN ('acted_on', 'closed') AND sealed_body <> 'erased';
CREATE INDEX CONCURRENTLY mpesa_movements_with_payer ON mpesa_movements ((greatest(first_seen_at, happened_at)))
    WHERE payer_digest IS NOT NULL OR sealed_reference IS NOT NULL;
CREATE INDEX CONCURRENTLY shop_orders_with_address ON shop_orders (placed_at) WHERE sealed_delivery_details <> 'erased';
CREATE INDEX CONCURRENTLY audit_log_reads ON audit_log (recorded_at) WHERE kind = 'access';
