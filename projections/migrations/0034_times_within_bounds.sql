-- See ledger.store 0048. Rows of this table are never changed.
ALTER TABLE verification_runs ADD CONSTRAINT verification_runs_times_check CHECK (
    started_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND finished_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
) NOT VALID;
