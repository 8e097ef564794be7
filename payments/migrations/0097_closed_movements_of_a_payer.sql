-- outside a transaction
-- What was decided about other payments of the same payer. Only movements that a person dealt with are in it.
CREATE INDEX CONCURRENTLY mpesa_movements_decided_of_payer ON mpesa_movements (payer_digest, happened_at DESC)
    WHERE closed_by IS NOT NULL AND payer_digest IS NOT NULL;
