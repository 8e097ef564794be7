-- See ledger.store 0048. Rows of the other two tables are never changed.
ALTER TABLE mpesa_movements ADD CONSTRAINT mpesa_movements_times_check CHECK (
    happened_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND first_seen_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
    AND settled_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND closed_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
) NOT VALID;
ALTER TABLE movement_log ADD CONSTRAINT movement_log_times_check CHECK (
    occurred_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND recorded_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
) NOT VALID;
ALTER TABLE reconciliations ADD CONSTRAINT reconciliations_times_check CHECK (
    started_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND finished_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
) NOT VALID;
