-- See ledger.store 0048: no login stores a time that no process can read.
ALTER TABLE webhook_endpoints ADD CONSTRAINT webhook_endpoints_times_check CHECK (
    created_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND changed_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
    AND failing_since BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND paused_until BETWEEN '1900-01-01Z' AND '9000-01-01Z'
);
ALTER TABLE webhook_deliveries ADD CONSTRAINT webhook_deliveries_times_check CHECK (
    queued_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND tried_since BETWEEN '1900-01-01Z' AND '9000-01-01Z'
    AND next_attempt_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND settled_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
    AND last_attempt_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
);
